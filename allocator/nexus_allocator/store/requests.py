"""Requests for an allocation, their moves, and the grants approved elsewhere."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session, joinedload

from nexus_allocator.domain.requests import LIVING, OPEN
from nexus_allocator.domain.states import RequestState
from nexus_allocator.store import accounts
from nexus_allocator.store.tables import Account, Allocation, ApprovedGrant, Person, RequestMove, TierRequest


def _with_owners() -> Select[TierRequest]:
    account = joinedload(TierRequest.account).joinedload(Account.allocation)
    return select(TierRequest).options(account, joinedload(TierRequest.person))


def open_of_account(session: Session, account_id: UUID) -> TierRequest | None:
    found = _with_owners().where(TierRequest.account_id == account_id)
    return session.scalar(found.where(TierRequest.state.in_(OPEN)))


def living_of_account(session: Session, account_id: UUID) -> Sequence[TierRequest]:
    """Return what was awarded to the account and has not been renewed, the latest first."""
    found = select(TierRequest).where(TierRequest.account_id == account_id, TierRequest.state.in_(LIVING))
    return session.scalars(found.order_by(TierRequest.decided_at.desc())).all()


def by_id(session: Session, request_id: UUID) -> TierRequest | None:
    return session.scalar(_with_owners().where(TierRequest.id == request_id))


def every_of_account(session: Session, account_id: UUID) -> Sequence[TierRequest]:
    return session.scalars(select(TierRequest).where(TierRequest.account_id == account_id)).all()


def lock(session: Session, request_id: UUID) -> TierRequest | None:
    """Return the request with its account's allocation locked first: the order every transaction locks in."""
    allocation = select(Allocation.id).join(TierRequest, TierRequest.account_id == Allocation.account_id)
    allocation_id = session.scalar(allocation.where(TierRequest.id == request_id))
    if allocation_id is None:
        return None
    accounts.lock(session, [allocation_id])
    found = select(TierRequest).where(TierRequest.id == request_id).with_for_update()
    return session.scalars(found.execution_options(populate_existing=True)).one()


def of_person(session: Session, person_id: UUID) -> Sequence[TierRequest]:
    found = _with_owners().where(TierRequest.person_id == person_id)
    return session.scalars(found.order_by(TierRequest.submitted_at.desc())).all()


def perhaps_due(session: Session, *, ending_before: datetime) -> Sequence[TierRequest]:
    """Return the awarded requests that the clock may have to move."""
    ends = or_(TierRequest.ends_at.is_(None), TierRequest.ends_at <= ending_before)
    living = [state for state in LIVING if state != RequestState.EXPIRED]
    return session.scalars(_with_owners().where(TierRequest.state.in_(living), ends)).all()


def in_states(session: Session, states: Collection[RequestState], *, limit: int) -> Sequence[TierRequest]:
    """Return requests in these states, the longest waiting first."""
    found = _with_owners().where(TierRequest.state.in_(states))
    return session.scalars(found.order_by(TierRequest.submitted_at).limit(limit)).all()


def number_in(session: Session, states: Collection[RequestState]) -> int:
    found = select(func.count()).select_from(TierRequest).where(TierRequest.state.in_(states))
    return session.scalars(found).one()


def add_move(
    session: Session,
    request: TierRequest,
    *,
    before: RequestState | None,
    actor_id: UUID | None,
    reason: str | None,
    at: datetime,
) -> int:
    """Keep that the request has come from ``before`` to its state; return the move's number."""
    made = select(func.count()).select_from(RequestMove).where(RequestMove.request_id == request.id)
    number = session.scalars(made).one() + 1
    session.add(
        RequestMove(
            request_id=request.id,
            number=number,
            before=before,
            after=request.state,
            actor_id=actor_id,
            reason=reason,
            at=at,
        )
    )
    session.flush()
    return number


def moves_of(
    session: Session, request_ids: Sequence[UUID]
) -> Mapping[UUID, list[tuple[RequestMove, str | None]]]:
    """Return each request's moves in order, with the mover's name; None is the platform."""
    named = select(RequestMove, Person.display_name).outerjoin(Person, Person.id == RequestMove.actor_id)
    rows = session.execute(named.where(RequestMove.request_id.in_(request_ids)).order_by(RequestMove.number))
    moves: dict[UUID, list[tuple[RequestMove, str | None]]] = {}
    for move, name in rows:
        moves.setdefault(move.request_id, []).append((move, name))
    return moves


def lock_grant(session: Session, number: str) -> ApprovedGrant | None:
    return session.get(ApprovedGrant, number, with_for_update=True, populate_existing=True)
