"""Calls to volumes by the outbox: a place is made if need be, and gets the limit that its row says.

What the row says is read when the call is made: calls that overtake each other end the same.
"""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.clients.files.volumes import Volume, VolumeError
from nexus_allocator.domain.errors import AllocatorError
from nexus_allocator.domain.outbox import DeliveryFailed
from nexus_allocator.domain.places import Owner
from nexus_allocator.services.delivery import Nothing, Send
from nexus_allocator.store import people, places
from nexus_allocator.store.outbox_tables import Outgoing
from nexus_allocator.store.places_tables import PlaceRow

HOME_MODE = 0o750
# Setgid: what members put there stays the team's. Sticky: only owners rename and remove at the top.
TEAM_MODE = 0o3770
ROOT = 0


class FilesCarrier:
    """Asks the volumes that are mounted here, by their names."""

    def __init__(self, volumes: Mapping[str, Volume]) -> None:
        self.volumes = volumes
        self._limits: dict[UUID, int | None] = {}

    def prepare(self, session: Session, row: Outgoing, *, now: datetime) -> Send | Nothing:
        found = places.by_id(session, UUID(row.facts["place"]))
        if found is None or found.volume is None:
            return Nothing("The place has no volume.")
        volume = self.volumes.get(found.volume)
        if volume is None:
            raise DeliveryFailed(f"The volume {found.volume} is not mounted here.")
        place, owner, limit = found.place, owner_of(session, found), found.limit_bytes
        self._limits[row.id] = limit

        def settle() -> None:
            try:
                volume.create(place, owner)
                volume.set_quota(place, limit)
            except (OSError, VolumeError, AllocatorError) as error:
                raise DeliveryFailed(str(error)) from error

        return settle

    def failed(self, session: Session, row: Outgoing, *, problem: str, now: datetime) -> None:
        self._limits.pop(row.id, None)

    def arrived(self, session: Session, row: Outgoing, *, now: datetime) -> None:
        found = places.lock(session, UUID(row.facts["place"]))
        if found is not None:
            found.made_at = found.made_at or now
            found.applied_bytes = self._limits.pop(row.id)

    def rest(self) -> None:
        """A mounted volume needs no closing."""


def owner_of(session: Session, row: PlaceRow) -> Owner:
    """Return whose the place's top folder is."""
    account = row.account
    if account.team_id is not None:
        return Owner(ROOT, places.team_gid(session, account.team_id), TEAM_MODE)
    person = people.by_id(session, account.person_id) if account.person_id else None
    assert person is not None  # noqa: S101 - the table has one owner
    return Owner(person.uid, person.uid, HOME_MODE)
