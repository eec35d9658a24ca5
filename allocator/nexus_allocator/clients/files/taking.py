"""From a place into its quarantine: each planned file that still is what the plan lists, and nothing else."""

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from nexus_allocator.clients.files.plans import PlannedFile
from nexus_allocator.clients.files.purge_run import (
    Exemptions,
    Folders,
    Outcome,
    Run,
    covered,
    numbered,
    summed,
)
from nexus_allocator.clients.files.purge_state import State
from nexus_allocator.clients.files.quarantine import Quarantine, open_or_make
from nexus_allocator.domain.purges import Left, Phase


@dataclass
class Taking:
    run: Run
    shelf: Quarantine
    folders: Folders
    exempt: Exemptions
    now: datetime
    in_use: frozenset[int] = frozenset()

    def one(self, file: PlannedFile) -> Left | None:
        """Take the file; return why it is left, None when it waits in quarantine now."""
        # There already: a run was stopped after the rename and before its log.
        if self.shelf.waiting(file.number) is None:
            left = self._move(file)
            if left:
                return left
        wrong = self._wrong(file)
        if wrong and self._give_back(file):
            return wrong
        return None

    def _move(self, file: PlannedFile) -> Left | None:
        if covered(self.exempt, file.path, self.now):
            return Left.EXEMPT
        if file.identity.inode in self.in_use:
            return Left.OPEN
        try:
            folder = self.folders.of(file.folder)
        except FileNotFoundError:
            return Left.GONE
        except OSError:
            return Left.MOVED
        return self.shelf.take(file, folder)

    def _wrong(self, file: PlannedFile) -> Left | None:
        """Look again, now that nobody can swap it: say why the file may not stay in quarantine."""
        if not self.shelf.is_planned(file):
            return Left.CHANGED
        if covered(self.exempt, file.path, self.now):
            return Left.EXEMPT
        return None if self._was_in_its_place(file) else Left.MOVED

    def _was_in_its_place(self, file: PlannedFile) -> bool:
        try:
            self.folders.of(file.folder)
        except OSError:
            # After a stop the folder may be gone; the file was taken from where the plan says.
            return True
        return self.folders.still_leads_there(file.folder)

    def _give_back(self, file: PlannedFile) -> bool:
        """Put it where it was; what can't be put back waits, undeleted since it is not what was planned."""
        try:
            return self.shelf.give_back(file, self.folders.of(file.folder))
        except OSError:
            return put_back(self.run, self.shelf, file)


def put_back(run: Run, shelf: Quarantine, file: PlannedFile) -> bool:
    """Give a waiting file back to its folder, made again if need be; say whether that could be done."""
    try:
        folder = open_or_make(shelf.place, file.folder, run.plan.folders)
    except OSError:
        return False
    try:
        return shelf.give_back(file, folder)
    finally:
        os.close(folder)


def take_all(
    run: Run, shelf: Quarantine, *, exempt: Exemptions, now: datetime, busy: Callable[[], bool]
) -> Outcome:
    """Take all files that are not decided yet, a batch at a time, each batch logged once it is done."""
    device = os.fstat(shelf.place).st_dev
    total = Outcome()
    with closing(Folders(shelf.place)) as folders:
        taking = Taking(run, shelf, folders, exempt, now)
        for batch in run.batches(State.PLANNED):
            if busy():
                return total
            taking.in_use = run.ground.open_inodes(device)
            total += _take_batch(taking, batch)
    shelf.sync()
    if run.standing.phase is Phase.QUARANTINING:
        run.note("quarantined", now)
    return total


def _take_batch(taking: Taking, batch: list[PlannedFile]) -> Outcome:
    taken, left = [], []
    for file in batch:
        reason = taking.one(file)
        if reason:
            left.append((file, reason))
        else:
            taken.append(file)
    if taken:
        pairs = [(file.number, _ctime(taking.shelf, file)) for file in taken]
        taking.run.note("taken", taking.now, files=pairs)
    if left:
        taking.run.note("left", taking.now, files=numbered(left))
    return summed(taken, left)


def _ctime(shelf: Quarantine, file: PlannedFile) -> int:
    found = shelf.waiting(file.number)
    # Out of our own hands only by our own: then a later look finds nothing there and says so.
    return found.ctime_ns if found else 0
