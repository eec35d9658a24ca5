"""Calls to volumes by the outbox: a place is made, gets the limit that its row says, or is looked at.

What the row says is read when the call is made: calls that overtake each other end the same.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.clients.files.volumes import Volume, VolumeError
from nexus_allocator.domain.errors import AllocatorError
from nexus_allocator.domain.outbox import DeliveryFailed, FileCall
from nexus_allocator.domain.places import Owner, Place
from nexus_allocator.domain.quotas import StorageTerms
from nexus_allocator.services import storage_quotas
from nexus_allocator.services.delivery import Nothing, Send
from nexus_allocator.store import people, places
from nexus_allocator.store.outbox_tables import Outgoing
from nexus_allocator.store.places_tables import PlaceRow

HOME_MODE = 0o750
# Setgid: what members put there stays the team's. Sticky: only owners rename and remove at the top.
TEAM_MODE = 0o3770
ROOT = 0


# What was seen when a call was made, to be kept in the transaction that keeps that it was.
Seen = Callable[[Session, UUID, datetime], object]


class FilesCarrier:
    """Asks the volumes that are mounted here, by their names."""

    def __init__(self, volumes: Mapping[str, Volume], terms: StorageTerms) -> None:
        self.volumes, self.terms = volumes, terms
        self._seen: dict[UUID, Seen] = {}

    def prepare(self, session: Session, row: Outgoing, *, now: datetime) -> Send | Nothing:
        mounted = mounted_place(session, row, self.volumes)
        if isinstance(mounted, Nothing):
            return mounted
        found, volume = mounted
        if row.kind == FileCall.LOOK:
            return _asking(lambda: self._look(row.id, volume, found.place))
        owner, limit = owner_of(session, found), found.limit_bytes
        return _asking(lambda: self._settle(row.id, volume, found.place, owner=owner, limit_bytes=limit))

    def failed(self, session: Session, row: Outgoing, *, problem: str, now: datetime) -> None:
        """Nothing beside the row itself is to be noted."""

    def arrived(self, session: Session, row: Outgoing, *, now: datetime) -> None:
        self._seen.pop(row.id)(session, UUID(row.facts["place"]), now)

    def rest(self) -> None:
        """A mounted volume needs no closing."""

    def _settle(
        self, row_id: UUID, volume: Volume, place: Place, *, owner: Owner, limit_bytes: int | None
    ) -> None:
        volume.create(place, owner)
        volume.set_quota(place, limit_bytes)

        def keep(session: Session, place_id: UUID, now: datetime) -> None:
            if row := places.lock(session, place_id):
                row.made_at, row.applied_bytes = row.made_at or now, limit_bytes

        self._seen[row_id] = keep

    def _look(self, row_id: UUID, volume: Volume, place: Place) -> None:
        usage = volume.usage(place)

        def keep(session: Session, place_id: UUID, now: datetime) -> None:
            storage_quotas.found(session, place_id, usage, None, terms=self.terms, now=now)

        self._seen[row_id] = keep


def mounted_place(
    session: Session, row: Outgoing, volumes: Mapping[str, Volume]
) -> tuple[PlaceRow, Volume] | Nothing:
    """Return the place that the row is about and the volume that has it.

    Raises DeliveryFailed where that volume is not mounted.
    """
    found = places.by_id(session, UUID(row.facts["place"]))
    if found is None or found.volume is None:
        return Nothing("The place has no volume.")
    volume = volumes.get(found.volume)
    if volume is None:
        raise DeliveryFailed(f"The volume {found.volume} is not mounted here.")
    return found, volume


def _asking(call: Send) -> Send:
    """Return the call as the deliverer makes it: a volume that fails is a failed attempt."""

    def ask() -> None:
        try:
            call()
        except (OSError, VolumeError, AllocatorError) as error:
            raise DeliveryFailed(str(error)) from error

    return ask


def owner_of(session: Session, row: PlaceRow) -> Owner:
    """Return whose the place's top folder is."""
    account = row.account
    if account.team_id is not None:
        return Owner(ROOT, places.team_gid(session, account.team_id), TEAM_MODE)
    person = people.by_id(session, account.person_id) if account.person_id else None
    assert person is not None  # noqa: S101 - the table has one owner
    return Owner(person.uid, person.uid, HOME_MODE)
