"""Volumes, the places on them, and what was found in each place on a day."""

from datetime import date, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from nexus_allocator.domain.places import Place, PlaceKind
from nexus_allocator.store.base import Base, Word
from nexus_allocator.store.tables import Account


class VolumeRow(Base):
    """A mounted file system that takes places; a closed one takes no more.

    ``most_places`` None is any number; ``enforces`` says whether its kernel refuses what is beyond a limit.
    """

    __tablename__ = "volume"
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    driver: Mapped[str] = mapped_column(Text)
    enforces: Mapped[bool]
    most_places: Mapped[int | None]
    opened_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class PlaceRow(Base):
    """A home, a team's folder or a scratch: who pays for it, where it lies, and its limits in bytes.

    ``hard_bytes`` None is not limited yet, as awarded; ``set_bytes`` is an administrator's, which stands in
    for the tier's until the next award. ``limit_bytes`` is what the volume shall set now, ``made_at`` and
    ``applied_bytes`` what it was seen to have done. ``over_since`` is when more than the soft limit was
    found. A scratch ends at ``ends_at``; ``told_days`` is the nearest notice given of that, ``ended_at`` when
    its lease was found to be over.
    """

    __tablename__ = "place"
    __table_args__ = (
        UniqueConstraint("kind", "name"),
        CheckConstraint("soft_bytes IS NULL OR soft_bytes <= hard_bytes", name="limits"),
        CheckConstraint("(kind = 'scratch') = (ends_at IS NOT NULL)", name="lease"),
        Index("ix_place_account", "account_id"),
        Index("ix_place_volume", "volume"),
    )
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    kind: Mapped[PlaceKind] = mapped_column(Word(PlaceKind))
    name: Mapped[str] = mapped_column(Text)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("account.id"))
    volume: Mapped[str | None] = mapped_column(ForeignKey("volume.name"))
    soft_bytes: Mapped[int | None]
    hard_bytes: Mapped[int | None]
    set_bytes: Mapped[int | None]
    created_at: Mapped[datetime]
    made_at: Mapped[datetime | None]
    limit_bytes: Mapped[int | None]
    applied_bytes: Mapped[int | None]
    over_since: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    told_days: Mapped[int | None]
    ended_at: Mapped[datetime | None]
    account: Mapped[Account] = relationship(lazy="raise_on_sql")

    @property
    def place(self) -> Place:
        return Place(self.kind, self.name)


class PlaceUsage(Base):
    """What a place held when it was looked at; ``parts`` are its heaviest folders, types and ages."""

    __tablename__ = "place_usage"
    place_id: Mapped[UUID] = mapped_column(ForeignKey("place.id"), primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    used_bytes: Mapped[int]
    quarantined_bytes: Mapped[int]
    snapshot_bytes: Mapped[int]
    limit_bytes: Mapped[int | None]
    parts: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class PlaceDay(Base):
    """What a place was charged for one UTC day, once; ``unpaid_micro`` is what its account did not have."""

    __tablename__ = "place_day"
    __table_args__ = (CheckConstraint("paid_micro >= 0 AND unpaid_micro >= 0", name="amounts"),)
    place_id: Mapped[UUID] = mapped_column(ForeignKey("place.id"), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    charged_bytes: Mapped[int]
    paid_micro: Mapped[int]
    unpaid_micro: Mapped[int]
