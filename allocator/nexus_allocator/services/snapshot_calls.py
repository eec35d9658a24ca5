"""What people asked back from snapshots: rows of the outbox, carried out by who has the volume."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.clients.files.bringing_back import Brought
from nexus_allocator.clients.files.volumes import Volume, VolumeError
from nexus_allocator.domain.errors import BadName, NothingToRestore, SnapshotUnderWay, UnknownPlace
from nexus_allocator.domain.outbox import DeliveryFailed
from nexus_allocator.domain.places import Place
from nexus_allocator.domain.purges import readable
from nexus_allocator.domain.states import NoticeKind
from nexus_allocator.services import snapshots, storage
from nexus_allocator.services.delivery import Nothing, Send
from nexus_allocator.services.notices import tell
from nexus_allocator.services.place_calls import mounted_place
from nexus_allocator.store import places
from nexus_allocator.store.outbox_tables import Outgoing


class SnapshotCarrier:
    """Asks the volumes that are mounted here, by their names; what was done already does no harm."""

    def __init__(self, volumes: Mapping[str, Volume]) -> None:
        self.volumes = volumes
        self._brought: dict[UUID, Brought] = {}

    def prepare(self, session: Session, row: Outgoing, *, now: datetime) -> Send | Nothing:
        mounted = mounted_place(session, row, self.volumes)
        if isinstance(mounted, Nothing):
            return mounted
        found, volume = mounted
        return lambda: self._do(row, volume, found.place)

    def failed(self, session: Session, row: Outgoing, *, problem: str, now: datetime) -> None:
        """Nothing beside the row itself is to be noted."""

    def arrived(self, session: Session, row: Outgoing, *, now: datetime) -> None:
        """Tell who asked what came back."""
        done, found = self._brought.pop(row.id), places.by_id(session, UUID(row.facts["place"]))
        if row.person_id is None or found is None:
            return
        path = storage.decoded(row.facts["path"])
        facts = {"place": str(found.place), "day": row.facts["day"], **asdict(done),
                 "path": readable(path)}  # fmt: skip
        kind = NoticeKind.FILES_BROUGHT_BACK
        tell(session, row.person_id, kind, key=f"{kind}/{row.id}", facts=facts, now=now)

    def rest(self) -> None:
        """A mounted volume needs no closing."""

    def _do(self, row: Outgoing, volume: Volume, place: Place) -> None:
        path = storage.decoded(row.facts["path"])
        try:
            self._brought[row.id] = snapshots.restore(volume, place, row.facts["day"], path)
        except (NothingToRestore, BadName):
            self._brought[row.id] = Brought()
        except SnapshotUnderWay as error:
            raise DeliveryFailed("The snapshot is still being fetched.") from error
        except (OSError, VolumeError, UnknownPlace) as error:
            raise DeliveryFailed(str(error)) from error
