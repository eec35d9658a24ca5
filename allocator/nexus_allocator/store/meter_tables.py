"""The meter's rounds, leases of what one process does at a time, the pool's reading, and maintenance."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Text
from sqlalchemy.orm import Mapped, mapped_column

from nexus_allocator.store.base import Base


class PoolReading(Base):
    """What all accounts together spent of the platform's budget, as the meter last read it: one row."""

    __tablename__ = "pool_reading"
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    at: Mapped[datetime]
    spent_micro: Mapped[int]
    waits_until: Mapped[datetime | None]


class Lease(Base):
    """A time-bound claim to a task that only one process may do at a time."""

    __tablename__ = "lease"
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    holder: Mapped[str] = mapped_column(Text)
    expires_at: Mapped[datetime]


class Maintenance(Base):
    """The platform holds new launches, with a message to who would start one: one row, or none."""

    __tablename__ = "maintenance"
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    message: Mapped[str] = mapped_column(Text)
    since: Mapped[datetime]
    until: Mapped[datetime | None]
    actor: Mapped[str] = mapped_column(Text)


class MeterTick(Base):
    """The last round of the meter, and whether the hub answered in full: one row."""

    __tablename__ = "meter_tick"
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    at: Mapped[datetime]
    complete_at: Mapped[datetime | None]
    trouble: Mapped[str | None] = mapped_column(Text)
    facts: Mapped[dict[str, Any]] = mapped_column(JSON)
