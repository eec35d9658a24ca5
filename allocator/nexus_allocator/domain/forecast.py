"""How fast an account spends and when that pace runs it dry."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from nexus_allocator.domain.credits import MICRO

PACE_DAYS = 7


@dataclass(frozen=True)
class Burn:
    """``runs_out_on`` is None while nothing is spent, or when the allocation expires first."""

    micro_per_day: int
    runs_out_on: datetime | None

    @property
    def credits_per_day(self) -> float:
        return self.micro_per_day / MICRO


def burn(*, spent_micro: int, days: float, balance_micro: int, now: datetime, expires_at: datetime) -> Burn:
    """Return the pace of the last ``days`` and the date at which it would use up ``balance_micro``."""
    per_day = int(spent_micro / days) if days > 0 else 0
    if per_day <= 0 or balance_micro <= 0:
        return Burn(max(per_day, 0), now if per_day > 0 else None)
    # Far dates overflow datetime; what outlives the allocation is of no use to anybody.
    days_left = balance_micro / per_day
    if days_left >= (expires_at - now) / timedelta(days=1):
        return Burn(per_day, None)
    return Burn(per_day, now + timedelta(days=days_left))
