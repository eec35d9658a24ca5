"""The one row that says what was spent of the platform's budget."""

from datetime import datetime

from sqlalchemy.orm import Session

from nexus_allocator.domain.pool import PoolState
from nexus_allocator.store.tables import PoolReading

POOL = "pool"


def read(session: Session) -> PoolState | None:
    """Return the last reading, None before the meter's first."""
    row = session.get(PoolReading, POOL)
    return PoolState(row.at, row.spent_micro, row.waits_until) if row else None


def write(session: Session, *, spent_micro: int, waits_until: datetime | None, now: datetime) -> None:
    row = session.get(PoolReading, POOL, with_for_update=True)
    if row is None:
        session.add(PoolReading(name=POOL, at=now, spent_micro=spent_micro, waits_until=waits_until))
    else:
        row.at, row.spent_micro, row.waits_until = now, spent_micro, waits_until
