"""What a token may: scopes that the hub gives to people, and that people give on to their tokens.

A scope lets its bearer act as what it names, while the table of `rights` lets the person: both are asked.
"""

from collections.abc import Collection
from dataclasses import dataclass

from nexus_allocator.domain.rights import NOBODY_KNOWN, SEATS, Capacity, Deed, lets

# The hub's group of administrators, which holds their scopes and nothing of the hub's own.
ADMINISTRATORS = "nexus-administrators"


@dataclass(frozen=True)
class Scope:
    """``includes`` names the scope that this one implies; one that does not write is for reading only."""

    name: str
    description: str
    acting_as: frozenset[Capacity]
    writes: bool
    includes: str | None = None


def _pair(of: str, words: str, acting_as: frozenset[Capacity]) -> tuple[Scope, Scope]:
    read, write = f"custom:nexus:read:{of}", f"custom:nexus:write:{of}"
    return (
        Scope(read, f"See {words} in the Nexus", acting_as, writes=False),
        Scope(write, f"See and change {words} in the Nexus", acting_as, writes=True, includes=read),
    )


OWN = _pair("own", "your own account, requests, servers and notices",
            frozenset({Capacity.PERSON, Capacity.REVIEWER}))  # fmt: skip
TEAM = _pair("team", "your teams", frozenset(SEATS.values()))
ADMIN = _pair("admin", "what administrators see and decide", frozenset({Capacity.ADMINISTRATOR}))
OF_EVERYBODY = (*OWN, *TEAM)
SCOPES = (*OF_EVERYBODY, *ADMIN)


def acting_as(names: Collection[str], *, writes: bool) -> frozenset[Capacity]:
    """Return as what a token with these scopes lets a person act, where something is written or only read."""
    found = set(NOBODY_KNOWN)
    for scope in SCOPES:
        if scope.name in names and (scope.writes or not writes):
            found |= scope.acting_as
    return frozenset(found)


def that_let(deed: Deed | None, *, held: frozenset[Capacity], writes: bool) -> list[str]:
    """Return the scopes of which one is enough on a route for who acts as ``held``, the smallest first."""
    return [each.name for each in SCOPES if lets(held & acting_as({each.name}, writes=writes), deed)]
