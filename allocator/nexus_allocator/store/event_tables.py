"""Events with a join code, and who tried a code when."""

from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from nexus_allocator.store.base import Base
from nexus_allocator.store.tables import Team


class Event(Base):
    """A workshop: a team whose account has credits between two moments, joined by a code.

    ``ended_at`` is when its people were told of the end, ``closed_at`` when the last of its credits returned.
    """

    __tablename__ = "event"
    __table_args__ = (
        CheckConstraint("(per_person_micro IS NULL) <> (pool_micro IS NULL)", name="one_kind"),
        CheckConstraint("starts_at < ends_at", name="dates"),
        UniqueConstraint("team_id"),
        UniqueConstraint("code"),
    )
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    team_id: Mapped[UUID] = mapped_column(ForeignKey("team.id"))
    code: Mapped[str] = mapped_column(Text)
    sizes: Mapped[list[str]] = mapped_column(JSON)
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    per_person_micro: Mapped[int | None]
    pool_micro: Mapped[int | None]
    most_people: Mapped[int]
    made_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None] = mapped_column(index=True)
    team: Mapped[Team] = relationship(lazy="raise_on_sql")


class JoinTry(Base):
    """One try of a code, so that nobody can try them all."""

    __tablename__ = "join_try"
    __table_args__ = (Index("ix_join_try_person", "person_id", "at"),)
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"))
    at: Mapped[datetime]
