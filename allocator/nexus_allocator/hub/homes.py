"""The folders a server needs on one machine, made with the right owner before it starts."""

import os
from dataclasses import dataclass
from pathlib import Path

from nexus_allocator.hub.service import Admission


@dataclass(frozen=True)
class Folders:
    """Below the state directory; ``separate`` says whether each person has a uid of their own."""

    homes: Path
    teams: Path
    store: Path
    separate: bool

    def home(self, admission: Admission) -> Path:
        return self.homes / admission.home

    def prepare(self, admission: Admission) -> None:
        """Make the person's home, their teams' folders and the charged account's part of the store.

        Existing folders are left alone. Everything below a home is made by its owner (see start_lab):
        what root writes there could be led elsewhere by a link.
        """
        self._make(self.home(admission), admission.uid, admission.gid, 0o750)
        gid_of = dict(zip(admission.teams, admission.supplemental_gids, strict=False))
        for team, gid in gid_of.items():
            # Setgid, so that what members put there stays the team's; sticky, so that only owners remove it.
            self._make(self.teams / team, 0, gid, 0o3770)
        owner = (
            (0, gid_of[admission.account]) if admission.account in gid_of else (admission.uid, admission.gid)
        )
        self._make(self.store / "accounts" / admission.account, *owner, 0o2770)

    def _make(self, folder: Path, uid: int, gid: int, mode: int) -> None:
        if folder.is_dir():
            return
        folder.mkdir()
        if self.separate:
            os.chown(folder, uid, gid)
            folder.chmod(mode)
