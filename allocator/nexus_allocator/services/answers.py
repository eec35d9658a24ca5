"""Doing a request once: its answer is kept under its key in the transaction that did it."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.errors import KeyReused
from nexus_allocator.store import answers

KEPT_FOR = timedelta(days=2)


def answered(session: Session, person_id: UUID, key: str, fingerprint: str, *, now: datetime) -> str | None:
    """Return what this very request was answered before; None where it is to be done now.

    Of two at once the second waits for the first. Raises KeyReused for another request with the key.
    """
    answers.claim(session, person_id, key, fingerprint, at=now)
    kept = answers.find(session, person_id, key)
    if kept.fingerprint != fingerprint:
        raise KeyReused()
    return kept.body


def keep(session: Session, person_id: UUID, key: str, body: str) -> None:
    """Keep the answer of what was done in this transaction."""
    answers.find(session, person_id, key).body = body


def forget_old(session: Session, *, now: datetime) -> None:
    """Forget answers that nobody asks for again."""
    answers.remove_before(session, now - KEPT_FOR)
