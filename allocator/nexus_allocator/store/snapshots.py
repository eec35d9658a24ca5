"""Which snapshots places have."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from nexus_allocator.store.snapshot_tables import PlaceSnapshot


def of_places(session: Session, place_ids: Collection[UUID]) -> dict[UUID, list[str]]:
    """Return the names of each place's snapshots, the latest day first."""
    found = select(PlaceSnapshot.place_id, PlaceSnapshot.name).where(PlaceSnapshot.place_id.in_(place_ids))
    names: dict[UUID, list[str]] = {place_id: [] for place_id in place_ids}
    for place_id, name in session.execute(found.order_by(PlaceSnapshot.name.desc())):
        names[place_id].append(name)
    return names


def keep(session: Session, place_id: UUID, names: Collection[str], *, now: datetime) -> None:
    """Keep that a place has these snapshots and no others."""
    known = set(of_places(session, [place_id])[place_id])
    gone = delete(PlaceSnapshot).where(
        PlaceSnapshot.place_id == place_id, PlaceSnapshot.name.in_(known - set(names))
    )
    session.execute(gone.execution_options(synchronize_session=False))
    for name in sorted(set(names) - known):
        session.add(PlaceSnapshot(place_id=place_id, name=name, seen_at=now))
    session.flush()
