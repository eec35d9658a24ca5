"""Writing what shall leave the service: in the transaction that decides it, each thing once.

A deliverer sends it after the commit; nothing is sent that was not decided, and nothing decided is lost.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.errors import UnknownOutgoing
from nexus_allocator.domain.mailing import Timing, kind_of, timing_of
from nexus_allocator.domain.outbox import Channel, OutgoingState
from nexus_allocator.domain.records import Act
from nexus_allocator.domain.rights import Action
from nexus_allocator.services.records import record
from nexus_allocator.services.rights import overseer
from nexus_allocator.store import outbox
from nexus_allocator.store.outbox_tables import Outgoing
from nexus_allocator.store.session import announce


def enqueue(
    session: Session,
    channel: Channel,
    kind: str,
    *,
    key: str,
    facts: Mapping[str, Any],
    now: datetime,
    person_id: UUID | None = None,
    state: OutgoingState = OutgoingState.WAITING,
    due_at: datetime | None = None,
) -> Outgoing | None:
    """Write what shall leave once this transaction commits; None when its key was written before."""
    row = Outgoing(
        key=f"{channel}/{key}", channel=channel, kind=kind, person_id=person_id, facts=dict(facts),
        state=state, created_at=now, due_at=due_at or now, attempts=0, claimed_by=None, claimed_until=None,
        problem=None, over_at=None,
    )  # fmt: skip
    if not outbox.add_once(session, row):
        return None
    announce(session, "enqueued", outgoing_id=row.id, channel=channel, kind=kind)
    return row


def mail(
    session: Session,
    person_id: UUID | None,
    letter: str,
    *,
    key: str,
    facts: Mapping[str, Any],
    now: datetime,
    after: timedelta = timedelta(0),
) -> None:
    """Let a person have a letter as they chose: at once, with the next digest, or not at all.

    ``person_id`` None is somebody whom the Nexus does not know yet; the letter's facts say how to find them.
    """
    kind = kind_of(letter)
    chosen = None if person_id is None else outbox.timing(session, person_id, kind)
    timing = timing_of(kind, chosen)
    if timing is Timing.NEVER:
        return
    state = OutgoingState.FOR_DIGEST if timing is Timing.DIGEST else OutgoingState.WAITING
    enqueue(
        session, Channel.MAIL, letter, key=key, facts=facts, now=now, person_id=person_id, state=state,
        due_at=now + after,
    )  # fmt: skip


def retry(session: Session, row_id: UUID, *, administrator_id: UUID, now: datetime) -> None:
    """Let what was given up be sent again, now. Raises NotAllowed, UnknownOutgoing.

    What is not given up, by a second press say, stays as it is.
    """
    actor = overseer(session, administrator_id, Action.OUTBOX_RETRY)
    if outbox.by_id(session, row_id) is None:
        raise UnknownOutgoing()
    revived = outbox.revive(session, only=row_id, channel=None, now=now)
    record(session, Act.OUTGOING_RETRIED, row_id, by=actor.id, after={"rows": revived}, now=now)


def retry_all(session: Session, *, channel: Channel | None, administrator_id: UUID, now: datetime) -> int:
    """As `retry`, for everything that was given up; return how many. Raises NotAllowed."""
    actor = overseer(session, administrator_id, Action.OUTBOX_RETRY)
    revived = outbox.revive(session, only=None, channel=channel, now=now)
    record(session, Act.OUTGOING_RETRIED, None, by=actor.id, after={"rows": revived}, now=now)
    return revived
