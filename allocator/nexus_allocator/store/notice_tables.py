"""What people are told in the portal, and the marks of spending."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import JSON, ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from nexus_allocator.domain.states import NoticeKind
from nexus_allocator.store.base import Base, Word

STANDING_NOTICE = text("cleared_at IS NULL")


class PortalNotice(Base):
    """Something a person is told once; ``key`` names it, so that it isn't told again."""

    __tablename__ = "portal_notice"
    __table_args__ = (Index("ix_portal_notice_person", "person_id", "read_at"),)
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"))
    kind: Mapped[NoticeKind] = mapped_column(Word(NoticeKind))
    key: Mapped[str] = mapped_column(Text, unique=True)
    facts: Mapped[dict[str, Any]] = mapped_column(JSON)
    at: Mapped[datetime]
    read_at: Mapped[datetime | None]


class SpendNotice(Base):
    """An award was used up to one of the policy's marks; it stands until credits come in again."""

    __tablename__ = "spend_notice"
    __table_args__ = (
        Index(
            "ix_spend_notice_standing",
            "allocation_id",
            "percent",
            unique=True,
            sqlite_where=STANDING_NOTICE,
            postgresql_where=STANDING_NOTICE,
        ),
    )
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    allocation_id: Mapped[UUID] = mapped_column(ForeignKey("allocation.id"))
    percent: Mapped[int]
    award_micro: Mapped[int]
    left_micro: Mapped[int]
    at: Mapped[datetime]
    cleared_at: Mapped[datetime | None]
