"""The daily digest: what people chose to read once a day, gathered into one letter each."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.mailing import LetterKind, last_digest
from nexus_allocator.domain.outbox import Channel, OutgoingState
from nexus_allocator.services.delivery import Scopes
from nexus_allocator.services.outbox import enqueue
from nexus_allocator.store import outbox


def gather_all(scopes: Scopes, *, now: datetime) -> int:
    """Write each person's digest that is due, in a transaction of its own; return how many."""
    before = last_digest(now)
    with scopes.reading_scope() as session:
        people = outbox.people_awaiting_digest(session, before=before)
    for person_id in people:
        with scopes.session_scope() as session:
            gather(session, person_id, before=before, now=now)
    return len(people)


def gather(session: Session, person_id: UUID, *, before: datetime, now: datetime) -> None:
    """Put what waited for the person's digest into one letter. Doing it again does nothing."""
    rows = outbox.for_digest(session, person_id, before=before)
    if not rows:
        return
    for row in rows:
        row.state, row.over_at = OutgoingState.IN_DIGEST, now
    enqueue(
        session, Channel.MAIL, LetterKind.DIGEST, person_id=person_id, now=now,
        key=f"digest/{person_id}/{before.date().isoformat()}/{rows[-1].id}",
        facts={"rows": [str(row.id) for row in rows], "day": before.date().isoformat()},
    )  # fmt: skip
