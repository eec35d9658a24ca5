"""Whose a place is, and what of it is exempt from purges."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from nexus_allocator.domain.places import Place
from nexus_allocator.store.storage_tables import StorageExemption
from nexus_allocator.store.tables import Home, Team


def person_of_home(session: Session, name: str) -> UUID | None:
    return session.scalar(select(Home.person_id).where(Home.name == name))


def team_called(session: Session, slug: str) -> UUID | None:
    return session.scalar(select(Team.id).where(Team.slug == slug))


def add(session: Session, row: StorageExemption) -> None:
    session.add(row)
    session.flush()


def exemption(session: Session, exemption_id: UUID) -> StorageExemption | None:
    found = select(StorageExemption).where(StorageExemption.id == exemption_id)
    return session.scalar(found.with_for_update())


def in_force(session: Session, place: Place, now: datetime) -> Sequence[StorageExemption]:
    """Return the place's exemptions that hold now, the oldest first."""
    found = select(StorageExemption).where(
        StorageExemption.place_kind == place.kind,
        StorageExemption.place_name == place.name,
        StorageExemption.until > now,
        StorageExemption.ended_at.is_(None),
    )
    return session.scalars(found.order_by(StorageExemption.made_at, StorageExemption.id)).all()
