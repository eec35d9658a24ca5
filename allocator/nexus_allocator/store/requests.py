"""Requests for a larger tier."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, joinedload

from nexus_allocator.domain.states import RequestState
from nexus_allocator.store.tables import Account, TierRequest


def _with_owners() -> Select[TierRequest]:
    account = joinedload(TierRequest.account).joinedload(Account.allocation)
    return select(TierRequest).options(account, joinedload(TierRequest.person))


def open_of_account(session: Session, account_id: UUID) -> TierRequest | None:
    found = _with_owners().where(TierRequest.account_id == account_id)
    return session.scalar(found.where(TierRequest.state == RequestState.SUBMITTED))


def lock(session: Session, request_id: UUID) -> TierRequest | None:
    found = select(TierRequest).where(TierRequest.id == request_id).with_for_update()
    return session.scalar(found.execution_options(populate_existing=True))


def of_person(session: Session, person_id: UUID) -> Sequence[TierRequest]:
    found = _with_owners().where(TierRequest.person_id == person_id)
    return session.scalars(found.order_by(TierRequest.submitted_at.desc())).all()


def page(session: Session, *, state: RequestState | None, limit: int, offset: int) -> Sequence[TierRequest]:
    """Return requests, the longest waiting first."""
    found = _with_owners()
    if state is not None:
        found = found.where(TierRequest.state == state)
    return session.scalars(found.order_by(TierRequest.submitted_at).limit(limit).offset(offset)).all()
