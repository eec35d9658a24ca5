"""The table of decisions and changes: rows are only ever added (triggers forbid the rest) and hold ids."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, BigInteger, Index, Integer, Text
from sqlalchemy.orm import Mapped, mapped_column

from nexus_allocator.domain.records import About, Act, ActorKind
from nexus_allocator.store.base import Base, Word


class Record(Base):
    """Who did what to what, when and why, and what changed by it.

    Ids stand without foreign keys: writing one must not lock the row of the person it names.
    """

    __tablename__ = "record"
    __table_args__ = (
        Index("ix_record_act", "act", "number"),
        Index("ix_record_actor", "actor_id", "number"),
        Index("ix_record_person", "person_id", "number"),
        Index("ix_record_about", "about", "about_id", "number"),
    )
    # SQLite numbers rows by itself in a column of this very type only.
    number: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    act: Mapped[Act] = mapped_column(Word(Act))
    about: Mapped[About] = mapped_column(Word(About))
    about_id: Mapped[UUID | None]
    actor: Mapped[ActorKind] = mapped_column(Word(ActorKind))
    actor_id: Mapped[UUID | None]
    actor_name: Mapped[str | None] = mapped_column(Text)
    person_id: Mapped[UUID | None]
    reason: Mapped[str | None] = mapped_column(Text)
    before: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    after: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
