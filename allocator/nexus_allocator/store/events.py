"""Events and who joins them."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session, joinedload

from nexus_allocator.store.event_tables import Event, JoinTry
from nexus_allocator.store.tables import Membership


def _with_team() -> Select[Event]:
    return select(Event).options(joinedload(Event.team))


def add(session: Session, event: Event) -> None:
    session.add(event)
    session.flush()


def by_id(session: Session, event_id: UUID) -> Event | None:
    return session.scalar(_with_team().where(Event.id == event_id))


def by_code(session: Session, code: str) -> Event | None:
    return session.scalar(_with_team().where(Event.code == code))


def again(session: Session, event: Event) -> None:
    """Read the event's own columns anew, after waiting for its lock. Writes into ``event``."""
    session.refresh(event, ["starts_at", "ends_at", "ended_at", "closed_at"])


def every(session: Session, *, limit: int) -> Sequence[tuple[Event, int]]:
    """Return the events, the latest to end first, each with how many people are in it."""
    seats = select(func.count()).where(Membership.team_id == Event.team_id).scalar_subquery()
    rows = session.execute(
        select(Event, seats)
        .options(joinedload(Event.team))
        .order_by(Event.ends_at.desc(), Event.id)
        .limit(limit)
    )
    return [(row[0], int(row[1])) for row in rows]


def people(session: Session, team_id: UUID) -> int:
    return session.scalar(select(func.count()).where(Membership.team_id == team_id)) or 0


def members(session: Session, team_id: UUID) -> Sequence[UUID]:
    return session.scalars(select(Membership.person_id).where(Membership.team_id == team_id)).all()


def over(session: Session, *, now: datetime) -> Sequence[UUID]:
    """Return the events that ended and still have credits to return or people to tell."""
    return session.scalars(select(Event.id).where(Event.ends_at <= now, Event.closed_at.is_(None))).all()


def tries(session: Session, person_id: UUID, *, since: datetime) -> int:
    found = select(func.count()).where(JoinTry.person_id == person_id, JoinTry.at > since)
    return session.scalar(found) or 0


def add_try(session: Session, person_id: UUID, *, now: datetime, forget_before: datetime) -> None:
    """Keep a try, and forget the person's old ones."""
    session.execute(delete(JoinTry).where(JoinTry.person_id == person_id, JoinTry.at <= forget_before))
    session.add(JoinTry(person_id=person_id, at=now))
