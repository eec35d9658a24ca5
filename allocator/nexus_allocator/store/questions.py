"""What-if questions and how far their answers are."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from nexus_allocator.domain.care import QuestionState
from nexus_allocator.store.care_tables import Question


def add(session: Session, row: Question) -> None:
    session.add(row)
    session.flush()


def by_id(session: Session, question_id: UUID) -> Question | None:
    return session.get(Question, question_id)


def latest(session: Session, *, limit: int) -> Sequence[Question]:
    found = select(Question).order_by(Question.asked_at.desc(), Question.id)
    return session.scalars(found.limit(limit)).all()


def running(session: Session, *, since: datetime) -> Sequence[Question]:
    """Return the questions whose process was heard of since then."""
    found = select(Question).where(Question.state == QuestionState.RUNNING, Question.heard_at > since)
    return session.scalars(found).all()
