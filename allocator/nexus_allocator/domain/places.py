"""Places where files live, what they hold, and what a volume's driver really enforces. Sizes are bytes."""

import re
from dataclasses import dataclass
from enum import StrEnum

from nexus_allocator.domain.errors import BadName
from nexus_allocator.domain.names import MUST_BE, NAME

QUARANTINE = ".nexus-quarantine"
"""Where purged files wait, at the top of their own place: a rename can't leave a quota domain."""

SNAPSHOT = re.compile(r"[0-9A-Za-z][0-9A-Za-z.-]{0,63}")


class PlaceKind(StrEnum):
    HOME = "homes"
    TEAM = "teams"
    SCRATCH = "scratch"


@dataclass(frozen=True)
class Place:
    """A home, a team's folder or a scratch; ``name`` is that of its person, team or scratch."""

    kind: PlaceKind
    name: str

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise BadName(name=self.name[:40], must_be=MUST_BE)

    @classmethod
    def named(cls, text: str) -> "Place":
        """Return the place that KIND/NAME says. Raises BadName."""
        kind, _, name = text.partition("/")
        if kind not in list(PlaceKind):
            raise BadName(name=text[:40], must_be="homes/NAME, teams/NAME or scratch/NAME")
        return cls(PlaceKind(kind), name)

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True)
class Owner:
    """Whose a place's top folder is, and what they and others may do in it."""

    uid: int
    gid: int
    mode: int


@dataclass(frozen=True)
class Usage:
    """What a place takes. What lies in quarantine is part of it, and told apart because it is not charged."""

    used_bytes: int
    quarantined_bytes: int
    snapshot_bytes: int
    limit_bytes: int | None

    @property
    def charged_bytes(self) -> int:
        return max(0, self.used_bytes - self.quarantined_bytes)

    @property
    def percent(self) -> int | None:
        """Return how full the place is, rounded down; None without a limit."""
        if self.limit_bytes is None:
            return None
        return 100 * self.used_bytes // self.limit_bytes if self.limit_bytes else 100


MARKS = (80, 90, 100)
"""At how many percent of its limit a place's people are told that it fills."""


def mark_reached(usage: Usage) -> int | None:
    """Return the highest mark that the place has reached, None below the first and without a limit."""
    percent = usage.percent
    return max((mark for mark in MARKS if percent is not None and percent >= mark), default=None)


@dataclass(frozen=True)
class Holds:
    """What a driver enforces by itself; the rest is good manners, or somebody else's work."""

    limit: bool
    """The kernel refuses a write beyond the limit, with EDQUOT."""

    nested: bool
    """The limit holds too in what a person makes below the place to get around it."""

    freezing: bool
    """A frozen place takes no new files and no changes, save through files that were open already."""

    snapshots: bool


def require_snapshot_name(name: str) -> str:
    """Return ``name`` when a snapshot may be called so. Raises BadName."""
    if not SNAPSHOT.fullmatch(name):
        raise BadName(name=name[:40], must_be="letters, digits, dots and hyphens, at most 64")
    return name
