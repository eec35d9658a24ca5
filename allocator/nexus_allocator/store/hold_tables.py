"""Holds stand beside the ledger and change; what explains their end, and what is particular to some."""

from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from nexus_allocator.domain.leases import OfflineKind
from nexus_allocator.domain.states import HoldState
from nexus_allocator.store.account_tables import Allocation
from nexus_allocator.store.base import Base, Word
from nexus_allocator.store.people_tables import Person

OPEN_HOLD = text("state IN ('placed', 'running')")


class Hold(Base):
    """Credits set aside for one server, and the running reading of what it has used."""

    __tablename__ = "hold"
    __table_args__ = (
        Index(
            "ix_hold_open_server",
            "person_id",
            "server_name",
            unique=True,
            sqlite_where=OPEN_HOLD,
            postgresql_where=OPEN_HOLD,
        ),
        Index("ix_hold_allocation_state", "allocation_id", "state"),
        Index("ix_hold_allocation_person", "allocation_id", "person_id", "placed_at"),
        Index("ix_hold_subgroup", "subgroup_id", "placed_at"),
        Index("ix_hold_allocation_placed", "allocation_id", "placed_at"),
        Index("ix_hold_person_placed", "person_id", "placed_at"),
        Index("ix_hold_person_settled", "person_id", "settled_at"),
        CheckConstraint("posted_micro >= 0", name="posted"),
    )
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    allocation_id: Mapped[UUID] = mapped_column(ForeignKey("allocation.id"))
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"), index=True)
    server_name: Mapped[str] = mapped_column(Text)
    state: Mapped[HoldState] = mapped_column(Word(HoldState), index=True)
    size: Mapped[str] = mapped_column(Text)
    cpu: Mapped[int]
    memory_bytes: Mapped[int]
    gpu: Mapped[int]
    image: Mapped[str] = mapped_column(Text)
    planned_minutes: Mapped[int]
    grace_minutes: Mapped[int]
    rate_micro_per_hour: Mapped[int]
    rate_card_version: Mapped[int]
    amount_micro: Mapped[int]
    placed_at: Mapped[datetime]
    until: Mapped[datetime]
    process_started_at: Mapped[datetime | None]
    last_seen_at: Mapped[datetime | None]
    earlier_s: Mapped[float] = mapped_column(default=0.0)
    usage_micro: Mapped[int] = mapped_column(default=0)
    posted_micro: Mapped[int] = mapped_column(default=0)
    posted_at: Mapped[datetime | None]
    keep_alive_until: Mapped[datetime | None]
    settled_at: Mapped[datetime | None]
    stopped_at: Mapped[datetime | None]
    stop_reason: Mapped[str | None] = mapped_column(Text)
    stop_actor: Mapped[str | None] = mapped_column(Text)
    stop_note: Mapped[str | None] = mapped_column(Text)
    exit_signal: Mapped[int | None]
    exit_code: Mapped[int | None]
    subgroup_id: Mapped[UUID | None] = mapped_column(ForeignKey("subgroup.id"))
    read_only: Mapped[bool] = mapped_column(default=False)
    allocation: Mapped[Allocation] = relationship(lazy="raise_on_sql")
    person: Mapped[Person] = relationship(lazy="raise_on_sql")


class StopIntent(Base):
    """Who is about to stop a server, and why; recorded before the stop, because the hub never tells."""

    __tablename__ = "stop_intent"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    hold_id: Mapped[UUID] = mapped_column(ForeignKey("hold.id"), index=True)
    reason: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(Text)
    note: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime]


class OfflineEvent(Base):
    """A launch that was granted or refused while the service was away, collected from the hub.

    A lease's id is that of its hold.
    """

    __tablename__ = "offline_event"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"), index=True)
    kind: Mapped[OfflineKind] = mapped_column(Word(OfflineKind))
    at: Mapped[datetime] = mapped_column(index=True)
    account: Mapped[str] = mapped_column(Text)
    size: Mapped[str] = mapped_column(Text)
    why: Mapped[str | None] = mapped_column(Text)
    collected_at: Mapped[datetime]
    person: Mapped[Person] = relationship(lazy="raise_on_sql")


class DaskCluster(Base):
    """A Dask cluster beside its hold: its rates, and the workers that the gateway last reported."""

    __tablename__ = "dask_cluster"
    hold_id: Mapped[UUID] = mapped_column(ForeignKey("hold.id"), primary_key=True)
    name: Mapped[str | None] = mapped_column(Text)
    scheduler_micro_per_hour: Mapped[int]
    worker_micro_per_hour: Mapped[int]
    worker_cpu: Mapped[int]
    workers_max: Mapped[int]
    workers: Mapped[int]
    reported_at: Mapped[datetime | None]
