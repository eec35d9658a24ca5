"""Announcements, as administrators wrote them."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from nexus_allocator.store.care_tables import Announcement


def add(session: Session, row: Announcement) -> None:
    session.add(row)
    session.flush()


def by_id(session: Session, announcement_id: UUID) -> Announcement | None:
    return session.get(Announcement, announcement_id)


def standing(session: Session, *, now: datetime) -> Sequence[Announcement]:
    """Return what is to be read now, what began last first."""
    found = select(Announcement).where(Announcement.starts_at <= now, Announcement.ends_at > now)
    found = found.where(Announcement.withdrawn_at.is_(None))
    return session.scalars(found.order_by(Announcement.starts_at.desc(), Announcement.id)).all()


def latest(session: Session, *, limit: int) -> Sequence[Announcement]:
    found = select(Announcement).order_by(Announcement.ends_at.desc(), Announcement.id)
    return session.scalars(found.limit(limit)).all()
