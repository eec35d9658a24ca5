"""What the API answers and takes about the panel: rounds, what is before it, reviews, and offers."""

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, Field

from nexus_allocator.api.models import Body, Word
from nexus_allocator.api.v1.models import BalanceModel, Micro, RequestModel, Shown, Words
from nexus_allocator.domain.panel import SCORES, ConflictKind, Criterion, Tally
from nexus_allocator.domain.states import RequestState, TierSlug
from nexus_allocator.services.workbench import Workbench

Score = Annotated[int, Field(ge=min(SCORES), le=max(SCORES), description="1 is poor, 5 outstanding.")]


class TallyModel(Shown):
    """Scores of several reviewers together."""

    mean: float
    low: float
    high: float
    count: int


class RoundModel(Shown):
    id: UUID
    label: str
    opens_at: datetime
    closes_at: datetime
    due_at: datetime
    budget_micro: int | None


class RoundRowModel(RoundModel):
    requests: int


class RoundBody(Body):
    """Requests sent from ``opens_at`` until before ``closes_at`` come into it; the budget is not enforced."""

    label: Word
    opens_at: AwareDatetime
    closes_at: AwareDatetime
    due_at: AwareDatetime
    budget_micro: Micro | None = None


class ReviewerModel(Shown):
    """``reviews`` counts the requests they have reviewed."""

    hub_name: str
    label: str
    since: datetime
    reviews: int


class ReviewerBody(Body):
    hub_name: Word


class CaseModel(Shown):
    """A request before the panel; ``mean`` is null while it is hidden from who asks, or nobody scored."""

    id: UUID
    title: str
    applicant: str
    tier: TierSlug
    state: RequestState
    asked_micro: int | None
    awarded_micro: int | None
    submitted_at: datetime
    waited: timedelta
    round: RoundModel | None
    heard: int
    mean: TallyModel | None
    conflict: ConflictKind | None
    has_given: bool


class OpinionModel(Shown):
    scores: dict[str, int]
    for_panel: str
    for_applicant: str


class ReviewBody(Body):
    """A score for each of the policy's criteria; comments may be empty."""

    scores: dict[Word, Score] = Field(max_length=20)
    for_panel: Words = ""
    for_applicant: Words = ""


class ReviewModel(Shown):
    """``counts`` is false of an earlier text, a review revised later, or one by somebody in conflict."""

    by: str
    opinion: OpinionModel
    at: datetime
    counts: bool
    revised: bool


class CriterionModel(Shown):
    slug: str
    label: str
    question: str
    scores: TallyModel | None

    @classmethod
    def of(cls, criterion: Criterion, scores: Tally | None) -> "CriterionModel":
        return cls(
            slug=criterion.slug, label=criterion.label, question=criterion.question,
            scores=TallyModel.model_validate(scores) if scores else None,
        )  # fmt: skip


class SimilarModel(Shown):
    account_label: str
    title: str
    asked_micro: int | None
    awarded_micro: int
    used_micro: int
    decided_at: datetime


class ConflictModel(Shown):
    by: str
    reason: str


class BypassModel(Shown):
    """That an administrator decided without enough reviews, and why."""

    by: str
    reason: str
    reviews: int
    at: datetime


class BenchModel(Shown):
    """A request with all there is to weigh; what reviewers say is ``hidden`` before one's own review."""

    request: RequestModel
    round: RoundModel | None
    referral_reason: str | None
    waited: timedelta
    conflict: ConflictKind | None
    own: OpinionModel | None
    heard: int
    needed: int
    hidden: bool
    reviews: list[ReviewModel]
    criteria: list[CriterionModel]
    overall: TallyModel | None
    conflicts: list[ConflictModel]
    bypasses: list[BypassModel]
    usage: list[BalanceModel]
    similar: list[SimilarModel]
    promised_micro: int
    round_awarded_micro: int

    @classmethod
    def of(cls, found: Workbench) -> "BenchModel":
        heard = found.heard
        return cls(
            request=RequestModel.model_validate(found.request),
            round=RoundModel.model_validate(found.round) if found.round else None,
            referral_reason=found.case.referral_reason,
            waited=found.waited,
            conflict=found.conflict,
            own=OpinionModel.model_validate(found.own) if found.own else None,
            heard=heard.count,
            needed=heard.needed,
            hidden=heard.hidden,
            reviews=[ReviewModel.model_validate(row) for row in heard.rows],
            criteria=[CriterionModel.of(criterion, scores) for criterion, scores in heard.criteria],
            overall=TallyModel.model_validate(heard.overall) if heard.overall else None,
            conflicts=[]
            if heard.hidden
            else [ConflictModel(by=name, reason=reason) for name, reason in found.conflicts],
            bypasses=[BypassModel.model_validate(row) for row in found.bypasses],
            usage=[BalanceModel.model_validate(account) for account in found.usage],
            similar=[SimilarModel.model_validate(row) for row in found.similar],
            promised_micro=found.promised_micro,
            round_awarded_micro=found.round_awarded_micro,
        )


class OfferBody(Body):
    """Other terms than were asked for; ``bypass`` is why, where too few reviews are in."""

    credits_micro: Micro
    expires_at: AwareDatetime | None = None
    note: Words | None = None
    bypass: Words | None = None


class PlaceBody(Body):
    round_id: UUID


class OfferModel(Shown):
    """``answer_by`` is until when the offer stands."""

    number: int
    credits_micro: int
    ends_at: datetime
    note: str | None
    answer_by: datetime | None


class ForApplicantModel(Shown):
    """The offer that stands, or null, and once it was answered what reviewers say to the applicant."""

    offer: OfferModel | None
    comments: list[str]


Number = Annotated[int, Field(ge=1, le=1_000_000, description="Of the offer that was read.")]


class AcceptBody(Body):
    number: Number


class DeclineBody(Body):
    number: Number
    reason: Words
