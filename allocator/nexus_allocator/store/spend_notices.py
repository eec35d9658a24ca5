"""Notices that an award is used up to one of the policy's marks."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from nexus_allocator.store.tables import SpendNotice


def standing(session: Session, allocation_id: UUID) -> Sequence[SpendNotice]:
    """Return the allocation's notices that credits have not cleared, the lowest mark first."""
    found = select(SpendNotice).where(SpendNotice.allocation_id == allocation_id)
    return session.scalars(found.where(SpendNotice.cleared_at.is_(None)).order_by(SpendNotice.percent)).all()


def highest(session: Session, allocation_ids: Sequence[UUID]) -> Mapping[UUID, SpendNotice]:
    """Return the highest standing notice of each allocation that has one."""
    found = select(SpendNotice).where(SpendNotice.allocation_id.in_(allocation_ids))
    rows = session.scalars(found.where(SpendNotice.cleared_at.is_(None)).order_by(SpendNotice.percent))
    return {notice.allocation_id: notice for notice in rows}


def with_notices(session: Session) -> set[UUID]:
    """Return the allocations that have a standing notice."""
    return set(session.scalars(select(SpendNotice.allocation_id).where(SpendNotice.cleared_at.is_(None))))


def add(session: Session, notice: SpendNotice) -> None:
    session.add(notice)
    session.flush()
