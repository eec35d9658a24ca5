"""The outbox as administrators look through it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.outbox import OVER, Channel, OutgoingState
from nexus_allocator.store import outbox, webhooks
from nexus_allocator.store.outbox_tables import Outgoing

PAGE = 25


class Show(StrEnum):
    """Which rows to show."""

    DEAD = "dead"
    WAITING = "waiting"
    OVER = "over"
    ALL = "all"


STATES: Mapping[Show, tuple[OutgoingState, ...] | None] = {
    Show.DEAD: (OutgoingState.DEAD,),
    Show.WAITING: (OutgoingState.WAITING, OutgoingState.FOR_DIGEST),
    Show.OVER: OVER,
    Show.ALL: None,
}


@dataclass(frozen=True)
class Row:
    """One thing to send; ``whom`` None is not a person that the Nexus knows."""

    id: UUID
    channel: Channel
    kind: str
    whom: str | None
    state: OutgoingState
    created_at: datetime
    due_at: datetime
    attempts: int
    problem: str | None
    over_at: datetime | None

    @property
    def is_dead(self) -> bool:
        return self.state is OutgoingState.DEAD

    @property
    def is_waiting(self) -> bool:
        return self.state is OutgoingState.WAITING


@dataclass(frozen=True)
class Page:
    """One page of the outbox; pages count from 1. ``dead`` and ``waiting`` count the whole outbox."""

    show: Show
    channel: Channel | None
    number: int
    total: int
    rows: tuple[Row, ...]
    dead: int
    waiting: int

    @property
    def last(self) -> int:
        return max(1, -(-self.total // PAGE))


def _endpoint(session: Session, row: Outgoing) -> str | None:
    """Return where an event goes; None for what goes to nobody by name."""
    if row.channel is not Channel.WEBHOOK:
        return None
    found = webhooks.by_id(session, UUID(row.facts["endpoint"]))
    return found.url if found else None


def page(session: Session, *, show: Show, channel: Channel | None, number: int) -> Page:
    states = STATES[show]
    counts = outbox.counts(session)
    found = outbox.page(session, states=states, channel=channel, limit=PAGE, offset=(number - 1) * PAGE)
    return Page(
        show=show,
        channel=channel,
        number=number,
        total=outbox.count(session, states=states, channel=channel),
        rows=_rows(session, found),
        dead=counts.get(OutgoingState.DEAD, 0),
        waiting=sum(counts.get(state, 0) for state in STATES[Show.WAITING] or ()),
    )  # fmt: skip


def after(
    session: Session,
    *,
    show: Show,
    channel: Channel | None,
    last: tuple[datetime, UUID] | None,
    limit: int,
) -> tuple[Row, ...]:
    """Return the rows that come after the moment and the id of another, the latest first."""
    found = outbox.page_after(session, states=STATES[show], channel=channel, last=last, limit=limit)
    return _rows(session, found)


def _rows(session: Session, found: Sequence[tuple[Outgoing, str | None]]) -> tuple[Row, ...]:
    return tuple(
        Row(row.id, row.channel, row.kind, name or _endpoint(session, row), row.state, row.created_at,
            row.due_at, row.attempts, row.problem, row.over_at)
        for row, name in found
    )  # fmt: skip
