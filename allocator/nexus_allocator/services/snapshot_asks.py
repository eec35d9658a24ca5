"""Snapshots of people's places as they see them, and what they have brought back from one.

Nothing here touches a file: what is asked for goes to the outbox, to be done by who has the volume.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.errors import NothingToRestore, UnknownPlace
from nexus_allocator.domain.outbox import Channel, SnapshotCall
from nexus_allocator.domain.places import Place
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.records import Act
from nexus_allocator.domain.rights import Action
from nexus_allocator.domain.snapshots import KEPT, goes_on, path_below
from nexus_allocator.services import place_rights, storage
from nexus_allocator.services.outbox import enqueue
from nexus_allocator.services.records import record
from nexus_allocator.services.rights import person_called, themselves
from nexus_allocator.store import outbox, places
from nexus_allocator.store import snapshots as rows


@dataclass(frozen=True)
class SnapshotRow:
    """One snapshot; ``goes_on`` is the day on which it is dropped, None of one that stays."""

    name: str
    goes_on: date | None


@dataclass(frozen=True)
class PlaceSnapshots:
    """A place's snapshots, the latest first; ``snapshot_bytes`` is what they alone kept when looked at."""

    place: Place
    snapshots: tuple[SnapshotRow, ...]
    snapshot_bytes: int
    may_restore: bool
    is_restoring: bool


def of_person(
    session: Session, *, hub_name: str, policy: Policy, with_teams: bool = True
) -> list[PlaceSnapshots]:
    """Return the homes and team folders that a person reaches, with their snapshots."""
    person = themselves(session, hub_name, Action.SNAPSHOT_SEE)
    reached = [row for row in places.reached_by(session, person.id) if row.kind in KEPT]
    reached = [row for row in reached if with_teams or row.account.person_id == person.id]
    ids, terms = [row.id for row in reached], policy.snapshots
    names, usage = rows.of_places(session, ids), places.latest_usage(session, ids)
    return [
        PlaceSnapshots(
            place=row.place,
            snapshots=tuple(
                SnapshotRow(name, goes_on(name, keep_days=terms.keep_days, keep_weeks=terms.keep_weeks))
                for name in names[row.id]
            ),
            snapshot_bytes=usage[row.id].snapshot_bytes if row.id in usage else 0,
            may_restore=place_rights.may(session, row.place, person, Action.SNAPSHOT_RESTORE),
            is_restoring=_is_asked(session, _about(row.id)),
        )
        for row in reached
    ]


def ask(session: Session, place: Place, name: str, text: str, *, hub_name: str, now: datetime) -> None:
    """Have what a snapshot holds at a path brought back, by whoever has the volume. Asked again, it is one.

    Raises UnknownPlace, TeamRoleNeeded, NothingToRestore for a snapshot that is not there, BadName.
    """
    person, row = person_called(session, hub_name), places.called(session, place)
    place_rights.require(session, place, person, Action.SNAPSHOT_RESTORE)
    if row is None:
        raise UnknownPlace(place=str(place))
    if name not in rows.of_places(session, [row.id])[row.id]:
        raise NothingToRestore()
    path = storage.encoded(path_below(text, place))
    what = f"{_about(row.id)}{name}/{sha256(path.encode()).hexdigest()[:16]}/"
    if _is_asked(session, what):
        return
    facts = {"place": str(row.id), "day": name, "path": path}
    enqueue(
        session, Channel.SNAPSHOTS, SnapshotCall.BRING_BACK, key=f"{what}{now.isoformat()}", facts=facts,
        now=now, person_id=person.id,
    )  # fmt: skip
    told = {"place": str(place), "day": name, "path": path}
    record(session, Act.SNAPSHOT_ASKED, row.id, by=person.id, now=now, after=told)


def keep_seen(session: Session, place: Place, names: Iterable[str], *, now: datetime) -> None:
    """Keep which snapshots a place was seen to have; of a folder that is nobody's none are kept."""
    row = places.called(session, place)
    if row is not None:
        rows.keep(session, row.id, list(names), now=now)


def _about(place_id: UUID) -> str:
    return f"{SnapshotCall.BRING_BACK}/{place_id.hex}/"


def _is_asked(session: Session, what: str) -> bool:
    begins = f"{Channel.SNAPSHOTS}/{what}"
    kind = SnapshotCall.BRING_BACK
    return outbox.waiting_for(session, Channel.SNAPSHOTS, kind, key_begins=begins) is not None
