"""What a running server has used so far, from when it started and when somebody last saw it alive."""

from dataclasses import dataclass, replace
from datetime import datetime

from nexus_allocator.domain.credits import charge_micro


@dataclass(frozen=True)
class Reading:
    """The witnessed life of one server.

    ``started_at`` is the process's own statement and tells one process from the next; a server
    restarted in place keeps its hold, so seconds of its earlier processes are carried along.
    """

    placed_at: datetime
    started_at: datetime | None = None
    seen_at: datetime | None = None
    earlier_s: float = 0.0

    @property
    def seconds(self) -> float:
        if self.started_at is None or self.seen_at is None:
            return self.earlier_s
        # A start before the hold was placed is a wrong clock, not time to charge.
        began = max(self.started_at, self.placed_at)
        return self.earlier_s + max(0.0, (self.seen_at - began).total_seconds())

    def witnessed(self, started_at: datetime, *, at: datetime) -> "Reading":
        """Return the reading after the process that started at ``started_at`` was seen alive at ``at``.

        The same process seen after a gap has been running all along, so the gap counts.
        """
        if self.started_at is None:
            return replace(self, started_at=started_at, seen_at=max(at, started_at))
        if started_at == self.started_at:
            return replace(self, seen_at=at if self.seen_at is None else max(at, self.seen_at))
        if started_at < self.started_at:
            return self
        return Reading(self.placed_at, started_at, max(at, started_at), earlier_s=self.seconds)

    def ended(self, at: datetime | None) -> "Reading":
        """Return the final reading. ``at`` None: nobody saw the end, so only witnessed time counts."""
        if at is None or self.started_at is None:
            return self
        return replace(self, seen_at=max(at, self.started_at))

    def usage_micro(self, rate_micro_per_hour: int) -> int:
        return charge_micro(rate_micro_per_hour, self.seconds)
