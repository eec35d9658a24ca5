"""The table of administrators' entries into people's servers."""

from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from nexus_allocator.store.base import Base
from nexus_allocator.store.tables import Hold, Person

OPEN = text("ended_at IS NULL")


class Entering(Base):
    """One grant to enter one run of a server; ``ended_at`` is when the hub was seen to have taken it back."""

    __tablename__ = "entering"
    __table_args__ = (
        Index(
            "ix_entering_open", "hold_id", "administrator_id", unique=True, postgresql_where=OPEN,
            sqlite_where=OPEN,
        ),
        Index("ix_entering_hold_id", "hold_id"),
    )  # fmt: skip
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    hold_id: Mapped[UUID] = mapped_column(ForeignKey("hold.id"))
    administrator_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"))
    reason: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]
    until: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    hold: Mapped[Hold] = relationship()
    administrator: Mapped[Person] = relationship()
