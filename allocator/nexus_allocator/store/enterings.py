"""Queries on administrators' entries into people's servers."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, joinedload

from nexus_allocator.domain.states import LIVE
from nexus_allocator.store.entering_tables import Entering
from nexus_allocator.store.tables import Hold, Person

WITH_PEOPLE = (joinedload(Entering.hold).joinedload(Hold.person), joinedload(Entering.administrator))


def add(session: Session, entering: Entering) -> None:
    session.add(entering)
    session.flush()


def open_of(session: Session, hold_id: UUID, administrator_id: UUID) -> Entering | None:
    found = select(Entering).where(Entering.hold_id == hold_id, Entering.ended_at.is_(None))
    return session.scalar(found.options(*WITH_PEOPLE).where(Entering.administrator_id == administrator_id))


def of_person(session: Session, person_id: UUID, *, limit: int) -> Sequence[Entering]:
    """Return who entered this person's servers, the latest first."""
    found = select(Entering).join(Hold, Hold.id == Entering.hold_id).where(Hold.person_id == person_id)
    return session.scalars(found.options(*WITH_PEOPLE).order_by(Entering.at.desc()).limit(limit)).all()


def due(session: Session, *, now: datetime) -> Sequence[Entering]:
    """Return what has to end: past its time, of a server that ended, or of who administers no more."""
    found = select(Entering).join(Hold, Hold.id == Entering.hold_id)
    found = found.join(Person, Person.id == Entering.administrator_id).where(Entering.ended_at.is_(None))
    over = or_(
        Entering.until <= now,
        Hold.state.not_in(LIVE),
        Person.is_administrator.is_(False),
        Person.suspended_at.is_not(None),
    )
    return session.scalars(found.where(over).options(*WITH_PEOPLE)).all()


def lock(session: Session, entering_id: UUID) -> Entering:
    found = select(Entering).where(Entering.id == entering_id).with_for_update()
    return session.scalars(found.execution_options(populate_existing=True)).one()
