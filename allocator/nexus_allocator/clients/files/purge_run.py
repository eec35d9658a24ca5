"""One call's hold of a plan: its records, read and locked, and the handles that its acts share."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from nexus_allocator.clients.files import handles, plans, quarantine
from nexus_allocator.clients.files.handles import Parts
from nexus_allocator.clients.files.open_files import open_inodes
from nexus_allocator.clients.files.plans import Plan, PlannedFile
from nexus_allocator.clients.files.purge_state import Standing, State, fold
from nexus_allocator.clients.files.quarantine import Quarantine, Step, nothing
from nexus_allocator.clients.files.signed_log import Event, LogBroken, SignedLog
from nexus_allocator.domain.errors import PlaceBusy, UnknownPlan
from nexus_allocator.domain.purges import Exemption, Left

BATCH = 256
PLAN, LOG = "plan.jsonl", "log.jsonl"
Exemptions = tuple[Exemption, ...]


@dataclass(frozen=True)
class Ground:
    """Where a purge works: the place's top folder, the folder of all plans' records, the log's key."""

    place: Path
    records: Path
    key: bytes
    open_inodes: Callable[[int], frozenset[int]] = open_inodes
    step: Step = nothing


@dataclass(frozen=True)
class Outcome:
    """What one call did: the files that went their way, and those that did not, with the reason."""

    done: int = 0
    done_bytes: int = 0
    left: tuple[tuple[Parts, Left], ...] = ()

    def __add__(self, other: "Outcome") -> "Outcome":
        return Outcome(self.done + other.done, self.done_bytes + other.done_bytes, self.left + other.left)


@dataclass
class Run:
    """A plan with its log, held by this process alone."""

    ground: Ground
    plan: Plan
    standing: Standing
    log: SignedLog

    def note(self, what: str, now: datetime, **facts: object) -> Event:
        """Log an event, on the disk when this returns, and take it in."""
        self.ground.step(f"log {what}")
        event = self.log.append(what, now, **facts)
        self.standing.learn(event)
        self.ground.step(f"logged {what}")
        return event

    def require_waited(self, needed: timedelta, now: datetime) -> None:
        """Look at the clock. Raises PurgeTooSoon while the wait is not over."""
        self.note("looked", now)
        if self.standing.wait is not None:
            self.standing.wait.require(needed)

    def quarantine(self, place: int) -> AbstractContextManager[Quarantine]:
        plan_id, step = self.plan.head.plan_id, self.ground.step
        return quarantine.opened(place, plan_id, inode=self.quarantine_inode, step=step)

    @property
    def quarantine_inode(self) -> int:
        """The quarantine of the place as it was when this plan's taking began."""
        inode = self.standing.quarantine_inode
        if inode is None:
            raise LogBroken("the log does not say where the quarantine is")
        return inode

    def batches(self, *states: State, size: int = BATCH) -> Iterator[list[PlannedFile]]:
        """Yield, in the plan's order, the files that are in one of the states when their turn comes."""
        wanted = (file for file in self.plan.files() if self.standing.states[file.number] in states)
        while batch := list(islice(wanted, size)):
            yield batch


@contextmanager
def opened(ground: Ground, plan_id: str) -> Iterator[Run]:
    """Yield the plan. Raises UnknownPlan, LogBroken, and PlaceBusy while another process works on it."""
    folder = ground.records / plan_id
    if not plan_id.isalnum() or not (folder / LOG).is_file():
        raise UnknownPlan(plan=plan_id[:40])
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PlaceBusy(place=plan_id, problem="its purge is being worked on already") from error
        log = SignedLog(folder / LOG, ground.key)
        standing = fold(log.read())
        yield Run(ground, plans.read(folder / PLAN, standing.digest), standing, log)


@dataclass
class Folders:
    """The handle of the folder whose turn it is: a plan's files come folder by folder."""

    place: int
    _parts: Parts | None = None
    _handle: int = field(default=-1)

    def of(self, parts: Parts) -> int:
        """Return the folder's handle, good until the next is asked for. Raises OSError as open_below does."""
        if self._parts != parts:
            self.close()
            self._handle = handles.open_below(self.place, parts)
            self._parts = parts
        return self._handle

    def still_leads_there(self, parts: Parts) -> bool:
        """Say whether the path still leads to the folder whose handle is held."""
        if self._parts != parts:
            return False
        try:
            now = handles.open_below(self.place, parts)
        except OSError:
            return False
        try:
            return os.path.sameopenfile(now, self._handle)
        finally:
            os.close(now)

    def close(self) -> None:
        if self._parts is not None:
            os.close(self._handle)
            self._parts = None


def covered(exempt: Exemptions, path: Parts, now: datetime) -> bool:
    return any(each.covers(path, now) for each in exempt)


def summed(done: list[PlannedFile], left: list[tuple[PlannedFile, Left]]) -> Outcome:
    return Outcome(
        len(done), sum(file.identity.size_bytes for file in done),
        tuple((file.path, reason) for file, reason in left),
    )  # fmt: skip


def numbered(left: list[tuple[PlannedFile, Left]]) -> list[tuple[int, str]]:
    return [(file.number, str(reason)) for file, reason in left]
