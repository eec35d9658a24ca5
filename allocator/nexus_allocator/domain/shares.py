"""How a team's one allocation is divided: caps, and fair shares that others may use while they lie idle."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from nexus_allocator.domain.states import ShareKind

# Who has run nothing for so long, on a share as old, does not need it kept just now.
IDLE_AFTER = timedelta(days=14)


@dataclass(frozen=True)
class Taken:
    """What one holder's servers used or hold since counting began, and when one of them last lived.

    ``last_at`` is None while nothing ran; a live server makes it the moment of asking.
    """

    micro: int = 0
    last_at: datetime | None = None


@dataclass(frozen=True)
class Part:
    """One holder's share as it stands."""

    kind: ShareKind
    amount_micro: int
    taken_micro: int
    is_idle: bool = False

    @property
    def left_micro(self) -> int:
        return max(0, self.amount_micro - self.taken_micro)


def part(kind: ShareKind, amount_micro: int, taken: Taken, *, set_at: datetime, now: datetime) -> Part:
    latest = max(set_at, taken.last_at or set_at)
    return Part(kind, amount_micro, taken.micro, is_idle=now - latest >= IDLE_AFTER)


def room_micro(available_micro: int, *, own: Iterable[Part], others: Iterable[Part]) -> int:
    """Return what a member may set aside of the ``available_micro`` of the team's account.

    No more than is left of any cap of their own, and not what is kept for others' fair shares. When the
    account can't keep all that is left of them, each is kept in proportion, the member's own included.
    """
    mine = list(own)
    kept = sum(each.left_micro for each in others if each.kind is ShareKind.FAIR and not each.is_idle)
    claimed = kept + sum(each.left_micro for each in mine if each.kind is ShareKind.FAIR)
    if claimed > max(0, available_micro):
        kept = kept * max(0, available_micro) // claimed
    caps = [each.left_micro for each in mine if each.kind is ShareKind.CAP]
    return min([available_micro - kept, *caps])
