"""The whole platform's budget: so much per period, and a brake on large launches while it goes too fast."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Pool:
    """Micro-credits per period, counted from ``starts_at``; the sizes that wait while the brake is on.

    In the first ``head_start`` of a period as much may be spent as in the whole of it.
    """

    credits_micro: int
    starts_at: datetime
    period: timedelta
    brake_at_percent: int
    head_start: timedelta
    waiting_sizes: tuple[str, ...]

    def period_start(self, now: datetime) -> datetime:
        return self.starts_at + (now - self.starts_at) // self.period * self.period

    def period_end(self, now: datetime) -> datetime:
        return self.period_start(now) + self.period

    def allowance_micro(self, now: datetime) -> int:
        """Return what may be spent by ``now`` of this period before the brake comes on."""
        elapsed_s = int(max(now - self.period_start(now), self.head_start).total_seconds())
        whole_s = int(self.period.total_seconds())
        paced = self.credits_micro * self.brake_at_percent * elapsed_s // (100 * whole_s)
        return min(self.credits_micro, paced)

    def waits_until(self, spent_micro: int, now: datetime) -> datetime | None:
        """Return when the allowance has caught up with what is spent, None when it is not behind.

        That is the earliest the brake can lift: what small servers spend meanwhile puts it off.
        """
        if spent_micro <= self.allowance_micro(now):
            return None
        if spent_micro > self.credits_micro:
            return self.period_end(now)
        share = 100 * spent_micro / (self.credits_micro * self.brake_at_percent)
        # Up to the next whole minute, which people are told.
        needed = timedelta(minutes=math.ceil(self.period * share / timedelta(minutes=1)))
        return min(self.period_start(now) + needed, self.period_end(now))


@dataclass(frozen=True)
class PoolState:
    """The budget as the meter last read it."""

    at: datetime
    spent_micro: int
    waits_until: datetime | None

    def brakes(self, size: str, pool: Pool, now: datetime) -> bool:
        """Whether a launch of this size has to wait."""
        return self.waits_until is not None and now < self.waits_until and size in pool.waiting_sizes
