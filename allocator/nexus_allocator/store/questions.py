"""What-if questions and how far their answers are."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from nexus_allocator.domain.care import QuestionState
from nexus_allocator.store.care_tables import Question


def add(session: Session, row: Question) -> None:
    session.add(row)
    session.flush()


def by_id(session: Session, question_id: UUID) -> Question | None:
    return session.get(Question, question_id)


def latest(session: Session, *, before: tuple[datetime, UUID] | None, limit: int) -> Sequence[Question]:
    """Return the last questions, or the last before one; the latest first."""
    found = select(Question).order_by(Question.asked_at.desc(), Question.id.desc())
    if before is not None:
        earlier = and_(Question.asked_at == before[0], Question.id < before[1])
        found = found.where(or_(Question.asked_at < before[0], earlier))
    return session.scalars(found.limit(limit)).all()


def running(session: Session, *, since: datetime) -> Sequence[Question]:
    """Return the questions whose process was heard of since then."""
    found = select(Question).where(Question.state == QuestionState.RUNNING, Question.heard_at > since)
    return session.scalars(found).all()
