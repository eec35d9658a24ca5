"""Whose a place is, and what of it is exempt from purges."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from nexus_allocator.domain.places import Place
from nexus_allocator.store.storage_tables import StorageExemption
from nexus_allocator.store.tables import Home, Team

MOST_LISTED = 200


def person_of_home(session: Session, name: str) -> UUID | None:
    return session.scalar(select(Home.person_id).where(Home.name == name))


def team_called(session: Session, slug: str) -> UUID | None:
    return session.scalar(select(Team.id).where(Team.slug == slug))


def home_of(session: Session, person_id: UUID) -> str | None:
    return session.scalar(select(Home.name).where(Home.person_id == person_id))


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


def of_places(session: Session, places: Collection[Place]) -> Sequence[StorageExemption]:
    """Return what was exempted or asked for in these places, the latest first."""
    if not places:
        return []
    whose = [
        (StorageExemption.place_kind == place.kind) & (StorageExemption.place_name == place.name)
        for place in places
    ]
    return session.scalars(_latest().where(or_(*whose))).all()


def unanswered(session: Session, now: datetime) -> Sequence[StorageExemption]:
    """Return the exemptions that wait for an answer, the oldest first."""
    found = select(StorageExemption).where(
        StorageExemption.granted_at.is_(None),
        StorageExemption.ended_at.is_(None),
        StorageExemption.until > now,
    )
    return session.scalars(found.order_by(StorageExemption.made_at, StorageExemption.id)).all()


def every_in_force(session: Session, now: datetime) -> Sequence[StorageExemption]:
    """Return the granted exemptions that hold, the latest first."""
    found = _latest().where(StorageExemption.granted_at.is_not(None), StorageExemption.ended_at.is_(None))
    return session.scalars(found.where(StorageExemption.until > now)).all()


def _latest() -> Select[StorageExemption]:
    order = (StorageExemption.made_at.desc(), StorageExemption.id)
    return select(StorageExemption).order_by(*order).limit(MOST_LISTED)
