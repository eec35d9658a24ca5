"""Snapshots of a whole volume, as AWS's services take them: one stands for all the places in it.

What each was called is kept on the volume itself with the number that AWS gave it, so that reading the list
asks nobody.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nexus_allocator.clients.files.directory import KEPT, DirectoryVolume
from nexus_allocator.clients.files.volumes import VolumeError
from nexus_allocator.domain.places import Place, require_snapshot_name

GONE = frozenset({"ResourceNotFoundException", "SnapshotNotFound"})


@contextmanager
def asking_aws(what: str, *, gone_is_fine: bool = False) -> Iterator[None]:
    """Let AWS be asked. Raises VolumeError when it refuses or does not answer."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - of the extra `aws`

    try:
        yield
    except ClientError as error:
        if not (gone_is_fine and error.response["Error"]["Code"] in GONE):
            raise VolumeError(f"{what}: {error}") from error
    except BotoCoreError as error:
        raise VolumeError(f"{what}: {error}") from error


class WholeSnapshots(DirectoryVolume):
    """A volume whose driver takes snapshots by ``take`` and drops them by ``drop``.

    A place that is removed stays in the snapshots that were taken before.
    """

    def take(self, name: str) -> dict[str, str]:
        """Have the whole volume kept as it is now; return what it takes to find and drop that."""
        raise NotImplementedError

    def drop(self, taken: dict[str, str]) -> None:
        raise NotImplementedError

    def snapshot(self, place: Place, name: str) -> Path:
        """Keep the whole volume, unless it was kept under this name for another place already."""
        self.path(place)
        with self.taken() as taken:
            if require_snapshot_name(name) not in taken:
                taken[name] = self.take(name)
        return self._called(name)

    def snapshots(self, place: Place) -> list[Path]:
        self.path(place)
        with self.taken() as taken:
            return [self._called(name) for name in sorted(taken)]

    def drop_snapshot(self, place: Place, name: str) -> None:
        self.path(place)
        with self.taken() as taken:
            if found := taken.pop(require_snapshot_name(name), None):
                self.drop(found)

    @contextmanager
    def taken(self) -> Iterator[dict[str, Any]]:
        with self._kept("snapshots.json") as taken:
            yield taken

    def _called(self, name: str) -> Path:
        return self.root / KEPT / "snapshots" / name
