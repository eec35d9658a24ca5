"""Out of the quarantine: back to where a file was, or away for good after a last look."""

import os
from datetime import datetime

from nexus_allocator.clients.files import quarantine
from nexus_allocator.clients.files.handles import Parts
from nexus_allocator.clients.files.plans import PlannedFile
from nexus_allocator.clients.files.purge_run import Exemptions, Outcome, Run, covered, numbered, summed
from nexus_allocator.clients.files.purge_state import State
from nexus_allocator.clients.files.quarantine import Quarantine
from nexus_allocator.clients.files.taking import put_back
from nexus_allocator.domain.purges import Left, Phase

WAITING = (State.WAITING, State.GOING)


def restore_all(run: Run, shelf: Quarantine, *, under: Parts, by: str, now: datetime) -> Outcome:
    """Give back what waits at or below ``under``, a batch at a time."""
    total = Outcome()
    for batch in run.batches(*WAITING):
        wanted = [file for file in batch if file.path[: len(under)] == under]
        wanted = note_absent(run, shelf, wanted, now)
        back = [file for file in wanted if put_back(run, shelf, file)]
        if back:
            run.note("restored", now, files=[file.number for file in back], by=by)
        stuck = [(file, Left.MOVED) for file in wanted if file not in back]
        total += summed(back, stuck)
    finish(run, shelf, now)
    return total


def delete_all(run: Run, shelf: Quarantine, *, exempt: Exemptions, now: datetime) -> Outcome:
    """Delete what waits and still is what was planned; give back the rest."""
    in_use = run.ground.open_inodes(os.fstat(shelf.place).st_dev)
    total = Outcome()
    for batch in run.batches(*WAITING):
        present = note_absent(run, shelf, batch, now)
        going, spared = [], []
        for file in present:
            is_exempt = covered(exempt, file.path, now)
            reason = Left.EXEMPT if is_exempt else why_spared(run, shelf, file, in_use=in_use)
            if reason:
                spared.append((file, reason))
            else:
                going.append(file)
        _erase(run, shelf, going, now)
        back = [(file, reason) for file, reason in spared if put_back(run, shelf, file)]
        if back:
            run.note("left", now, files=numbered(back))
        total += summed(going, spared)
    finish(run, shelf, now)
    return total


def note_absent(run: Run, shelf: Quarantine, batch: list[PlannedFile], now: datetime) -> list[PlannedFile]:
    """Log what a stopped run had done already, and return the files that do wait.

    Nobody but we can reach into the quarantine: a file that is not there was deleted if that was begun, and
    given back otherwise.
    """
    absent = [file for file in batch if shelf.waiting(file.number) is None]
    deleted = [file.number for file in absent if run.standing.states[file.number] == State.GOING]
    restored = [file.number for file in absent if run.standing.states[file.number] == State.WAITING]
    if deleted:
        run.note("deleted", now, files=deleted)
    if restored:
        run.note("restored", now, files=restored, by="a run that was stopped")
    return [file for file in batch if file not in absent]


def why_spared(run: Run, shelf: Quarantine, file: PlannedFile, *, in_use: frozenset[int]) -> Left | None:
    """Say why the file may not be deleted, None when it may."""
    found = shelf.waiting(file.number)
    if found is None or not shelf.is_planned(file) or found.ctime_ns != run.standing.ctimes[file.number]:
        return Left.CHANGED
    return Left.OPEN if found.inode in in_use else None


def _erase(run: Run, shelf: Quarantine, going: list[PlannedFile], now: datetime) -> None:
    """Delete the files between two lines of the log: that they go, and that they went."""
    if not going:
        return
    numbers = [file.number for file in going]
    if unsaid := [number for number in numbers if run.standing.states[number] != State.GOING]:
        run.note("going", now, files=unsaid)
    for number in numbers:
        shelf.erase(number)
    run.note("deleted", now, files=numbers)


def finish(run: Run, shelf: Quarantine, now: datetime) -> None:
    """End the plan when nothing of it waits any more and nothing is still to be taken."""
    waits = sum(run.standing.count(state) for state in (*WAITING, State.STORED))
    if waits or run.standing.phase not in (Phase.QUARANTINED, Phase.DELETING, Phase.COLD):
        return
    shelf.clear()
    quarantine.remove_empty(shelf.place, run.plan.head.plan_id, inode=run.quarantine_inode)
    run.note("finished", now)
