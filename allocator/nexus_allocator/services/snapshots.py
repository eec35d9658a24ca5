"""Daily snapshots of every place on a volume that can take them, and files brought back from one."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nexus_allocator.clients.files.bringing_back import Brought, bring_back
from nexus_allocator.clients.files.volumes import Volume, VolumeError, places_on, with_room
from nexus_allocator.domain.errors import AllocatorError
from nexus_allocator.domain.places import Place, require_snapshot_name
from nexus_allocator.domain.policy import Snapshots
from nexus_allocator.domain.purges import Parts
from nexus_allocator.domain.snapshots import KEPT, name_of, to_drop


@dataclass(frozen=True)
class Turned:
    """What was done with a place's snapshots, or would be."""

    place: Place
    taken: str | None = None
    dropped: tuple[str, ...] = ()
    problem: str | None = None


def turn(
    volume: Volume, root: Path, terms: Snapshots, *, now: datetime, apply: bool = True
) -> Iterator[Turned]:
    """Take today's snapshot of each home and team folder that has none, and drop those whose time is over."""
    if not terms.enabled or not volume.holds.snapshots:
        return
    for place in places_on(root):
        if place.kind not in KEPT:
            continue
        try:
            yield _turn_one(volume, place, terms, now=now, apply=apply)
        except (AllocatorError, VolumeError, OSError) as error:
            yield Turned(place, problem=str(error))


def _turn_one(volume: Volume, place: Place, terms: Snapshots, *, now: datetime, apply: bool) -> Turned:
    names = [each.name for each in volume.snapshots(place)]
    today = name_of(now)
    over = to_drop(names, keep_days=terms.keep_days, keep_weeks=terms.keep_weeks, today=now.date())
    missing = today not in names
    if apply:
        if missing:
            volume.snapshot(place, today)
        for name in over:
            volume.drop_snapshot(place, name)
    return Turned(place, today if missing else None, tuple(over))


def restore(volume: Volume, place: Place, name: str, path: Parts) -> Brought:
    """Bring back what a snapshot has at a path.

    Raises NothingToRestore, SnapshotUnderWay, UnknownPlace, BadName.
    """
    wanted = require_snapshot_name(name)
    snapshot = volume.fetch(place, wanted, path)
    with with_room(volume, place):
        return bring_back(volume.path(place), snapshot, path, called=wanted)
