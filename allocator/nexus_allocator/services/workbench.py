"""The workbench: a request beside its reviews, real usage, similar awards, and what is left."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.errors import UnknownRequest
from nexus_allocator.domain.panel import (
    ConflictKind,
    Criterion,
    Opinion,
    Tally,
    conflict_of,
    sees_reviews,
    tallies,
    tally,
)
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.rights import Action
from nexus_allocator.domain.states import TierSlug
from nexus_allocator.services import forecasts, panels, pool, portal_lists, reviews
from nexus_allocator.services.panel_lists import person_of, waits
from nexus_allocator.services.pool import PoolPage
from nexus_allocator.services.portal_lists import RequestRow
from nexus_allocator.services.portal_reading import AccountReading, account_readings, account_sums
from nexus_allocator.services.rights import person_called, require_reviewer
from nexus_allocator.store import accounts, panel, portal_reading
from nexus_allocator.store.panel_tables import PanelCase, PanelReview, PanelRound
from nexus_allocator.store.tables import TierRequest

SIMILAR = 5
SIMILAR_SINCE = timedelta(days=3 * 366)


@dataclass(frozen=True)
class ReviewRow:
    """A review as those read it who may; ``counts`` False: of an earlier text, or by somebody in conflict."""

    by: str
    opinion: Opinion
    at: datetime
    counts: bool
    revised: bool


@dataclass(frozen=True)
class SimilarAward:
    account_label: str
    title: str
    asked_micro: int | None
    awarded_micro: int
    used_micro: int
    decided_at: datetime


@dataclass(frozen=True)
class Heard:
    """The reviews of a request; ``hidden`` while the viewer may not see what they say."""

    count: int
    needed: int
    hidden: bool
    rows: tuple[ReviewRow, ...]
    criteria: tuple[tuple[Criterion, Tally | None], ...]
    overall: Tally | None

    @property
    def enough(self) -> bool:
        return self.count >= self.needed


@dataclass(frozen=True)
class Bypass:
    by: str
    reason: str
    reviews: int
    at: datetime


@dataclass(frozen=True)
class Workbench:
    """A request as who weighs it sees it: beside real usage, similar awards, and what is left."""

    request: RequestRow
    round: PanelRound | None
    case: PanelCase
    waited: timedelta
    conflict: ConflictKind | None
    own: Opinion | None
    heard: Heard
    conflicts: tuple[tuple[str, str], ...]
    bypasses: tuple[Bypass, ...]
    usage: tuple[AccountReading, ...]
    similar: tuple[SimilarAward, ...]
    pool: PoolPage
    promised_micro: int
    round_awarded_micro: int


def workbench(
    session: Session, request_id: UUID, *, viewer: UUID, policy: Policy, now: datetime
) -> Workbench | None:
    """Return what there is to weigh of a panel's request, as this viewer may see it; None for any other."""
    case, found = panel.case(session, request_id), portal_reading.request(session, request_id)
    if case is None or found is None:
        return None
    seen = _seen(session, found, viewer)
    return Workbench(
        request=portal_lists.request_row(session, found),
        round=panel.round_by_id(session, case.round_id) if case.round_id else None,
        case=case,
        waited=waits(session, [found.id], now=now).get(found.id, timedelta()),
        conflict=seen.conflict,
        own=reviews.opinion_of(seen.own) if seen.own else None,
        heard=_heard(session, found, seen, policy=policy),
        conflicts=_conflicts(session, found.id),
        bypasses=_bypasses(session, found.id),
        usage=_usage(session, found, now=now),
        similar=_similar(session, found, policy=policy, now=now),
        pool=pool.page(session, policy.pool, now=now),
        promised_micro=forecasts.of_platform(session, now=now).available_micro,
        round_awarded_micro=panel.awarded_in_round(session, case.round_id) if case.round_id else 0,
    )


def reviewers_workbench(
    session: Session, request_id: UUID, *, hub_name: str, policy: Policy, now: datetime
) -> Workbench:
    """Return a request in a round for a reviewer. Raises UnknownPerson, NotReviewer, UnknownRequest."""
    person = person_called(session, hub_name)
    require_reviewer(session, person, Action.REVIEW_SEE)
    found = workbench(session, request_id, viewer=person.id, policy=policy, now=now)
    if found is None or found.round is None:
        raise UnknownRequest(request_id=str(request_id))
    return found


def heard_of(session: Session, request_id: UUID, *, viewer: UUID, policy: Policy) -> Heard:
    """Return the reviews of a request as this viewer may see them. Raises UnknownRequest."""
    found = portal_reading.request(session, request_id)
    if found is None:
        raise UnknownRequest(request_id=str(request_id))
    return _heard(session, found, _seen(session, found, viewer), policy=policy)


@dataclass(frozen=True)
class _Seen:
    """A request's reviews, of its present text those with ``sending``, and whether the viewer sees them."""

    rows: Sequence[PanelReview]
    sending: int
    conflict: ConflictKind | None
    own: PanelReview | None
    sees: bool


def _seen(session: Session, request: TierRequest, viewer: UUID) -> _Seen:
    who = person_of(session, viewer)
    conflict = conflict_of(who.id, who.hub_name, panels.parties_of(session, request))
    sending = panel.sendings(session, [request.id]).get(request.id, 0)
    rows = panel.reviews(session, [request.id]).get(request.id, [])
    own = next((row for row in reversed(rows) if row.person_id == viewer and row.sending == sending), None)
    is_reviewer = panels.is_reviewer(session, viewer)
    sees = sees_reviews(conflict, is_reviewer=is_reviewer, has_given=own is not None)
    return _Seen(rows, sending, conflict, own, sees)


def _heard(session: Session, request: TierRequest, seen: _Seen, *, policy: Policy) -> Heard:
    rows, sees, sending = seen.rows, seen.sees, seen.sending
    counting = reviews.unconflicted(session, request, [row for row in rows if row.sending == sending])
    opinions = [reviews.opinion_of(row) for row in counting]
    numbers, names = {row.number for row in counting}, panel.names(session, [row.person_id for row in rows])
    shown = tuple(
        ReviewRow(
            names[row.person_id],
            reviews.opinion_of(row),
            row.at,
            counts=row.number in numbers,
            revised=any(later.person_id == row.person_id and later.number > row.number for later in rows),
        )
        for row in rows
    )
    return Heard(
        count=len(counting),
        needed=policy.panel.least_reviews,
        hidden=not sees,
        rows=shown if sees else (),
        criteria=tuple(tallies(policy.panel, opinions)) if sees else (),
        overall=tally(opinion.mean for opinion in opinions) if sees else None,
    )


def _conflicts(session: Session, request_id: UUID) -> tuple[tuple[str, str], ...]:
    rows = panel.conflicts(session, [request_id]).get(request_id, [])
    names = panel.names(session, [row.person_id for row in rows])
    return tuple((names[row.person_id], row.reason) for row in rows)


def _bypasses(session: Session, request_id: UUID) -> tuple[Bypass, ...]:
    rows = panel.bypasses(session, request_id)
    names = panel.names(session, [row.person_id for row in rows])
    return tuple(Bypass(names[row.person_id], row.reason, row.reviews, row.at) for row in rows)


def _usage(session: Session, request: TierRequest, *, now: datetime) -> tuple[AccountReading, ...]:
    """Return the accounts the applicant may charge, that of the request first."""
    mine = accounts.chargeable_by(session, request.person_id)
    of_request = [row for row in mine if row.id == request.account_id] or [request.account]
    others = [row for row in mine if row.id != request.account_id]
    return account_readings(session, [*of_request, *others], viewer=None, now=now)


def _similar(
    session: Session, request: TierRequest, *, policy: Policy, now: datetime
) -> tuple[SimilarAward, ...]:
    size = request.asked_micro or policy.tiers[TierSlug(request.tier)].credits_micro or 0
    found = panel.awarded_like(
        session, TierSlug(request.tier), size, but=request.id, since=now - SIMILAR_SINCE, limit=SIMILAR
    )
    sums = account_sums(session, [row.account for row in found])
    return tuple(
        SimilarAward(
            row.account.label, panels.title_of(row), row.asked_micro, row.awarded_micro or 0,
            sums[row.account_id].granted_micro - sums[row.account_id].balance_micro, row.decided_at or now,
        )
        for row in found
    )  # fmt: skip
