"""Snapshots as the service knows them: which days of a place its volume was last seen to keep."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from nexus_allocator.store.base import Base


class PlaceSnapshot(Base):
    """One snapshot of a place, called by its UTC day as a rule; ``seen_at`` is when it was seen first."""

    __tablename__ = "place_snapshot"
    place_id: Mapped[UUID] = mapped_column(ForeignKey("place.id"), primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    seen_at: Mapped[datetime]
