"""Queries on portal sessions; a row never holds what opens it."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from nexus_allocator.store.tables import Person, WebSession


def add(session: Session, row: WebSession) -> None:
    session.add(row)
    session.flush()


def find(session: Session, id_hash: str, *, now: datetime) -> tuple[WebSession, Person] | None:
    """Return the live session with its person."""
    query = (
        select(WebSession, Person)
        .join(Person, Person.id == WebSession.person_id)
        .where(WebSession.id_hash == id_hash, WebSession.expires_at > now)
    )
    row = session.execute(query).one_or_none()
    return (row[0], row[1]) if row else None


def remove(session: Session, id_hash: str) -> None:
    session.execute(delete(WebSession).where(WebSession.id_hash == id_hash))


def remove_of(session: Session, person_id: UUID) -> None:
    """Remove every session of a person."""
    session.execute(delete(WebSession).where(WebSession.person_id == person_id))


def remove_expired(session: Session, *, now: datetime) -> None:
    session.execute(delete(WebSession).where(WebSession.expires_at <= now))


def person_id_of(session: Session, hub_name: str) -> UUID | None:
    return session.scalar(select(Person.id).where(Person.hub_name == hub_name))
