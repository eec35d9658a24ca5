"""Quotas of places: what was found is kept, people are told as a place fills, full homes start a rescue."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.outbox import Channel, FileCall
from nexus_allocator.domain.places import Place, PlaceKind, Usage
from nexus_allocator.domain.quotas import BLOCKED, GB, Filling, Overfull, StorageTerms
from nexus_allocator.domain.states import NoticeKind
from nexus_allocator.services import places as service
from nexus_allocator.services import storage
from nexus_allocator.services.notices import owners, tell
from nexus_allocator.services.outbox import enqueue
from nexus_allocator.services.rights import person_called
from nexus_allocator.store import places
from nexus_allocator.store.places_tables import PlaceRow, PlaceUsage

Parts = Mapping[str, Any]
Look = Callable[[Place], tuple[Usage, Parts | None]]


def found(
    session: Session, place_id: UUID, usage: Usage, parts: Parts | None, *, terms: StorageTerms, now: datetime
) -> Filling:
    """Keep what was found in a place; begin or end its soft limit's grace, tell its people, set its limit."""
    row = places.lock(session, place_id)
    if row is None:
        return Filling.FINE
    kept = PlaceUsage(
        place_id=row.id, at=now, used_bytes=usage.used_bytes, quarantined_bytes=usage.quarantined_bytes,
        snapshot_bytes=usage.snapshot_bytes, limit_bytes=row.hard_bytes, parts=dict(parts) if parts else None,
    )  # fmt: skip
    places.add_usage(session, kept)
    if row.hard_bytes is None:
        return Filling.FINE
    row.over_since = service.limits_of(row, terms).after(usage.used_bytes, now=now)
    service.enforce(session, row, terms=terms, now=now)
    filling = filling_of(row, kept, terms=terms, now=now)
    _tell(session, row, kept, filling, terms=terms, now=now)
    return filling


def filling_of(row: PlaceRow, usage: PlaceUsage | None, *, terms: StorageTerms, now: datetime) -> Filling:
    """Return how full a place is by what was last found in it."""
    if usage is None or row.hard_bytes is None:
        return Filling.FINE
    return service.limits_of(row, terms).filling(usage.used_bytes, now=now)


def needs_rescue(session: Session, home: str, *, terms: StorageTerms, now: datetime) -> bool:
    """Say whether nothing can be written in a home, so that its server starts beside it.

    It is looked at again, in case room was made meanwhile.
    """
    row = places.called(session, Place(PlaceKind.HOME, home))
    if row is None or row.over_since is None:
        return False
    usage = places.latest_usage(session, [row.id]).get(row.id)
    if filling_of(row, usage, terms=terms, now=now) not in BLOCKED:
        return False
    order_look(session, row, now=now)
    return True


def warnings(session: Session, person_id: UUID, *, terms: StorageTerms, now: datetime) -> list[Overfull]:
    """Return which of the places that a person reaches hold more than they should."""
    rows = [row for row in places.reached_by(session, person_id) if row.over_since is not None]
    if not rows:
        return []
    usage = places.latest_usage(session, [row.id for row in rows])
    return [
        Overfull(row.place, filling, usage[row.id].used_bytes, service.limits_of(row, terms))
        for row in rows
        if (filling := filling_of(row, usage.get(row.id), terms=terms, now=now)) is not Filling.FINE
    ]


def warnings_of(session: Session, *, hub_name: str, terms: StorageTerms, now: datetime) -> list[Overfull]:
    """As `warnings`, of the person the hub calls so. Raises UnknownPerson."""
    return warnings(session, person_called(session, hub_name).id, terms=terms, now=now)


def look_again(session: Session, person_id: UUID, *, now: datetime) -> None:
    """Have a person's home looked at again if it held too much: a server of theirs has ended."""
    for row in places.overfull_of_person(session, person_id):
        order_look(session, row, now=now)


def order_look(session: Session, row: PlaceRow, *, now: datetime) -> None:
    """Have a place's volume asked what is in it."""
    if row.volume is not None and row.made_at is not None:
        key = f"look/{row.id}/{now.isoformat(timespec='seconds')}"
        enqueue(
            session, Channel.FILES, FileCall.LOOK, key=key, facts={"place": str(row.id)},
            person_id=row.account.person_id, now=now,
        )  # fmt: skip


def _tell(
    session: Session,
    row: PlaceRow,
    usage: PlaceUsage,
    filling: Filling,
    *,
    terms: StorageTerms,
    now: datetime,
) -> None:
    volume = places.volume(session, row.volume) if row.volume else None
    enforced = volume is not None and volume.enforces
    limits = service.limits_of(row, terms)
    seen = Usage(usage.used_bytes, usage.quarantined_bytes, usage.snapshot_bytes, row.hard_bytes)
    ends_at = limits.grace_ends_at
    soft = (limits.soft_bytes, ends_at) if ends_at is not None and filling is Filling.SOFT else None
    mark = storage.warn(session, row.place, seen, enforced=enforced, now=now, soft=soft)
    # Who was given a smaller size is far from the old limit's marks, and has the grace all the same.
    kind = NoticeKind.PLACE_SOFT if mark is None and soft is not None else None
    kind = NoticeKind.PLACE_LOCKED if filling is Filling.LOCKED else kind
    if kind is None or ends_at is None:
        return
    facts = {"place": str(row.place), "soft_gb": limits.soft_bytes / GB, "used_gb": usage.used_bytes / GB,
             "enforced": enforced, "grace_until": ends_at.date().isoformat()}  # fmt: skip
    key = f"{kind}/{row.id}/{ends_at.isoformat()}"
    for person_id in owners(session, row.account):
        tell(session, person_id, kind, key=key, facts=facts, now=now)
