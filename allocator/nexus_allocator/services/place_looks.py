"""Looking what a volume's places hold: the volume's own figure, and the scanner's for what it is made of."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from nexus_allocator.clients.files import breakdown, scanner
from nexus_allocator.clients.files.volumes import Volume, VolumeError
from nexus_allocator.domain.errors import AllocatorError
from nexus_allocator.domain.places import Place
from nexus_allocator.domain.purges import nanoseconds
from nexus_allocator.domain.quotas import Filling, StorageTerms
from nexus_allocator.services import storage_quotas
from nexus_allocator.store import places, snapshots
from nexus_allocator.store.session import Database


@dataclass
class Looked:
    """What one round did; the places that could not be looked at, and why."""

    places: int = 0
    overfull: int = 0
    failed: list[tuple[Place, str]] = field(default_factory=list)


def look_at_all(
    database: Database,
    volume: Volume,
    name: str,
    *,
    indices: Path,
    terms: StorageTerms,
    clock: Callable[[], datetime],
    threads: int = 2,
) -> Looked:
    """Look at each place made on the volume called ``name``, in a transaction of its own."""
    with database.reading_scope() as session:
        rows = [(row.id, row.place) for row in places.on_volume(session, name)]
    done = Looked()
    for place_id, place in rows:
        now = clock()
        try:
            usage = volume.usage(place)
            index = indices / place.kind / place.name
            parts = broken_down(volume.path(place), index, now=now, threads=threads)
        except (OSError, VolumeError, AllocatorError) as error:
            done.failed.append((place, str(error)))
            continue
        with database.session_scope() as session:
            filling = storage_quotas.found(session, place_id, usage, parts, terms=terms, now=now)
            if volume.holds.snapshots:
                snapshots.keep(session, place_id, [each.name for each in volume.snapshots(place)], now=now)
        done.places += 1
        done.overfull += filling is not Filling.FINE
    return done


def broken_down(folder: Path, index: Path, *, now: datetime, threads: int) -> dict[str, Any]:
    """Bring the index of a place up to date and return what it is full of."""
    index.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scanner.scan(folder, index, started_ns=nanoseconds(now), threads=threads)
    return breakdown.parts(index, now_ns=nanoseconds(now))
