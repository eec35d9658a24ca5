"""Reviewing: conflicts of interest, reviews, and whether enough of them are there for an award."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.errors import Conflicted, UnknownRequest
from nexus_allocator.domain.panel import (
    ConflictKind,
    Opinion,
    Panel,
    conflict_of,
    require_heard,
    require_opinion,
)
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.records import Act
from nexus_allocator.domain.rights import Action
from nexus_allocator.domain.states import Mover, RequestState
from nexus_allocator.services import allocations, panels
from nexus_allocator.services.records import record
from nexus_allocator.services.request_moves import move
from nexus_allocator.services.rights import in_good_standing, person_called, require_reviewer
from nexus_allocator.store import panel, people
from nexus_allocator.store.panel_tables import PanelBypass, PanelConflict, PanelReview
from nexus_allocator.store.tables import Person, TierRequest


def give(
    session: Session, request_id: UUID, opinion: Opinion, *, hub_name: str, policy: Policy, now: datetime
) -> PanelReview:
    """Keep a review; a later one of the same person stands for their earlier.

    The first review takes the request into review. Raises NotReviewer, Suspended, UnknownRequest,
    ReviewClosed, Conflicted, BadScores, BadComment.
    """
    person, request = _reviewing(session, request_id, hub_name)
    require_unconflicted(session, request, person)
    said = require_opinion(policy.panel, opinion)
    row = PanelReview(
        request_id=request.id, number=panel.next_number(session, PanelReview, request.id),
        person_id=person.id, sending=panel.sendings(session, [request.id]).get(request.id, 0),
        scores=dict(said.scores), for_panel=said.for_panel, for_applicant=said.for_applicant, at=now,
    )  # fmt: skip
    session.add(row)
    session.flush()
    record(session, Act.REVIEW_GIVEN, request.id, by=person.id, person_id=request.person_id,
           after={"number": row.number}, now=now)  # fmt: skip
    if request.state == RequestState.SUBMITTED:
        move(session, request, RequestState.IN_REVIEW, mover=Mover.REVIEWER, actor_id=person.id, now=now)
    return row


def declare(
    session: Session, request_id: UUID, *, hub_name: str, reason: str, now: datetime
) -> PanelConflict:
    """Keep that a reviewer has a conflict of interest: what they said of the request counts no longer.

    Declaring it again changes nothing.
    Raises NotReviewer, Suspended, UnknownRequest, ReviewClosed, BadReason.
    """
    person, request = _reviewing(session, request_id, hub_name)
    text = allocations.require_reason(reason)
    earlier = panel.conflict(session, request.id, person.id)
    if earlier is not None:
        return earlier
    row = PanelConflict(request_id=request.id, person_id=person.id, reason=text, at=now)
    session.add(row)
    session.flush()
    record(session, Act.CONFLICT_DECLARED, request.id, by=person.id, person_id=request.person_id, reason=text,
           now=now)  # fmt: skip
    return row


def require_panel(
    session: Session,
    request: TierRequest,
    *,
    rules: Panel,
    admin: Person,
    bypass: str | None,
    now: datetime,
) -> None:
    """Let an award of the locked request pass: enough reviews are in, or a reason stands in for them.

    A request that is not for the panel passes. Raises PanelNotHeard, Conflicted, BadReason.
    """
    if panel.case(session, request.id) is None:
        return
    heard = len(counting(session, request))
    if bypass is None or heard >= rules.least_reviews:
        require_heard(rules, heard)
        return
    row = PanelBypass(
        request_id=request.id, number=panel.next_number(session, PanelBypass, request.id),
        person_id=admin.id, reviews=heard, reason=allocations.require_reason(bypass), at=now,
    )  # fmt: skip
    session.add(row)
    session.flush()
    record(session, Act.PANEL_BYPASSED, request.id, by=admin.id, person_id=request.person_id,
           reason=row.reason, after={"reviews": heard}, now=now)  # fmt: skip


def require_unconflicted(session: Session, request: TierRequest, person: Person) -> None:
    """Raise Conflicted when the person can't act on a request that is for the panel."""
    if panel.case(session, request.id) is None:
        return
    kind = conflict_of(person.id, person.hub_name, panels.parties_of(session, request))
    if kind is not None:
        raise Conflicted(kind=kind.value)


def counting(session: Session, request: TierRequest) -> list[PanelReview]:
    """Return the reviews of the request's present text that count."""
    sending = panel.sendings(session, [request.id]).get(request.id, 0)
    rows = panel.reviews(session, [request.id]).get(request.id, [])
    return unconflicted(session, request, [row for row in rows if row.sending == sending])


def unconflicted(session: Session, request: TierRequest, rows: Sequence[PanelReview]) -> list[PanelReview]:
    """Return each reviewer's last of these reviews, in order, but of nobody who is in conflict now."""
    if not rows:
        return []
    parties = panels.parties_of(session, request)
    last = {person.id: (person, row) for row in rows if (person := _who_now(session, row.person_id))}
    counted = [
        row
        for person, row in last.values()
        if conflict_of(person.id, person.hub_name, parties) is None and row.person_id not in parties.declared
    ]
    return sorted(counted, key=lambda row: row.number)


def opinion_of(row: PanelReview) -> Opinion:
    return Opinion(row.scores, row.for_panel, row.for_applicant)


def conflict_with(session: Session, request: TierRequest, person: Person) -> ConflictKind | None:
    return conflict_of(person.id, person.hub_name, panels.parties_of(session, request))


def _who_now(session: Session, person_id: UUID) -> Person | None:
    """Return a reviewer as who they are now, should they have been found to be another person."""
    person = people.by_id(session, person_id)
    if person is None or person.merged_into_id is None:
        return person
    return people.by_id(session, person.merged_into_id)


def _reviewing(session: Session, request_id: UUID, hub_name: str) -> tuple[Person, TierRequest]:
    person = in_good_standing(person_called(session, hub_name))
    require_reviewer(session, person, Action.REVIEW_GIVE)
    request = panels.waiting_request(session, request_id)
    case = panel.case(session, request.id)
    if case is None or case.round_id is None:
        raise UnknownRequest(request_id=str(request_id))
    return person, request
