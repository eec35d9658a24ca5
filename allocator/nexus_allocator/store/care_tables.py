"""Announcements, and what-if questions with their answers."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from nexus_allocator.domain.care import Level, QuestionState
from nexus_allocator.store.base import Base, Word


class Announcement(Base):
    """Something all people read in portal, launch page and JupyterLab between two moments."""

    __tablename__ = "announcement"
    __table_args__ = (CheckConstraint("starts_at < ends_at", name="dates"),)
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    level: Mapped[Level] = mapped_column(Word(Level))
    text: Mapped[str] = mapped_column(Text)
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime] = mapped_column(index=True)
    made_at: Mapped[datetime]
    withdrawn_at: Mapped[datetime | None]


class Question(Base):
    """One what-if question: the changes asked about, how far the answer is, and the answer."""

    __tablename__ = "question"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    asked_by: Mapped[UUID] = mapped_column(ForeignKey("person.id"))
    asked_at: Mapped[datetime] = mapped_column(index=True)
    changes: Mapped[list[str]] = mapped_column(JSON)
    state: Mapped[QuestionState] = mapped_column(Word(QuestionState))
    percent: Mapped[int]
    heard_at: Mapped[datetime]
    answer: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    problem: Mapped[str | None] = mapped_column(Text)
