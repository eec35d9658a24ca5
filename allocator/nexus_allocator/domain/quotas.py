"""How much a place may hold: a soft limit that may be passed for a while, and a hard one. Sizes are bytes."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from nexus_allocator.domain.places import Place, PlaceKind
from nexus_allocator.domain.states import AccountKind

GB = 10**9
MONTH_DAYS = 30


@dataclass(frozen=True)
class StorageTerms:
    """``soft_percent`` of the hard limit may be passed for ``grace``; a scratch's days have a most."""

    soft_percent: int
    grace: timedelta
    scratch_most_days: int
    scratch_notice_days: tuple[int, ...]

    def soft_bytes(self, hard_bytes: int) -> int:
        return hard_bytes * self.soft_percent // 100


class Filling(StrEnum):
    """How full a place is: ``soft`` may be written in until its grace ends, ``locked`` and ``full`` not."""

    FINE = "fine"
    SOFT = "soft"
    LOCKED = "locked"
    FULL = "full"


BLOCKED = (Filling.LOCKED, Filling.FULL)


@dataclass(frozen=True)
class Limits:
    """A place's limits, and since when it holds more than the soft one."""

    soft_bytes: int
    hard_bytes: int
    grace: timedelta
    over_since: datetime | None = None

    @property
    def grace_ends_at(self) -> datetime | None:
        return None if self.over_since is None else self.over_since + self.grace

    def after(self, used_bytes: int, *, now: datetime) -> datetime | None:
        """Return since when the place is over its soft limit, now that so much was found in it."""
        if used_bytes <= self.soft_bytes:
            return None
        return self.over_since or now

    def filling(self, used_bytes: int, *, now: datetime) -> Filling:
        if used_bytes >= self.hard_bytes:
            return Filling.FULL
        if used_bytes <= self.soft_bytes or self.grace_ends_at is None:
            return Filling.FINE if used_bytes <= self.soft_bytes else Filling.SOFT
        return Filling.LOCKED if now >= self.grace_ends_at else Filling.SOFT

    def enforced_bytes(self, *, now: datetime) -> int:
        """Return the limit that the volume sets: the soft one once its grace has ended."""
        ended = self.grace_ends_at is not None and now >= self.grace_ends_at
        return self.soft_bytes if ended else self.hard_bytes


@dataclass(frozen=True)
class Overfull:
    """A place that was last seen to hold more than its soft limit."""

    place: Place
    filling: Filling
    used_bytes: int
    limits: Limits


def own_place(kind: AccountKind) -> PlaceKind:
    """Return which place an account has by itself; scratch is asked for."""
    return PlaceKind.HOME if kind is AccountKind.PERSONAL else PlaceKind.TEAM


def day_micro(charged_bytes: int, gb_month_micro: int) -> int:
    """Return what a day of so many bytes costs, rounded down: never a micro-credit too much."""
    return charged_bytes * gb_month_micro // (GB * MONTH_DAYS)


def lease_micro(size_bytes: int, days: int, gb_month_micro: int) -> int:
    """Return the most that a scratch can cost, full from its first day to its last; rounded up."""
    return -(-size_bytes * days * gb_month_micro // (GB * MONTH_DAYS))
