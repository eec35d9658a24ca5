"""Exemptions from purges: a dated reason to keep what lies at a path."""

from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from nexus_allocator.domain.places import PlaceKind
from nexus_allocator.store.base import Base, Word


class StorageExemption(Base):
    """What lies at or below ``path`` of a place is not purged until ``until``, or until somebody ends it.

    ``path`` is percent-encoded, since names may hold any bytes; empty for the whole place. One that was
    asked for, by ``asked_by``, holds until it is answered: granted, or ended with an ``answer`` why.
    """

    __tablename__ = "storage_exemption"
    __table_args__ = (
        CheckConstraint("made_at < until", name="dates"),
        Index("ix_storage_exemption_place", "place_kind", "place_name", "until"),
    )
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    place_kind: Mapped[PlaceKind] = mapped_column(Word(PlaceKind))
    place_name: Mapped[str] = mapped_column(Text)
    path: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    made_at: Mapped[datetime]
    until: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    asked_by: Mapped[UUID | None] = mapped_column(ForeignKey("person.id"))
    granted_at: Mapped[datetime | None]
    answer: Mapped[str | None] = mapped_column(Text)
