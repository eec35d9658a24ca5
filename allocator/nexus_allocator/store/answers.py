"""Answers kept by Idempotency-Key."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from nexus_allocator.store.api_tables import KeptAnswer


def claim(session: Session, person_id: UUID, key: str, fingerprint: str, *, at: datetime) -> None:
    """Make the row unless it is there; who comes second waits here until the first has committed."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    row = insert(KeptAnswer).values(person_id=person_id, key=key, fingerprint=fingerprint, at=at)
    session.execute(row.on_conflict_do_nothing())


def find(session: Session, person_id: UUID, key: str) -> KeptAnswer:
    return session.get_one(KeptAnswer, (person_id, key))


def remove_before(session: Session, moment: datetime) -> None:
    session.execute(delete(KeptAnswer).where(KeptAnswer.at < moment))
