"""Kept days of the whole platform, derived from the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from nexus_allocator.store.tables import PlatformDay


@dataclass(frozen=True)
class Snapshot:
    """What was left in running allocations at a moment."""

    at: datetime
    running: int
    left_micro: int


def last_day(session: Session) -> date | None:
    return session.scalar(select(func.max(PlatformDay.day)))


def spent_since(session: Session, first: date) -> dict[date, int]:
    found = select(PlatformDay.day, PlatformDay.spent_micro).where(PlatformDay.day >= first)
    return {row[0]: row[1] for row in session.execute(found)}


def latest_snapshot(session: Session) -> Snapshot | None:
    found = select(PlatformDay).where(PlatformDay.at.is_not(None)).order_by(PlatformDay.day.desc()).limit(1)
    row = session.scalar(found)
    if row is None or row.at is None or row.running is None or row.left_micro is None:
        return None
    return Snapshot(row.at, row.running, row.left_micro)


def keep(session: Session, spent: Mapping[date, int], snapshot: Snapshot) -> None:
    """Keep days that are not kept yet; the last of them carries the snapshot."""
    last = max(spent)
    rows = {day: PlatformDay(day=day, spent_micro=micro) for day, micro in spent.items()}
    rows[last].at, rows[last].running, rows[last].left_micro = (
        snapshot.at,
        snapshot.running,
        snapshot.left_micro,
    )
    session.add_all(rows.values())
    session.flush()
