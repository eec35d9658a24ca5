"""The one function that moves a request, and the moves that the clock makes."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.mailing import LetterKind
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.records import NEXUS, Act
from nexus_allocator.domain.requests import moves_due, require_move
from nexus_allocator.domain.states import Mover, RequestState
from nexus_allocator.domain.webhooks import EventKind
from nexus_allocator.services import outbox
from nexus_allocator.services.records import record
from nexus_allocator.services.webhooks import emit
from nexus_allocator.store import accounts, requests
from nexus_allocator.store.session import Database
from nexus_allocator.store.tables import TierRequest

# What the applicant is written to about.
TOLD = (RequestState.RETURNED, RequestState.AWARDED, RequestState.AWARDED_IN_PART, RequestState.DENIED)


def move(
    session: Session,
    request: TierRequest,
    after: RequestState,
    *,
    mover: Mover,
    actor_id: UUID | None,
    now: datetime,
    reason: str | None = None,
) -> None:
    """Move the locked request and keep who did it, when and why. Raises IllegalMove."""
    require_move(request.state, after, mover)
    before, request.state = request.state, after
    number = requests.add_move(session, request, before=before, actor_id=actor_id, reason=reason, at=now)
    moved = {"request": str(request.id), "tier": request.tier.value, "before": before, "after": after.value}
    emit(session, EventKind.REQUEST_MOVED, key=f"{request.id}/{number}", facts=moved, now=now)
    if after in TOLD:
        key = f"{LetterKind.REQUEST_MOVED}/{request.id}/{number}"
        facts = {"request": str(request.id), "after": after.value, "reason": reason}
        outbox.mail(session, request.person_id, LetterKind.REQUEST_MOVED, key=key, facts=facts, now=now)
    record(session, Act.REQUEST_MOVED, request.id, by=actor_id or NEXUS, person_id=request.person_id,
           reason=reason, before={"state": before}, after={"state": after}, now=now)  # fmt: skip


def renew(session: Session, account_id: UUID, *, by: UUID, now: datetime) -> None:
    """What was awarded to the account before the request ``by`` is renewed by it."""
    for earlier in requests.living_of_account(session, account_id):
        if earlier.id != by:
            locked = requests.lock(session, earlier.id)
            assert locked is not None  # noqa: S101 - rows are never deleted
            move(session, locked, RequestState.RENEWED, mover=Mover.PLATFORM, actor_id=None, now=now)


def turn_all(database: Database, *, policy: Policy, now: datetime) -> int:
    """Make the moves that the clock owes, each request's in a transaction of its own; return how many."""
    with database.reading_scope() as session:
        longest = max((day for tier in policy.tiers.values() for day in tier.notice_days), default=0)
        perhaps = requests.perhaps_due(session, ending_before=now + timedelta(days=longest))
        due = [request.id for request in perhaps if _due(request, policy, now)]
    made = 0
    for request_id in due:
        with database.session_scope() as session:
            made += _turn(session, request_id, policy=policy, now=now)
    return made


def _turn(session: Session, request_id: UUID, *, policy: Policy, now: datetime) -> int:
    request = requests.lock(session, request_id)
    assert request is not None  # noqa: S101 - rows are never deleted
    request.account = accounts.by_id(session, request.account_id)
    moves = _due(request, policy, now)
    for after in moves:
        move(session, request, after, mover=Mover.PLATFORM, actor_id=None, now=now)
    return len(moves)


def _due(request: TierRequest, policy: Policy, now: datetime) -> list[RequestState]:
    terms = policy.tiers[request.tier]
    # A request from before ends were kept ends with its allocation.
    ends_at = request.ends_at or request.account.allocation.expires_at
    notice = timedelta(days=max(terms.notice_days, default=0))
    return moves_due(request.state, ends_at=ends_at, notice=notice, grace=terms.grace, now=now)
