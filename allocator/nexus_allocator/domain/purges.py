"""Purging by rule: what may be planned, how long its people are warned, and when a file may go.

A plan is noticed, its files wait in quarantine, then they are deleted; each wait must have been *seen* to
pass. Paths are tuples of the names below the place's top, bytes, since not all names are UTF-8.
"""

import stat
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from nexus_allocator.domain.errors import BadPurgeTerms, PurgeTooSoon

Parts = tuple[bytes, ...]

MOST_AT_ONCE = timedelta(hours=36)
"""What one look at the clock may add to a wait: a clock that steps a year ahead shortens a grace by this."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Phase(StrEnum):
    PLANNED = "planned"
    NOTICED = "noticed"
    QUARANTINING = "quarantining"
    QUARANTINED = "quarantined"
    DELETING = "deleting"
    CHILLING = "chilling"
    COLD = "cold"
    FINISHED = "finished"
    CANCELLED = "cancelled"


class PurgeState(StrEnum):
    """Where a plan stands, as people are shown it; ``kept`` is over with nothing deleted."""

    PLANNED = "planned"
    ANNOUNCED = "announced"
    QUARANTINED = "quarantined"
    RESTORED_IN_PART = "restored-in-part"
    COLD = "cold"
    DELETED = "deleted"
    KEPT = "kept"
    CANCELLED = "cancelled"


PURGES_OVER = (PurgeState.DELETED, PurgeState.KEPT, PurgeState.CANCELLED)
# Over for whoever plans anew; what is cold can still be had back.
PURGES_CLOSED = (*PURGES_OVER, PurgeState.COLD)
PURGES_IN_QUARANTINE = (PurgeState.QUARANTINED, PurgeState.RESTORED_IN_PART)


def shown_state(phase: Phase, *, waiting: int, restored: int, deleted: int) -> PurgeState:
    """Return how a plan's phase is shown, with so many of its files waiting, come back and deleted."""
    if phase is Phase.FINISHED:
        return PurgeState.DELETED if deleted else PurgeState.KEPT
    early = {
        Phase.PLANNED: PurgeState.PLANNED,
        Phase.NOTICED: PurgeState.ANNOUNCED,
        Phase.CANCELLED: PurgeState.CANCELLED,
        Phase.COLD: PurgeState.COLD,
    }
    if phase is Phase.QUARANTINING and not waiting + restored:
        # Put off: its people have a running server.
        return PurgeState.ANNOUNCED
    return early.get(phase) or (PurgeState.RESTORED_IN_PART if restored else PurgeState.QUARANTINED)


class Left(StrEnum):
    """Why a planned file was left where it is, or put back."""

    GONE = "gone"
    MOVED = "moved"
    CHANGED = "changed"
    EXEMPT = "exempt"
    OPEN = "open"
    BUSY = "busy"
    DAMAGED = "damaged"
    NO_ROOM = "no-room"


@dataclass(frozen=True)
class Identity:
    """What makes a file the one that was listed. Times are ns since 1970; names counts hard links."""

    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    mode: int
    uid: int
    gid: int
    names: int

    @property
    def last_use_ns(self) -> int:
        """Return when the file was last changed, in content or in name and rights.

        Reading leaves no trace that could be trusted: access times are off on most mounts, and a
        backup or this very scan would set them.
        """
        return max(self.mtime_ns, self.ctime_ns)


@dataclass(frozen=True)
class Exemption:
    """A dated reason not to purge what lies at or below ``path``; the empty path is the whole place."""

    path: Parts
    until: datetime
    reason: str

    def covers(self, path: Parts, now: datetime) -> bool:
        return now < self.until and path[: len(self.path)] == self.path


@dataclass(frozen=True)
class Terms:
    """What a plan grants: days between notice and quarantine, and between quarantine and deletion."""

    grace: timedelta
    window: timedelta

    def __post_init__(self) -> None:
        if self.grace < timedelta(days=1) or self.window < timedelta(days=1):
            raise BadPurgeTerms(grace=self.grace.days, window=self.window.days)


@dataclass(frozen=True)
class Wait:
    """A time that must pass, and how much of it was seen to: looks further apart than 36 h count as 36 h."""

    looked_at: datetime
    passed: timedelta = timedelta()

    def look(self, now: datetime) -> "Wait":
        """Return the wait after a look at the clock; one that stepped back adds nothing."""
        gap = max(timedelta(), now - self.looked_at)
        return Wait(now, self.passed + min(gap, MOST_AT_ONCE))

    def ends_at(self, needed: timedelta) -> datetime:
        """Return when ``needed`` will have passed at the earliest."""
        return self.looked_at + max(timedelta(), needed - self.passed)

    def require(self, needed: timedelta) -> None:
        """Raises PurgeTooSoon while less than ``needed`` has passed."""
        if self.passed < needed:
            raise PurgeTooSoon(passed=self.passed, needed=needed)


def is_unused(identity: Identity, *, for_days: float, now: datetime) -> bool:
    """Say whether the file was last changed more than ``for_days`` ago.

    A modification time in the future, which anybody can set, counts for nothing: the kernel's change time
    does.
    """
    now_ns = nanoseconds(now)
    use_ns = identity.ctime_ns if identity.mtime_ns > now_ns else identity.last_use_ns
    return now_ns - use_ns > for_days * 86_400 * 10**9


def is_kept_apart(identity: Identity, owners: frozenset[int] | None) -> bool:
    """Say whether no purge may plan the entry, whatever its age.

    Only files and links are purged; not folders, devices, sockets. A file with a second name would stay on
    the disk, perhaps where somebody else needs it. ``owners`` are the uids whose files the place's are,
    None for any.
    """
    plain = stat.S_ISREG(identity.mode) or stat.S_ISLNK(identity.mode)
    return not plain or identity.names != 1 or (owners is not None and identity.uid not in owners)


def under_pressure(
    candidates: Iterable[tuple[Parts, Identity]],
    *,
    to_free_bytes: int,
    now: datetime,
    remakable: frozenset[Parts] = frozenset(),
) -> list[tuple[Parts, Identity]]:
    """Return files until they add up to ``to_free_bytes``: first what can be made again, and in both the
    largest and oldest, by bytes times age.
    """
    now_ns = nanoseconds(now)

    def weight(candidate: tuple[Parts, Identity]) -> tuple[bool, int]:
        path, identity = candidate
        return path in remakable, identity.size_bytes * max(0, now_ns - identity.last_use_ns)

    chosen, freed = [], 0
    for path, identity in sorted(candidates, key=weight, reverse=True):
        if freed >= to_free_bytes:
            break
        chosen.append((path, identity))
        freed += identity.size_bytes
    return chosen


def readable(path: Parts) -> str:
    """Return a path that can be shown whatever its bytes are, on one line."""
    text = b"/".join(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text) or "."


def nanoseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000
