"""The panel: cases and reviews, offers to applicants, and for administrators rounds and reviewers."""

from collections.abc import Callable, Sequence
from uuid import UUID

from fastapi import APIRouter, Security
from sqlalchemy.orm import Session

from nexus_allocator.api.models import Word
from nexus_allocator.api.v1.administration import decided
from nexus_allocator.api.v1.asking import HUB_TOKEN, REFUSALS, Asked, Asking, Changing, Unsafe
from nexus_allocator.api.v1.models import DoneModel, ReasonBody, RequestModel
from nexus_allocator.api.v1.pages import Cursor, Limit, Page, following, page
from nexus_allocator.api.v1.panel_models import (
    AcceptBody,
    BenchModel,
    CaseModel,
    DeclineBody,
    ForApplicantModel,
    OfferBody,
    PlaceBody,
    ReviewBody,
    ReviewerBody,
    ReviewerModel,
    RoundBody,
    RoundModel,
    RoundRowModel,
)
from nexus_allocator.domain.errors import UnknownRequest
from nexus_allocator.domain.panel import Opinion, Window
from nexus_allocator.domain.rights import Action, does
from nexus_allocator.services import decisions, listings, offers, panel_lists, panels, reviews, workbench
from nexus_allocator.services.panel_lists import CaseRow
from nexus_allocator.services.panels import RoundPlan
from nexus_allocator.store.panel_tables import PanelRound

router = APIRouter(responses=REFUSALS, dependencies=[Security(HUB_TOKEN)])
CREATED = 201


@router.get("/panel/cases", tags=["panel"])
@does(Action.REVIEW_SEE)
def to_review(asked: Asking, cursor: Cursor = None, limit: Limit = 50) -> Page[CaseModel]:
    """For a reviewer: what waits in rounds, the oldest first."""
    with asked.reading() as session:
        rows = panel_lists.for_reviewer(session, hub_name=asked.hub_name, now=asked.now)
        return _cases(rows, cursor, limit)


@router.get("/panel/cases/{request_id}", tags=["panel"])
@does(Action.REVIEW_SEE)
def to_weigh(request_id: UUID, asked: Asking) -> BenchModel:
    """For a reviewer: one request with all there is to weigh."""
    with asked.reading() as session:
        return _to_weigh(session, request_id, asked)


@router.put("/panel/cases/{request_id}/review", tags=["panel"])
@does(Action.REVIEW_GIVE)
def give_review(request_id: UUID, body: ReviewBody, asked: Changing) -> BenchModel:
    """Give a review, or another in place of one's earlier."""
    said = Opinion(**body.model_dump())

    def act(session: Session) -> BenchModel:
        reviews.give(session, request_id, said, hub_name=asked.hub_name, policy=asked.policy, now=asked.now)
        session.flush()
        return _to_weigh(session, request_id, asked)

    return asked.once(BenchModel, act)


@router.post("/panel/cases/{request_id}/conflict", tags=["panel"])
@does(Action.REVIEW_GIVE)
def declare(request_id: UUID, body: ReasonBody, asked: Changing) -> DoneModel:
    """Declare a conflict of interest: it can't be taken back, and one's review counts no longer."""

    def act(session: Session) -> DoneModel:
        reviews.declare(session, request_id, hub_name=asked.hub_name, reason=body.reason, now=asked.now)
        return DoneModel()

    return asked.once(DoneModel, act)


@router.get("/requests/{request_id}/offer", tags=["requests"])
@does(Action.REQUEST_SEE)
def offered(request_id: UUID, asked: Asking) -> ForApplicantModel:
    """The offer that stands, and what the panel's reviewers say to the applicant."""
    with asked.reading() as session:
        row = listings.request_for(session, request_id, hub_name=asked.hub_name)
        found = panel_lists.for_applicants(session, [row.id])[row.id]
    return ForApplicantModel.model_validate(found)


@router.post("/requests/{request_id}/offer/accept", tags=["requests"])
@does(Action.OFFER_ANSWER)
def accept(request_id: UUID, body: AcceptBody, asked: Changing) -> RequestModel:
    """Take the offer that stands; it is awarded at once."""

    def answer(session: Session) -> object:
        return offers.accept(
            session, request_id, body.number, hub_name=asked.hub_name, policy=asked.policy, now=asked.now
        )

    return _answered(asked, request_id, answer)


@router.post("/requests/{request_id}/offer/decline", tags=["requests"])
@does(Action.OFFER_ANSWER)
def decline(request_id: UUID, body: DeclineBody, asked: Changing) -> RequestModel:
    """Refuse the offer that stands, with a reason: the request as it was sent is decided again."""

    def answer(session: Session) -> object:
        return offers.decline(
            session, request_id, body.number, hub_name=asked.hub_name, reason=body.reason, now=asked.now
        )

    return _answered(asked, request_id, answer)


@router.get("/admin/panel/cases", tags=["admin"])
@does(Action.PANEL_SEE)
def cases(
    asked: Asking, round_id: UUID | None = None, *, cursor: Cursor = None, limit: Limit = 50
) -> Page[CaseModel]:
    """What is before the panel, or all that came into a round, the oldest first."""
    viewer = asked.caller.person_id
    with asked.reading() as session:
        if round_id is None:
            rows = panel_lists.queue(session, viewer=viewer, now=asked.now).cases
        else:
            rows = panel_lists.of_round(session, round_id, viewer=viewer, now=asked.now)[1]
        return _cases(rows, cursor, limit)


@router.get("/admin/panel/cases/{request_id}", tags=["admin"])
@does(Action.PANEL_SEE)
def case(request_id: UUID, asked: Asking) -> BenchModel:
    """One request that is before the panel, with all there is to weigh."""
    with asked.reading() as session:
        found = workbench.workbench(
            session, request_id, viewer=asked.caller.person_id, policy=asked.policy, now=asked.now
        )
        if found is None:
            raise UnknownRequest(request_id=str(request_id))
        return BenchModel.of(found)


@router.get("/admin/panel/rounds", tags=["admin"])
@does(Action.PANEL_SEE)
def rounds(asked: Asking) -> list[RoundRowModel]:
    """The last hundred rounds, the latest first, each with how many requests came into it."""
    with asked.reading() as session:
        return [
            RoundRowModel(**RoundModel.model_validate(row).model_dump(), requests=count)
            for row, count in panel_lists.rounds(session)
        ]


@router.post("/admin/panel/rounds", tags=["admin"], status_code=CREATED)
@does(Action.PANEL_RUN)
def make_round(body: RoundBody, asked: Changing) -> RoundModel:
    """Make a round."""

    def write(session: Session) -> PanelRound:
        return panels.make_round(session, _plan(body), by=asked.person_id, now=asked.now)

    return _written(asked, write)


@router.put("/admin/panel/rounds/{round_id}", tags=["admin"])
@does(Action.PANEL_RUN)
def change_round(round_id: UUID, body: RoundBody, asked: Changing) -> RoundModel:
    """Give a round another name, dates and budget; the requests in it stay."""

    def write(session: Session) -> PanelRound:
        return panels.change_round(session, round_id, _plan(body), by=asked.person_id, now=asked.now)

    return _written(asked, write)


@router.get("/admin/panel/reviewers", tags=["admin"])
@does(Action.PANEL_SEE)
def reviewers(asked: Asking) -> list[ReviewerModel]:
    """Who reviews now, by hub name."""
    with asked.reading() as session:
        return [ReviewerModel.model_validate(row) for row in panel_lists.reviewers(session)]


@router.post("/admin/panel/reviewers", tags=["admin"], status_code=CREATED)
@does(Action.PANEL_RUN)
def appoint(body: ReviewerBody, asked: Changing) -> DoneModel:
    """Make somebody a reviewer; they are told."""

    def act(session: Session) -> DoneModel:
        panels.appoint(session, body.hub_name, by=asked.person_id, now=asked.now)
        return DoneModel()

    return asked.once(DoneModel, act)


@router.delete("/admin/panel/reviewers/{hub_name}", tags=["admin"])
@does(Action.PANEL_RUN)
def dismiss(hub_name: Word, asked: Changing) -> DoneModel:
    """End a reviewer's term; their reviews stay and count."""

    def act(session: Session) -> DoneModel:
        panels.dismiss(session, hub_name, by=asked.person_id, now=asked.now)
        return DoneModel()

    return asked.once(DoneModel, act)


@router.post("/admin/requests/{request_id}/refer", tags=["admin"])
@does(Action.REQUEST_DECIDE)
def refer(request_id: UUID, body: ReasonBody, asked: Changing) -> RequestModel:
    """Bring a request before the panel whose tier does not ask for that."""
    return decided(asked, request_id, panels.refer, reason=body.reason)


@router.post("/admin/requests/{request_id}/place", tags=["admin"])
@does(Action.REQUEST_DECIDE)
def place(request_id: UUID, body: PlaceBody, asked: Changing) -> RequestModel:
    """Put a request into a round, or into another."""
    return decided(asked, request_id, panels.place, round_id=body.round_id)


@router.post("/admin/requests/{request_id}/offer", tags=["admin"])
@does(Action.REQUEST_DECIDE)
def offer(request_id: UUID, body: OfferBody, asked: Changing) -> RequestModel:
    """Offer other terms, which the applicant accepts or declines."""
    given = decisions.Award(**body.model_dump())
    return decided(asked, request_id, offers.make, policy=asked.policy, award=given)


@router.post("/admin/requests/{request_id}/take-back", tags=["admin"])
@does(Action.REQUEST_DECIDE)
def take_back(request_id: UUID, body: ReasonBody, asked: Changing) -> RequestModel:
    """Take the offer back, with a reason: the request is to be decided again."""
    return decided(asked, request_id, offers.take_back, reason=body.reason)


def _cases(rows: Sequence[CaseRow], cursor: str | None, limit: int) -> Page[CaseModel]:
    def key(row: CaseRow) -> tuple[str, ...]:
        return row.submitted_at.isoformat(), str(row.id)

    return page(following(rows, cursor, key=key), limit, model=CaseModel, key=key)


def _to_weigh(session: Session, request_id: UUID, asked: Asked | Unsafe) -> BenchModel:
    found = workbench.reviewers_workbench(
        session, request_id, hub_name=asked.hub_name, policy=asked.policy, now=asked.now
    )
    return BenchModel.of(found)


def _plan(body: RoundBody) -> RoundPlan:
    return RoundPlan(body.label, Window(body.opens_at, body.closes_at, body.due_at), body.budget_micro)


def _written(asked: Unsafe, write: Callable[[Session], PanelRound]) -> RoundModel:
    return asked.once(RoundModel, lambda session: RoundModel.model_validate(write(session)))


def _answered(asked: Unsafe, request_id: UUID, answer: Callable[[Session], object]) -> RequestModel:
    def act(session: Session) -> RequestModel:
        answer(session)
        session.flush()
        row = listings.request_for(session, request_id, hub_name=asked.hub_name)
        return RequestModel.model_validate(row)

    return asked.once(RequestModel, act)
