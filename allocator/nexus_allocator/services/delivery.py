"""The deliverer: claims what is due in the outbox, sends it outside of transactions, and keeps how it went.

A claim ends by itself, so what a killed deliverer had in hand is sent by the next. Between sending and
keeping that it was sent lies a moment in which a kill means that it is sent again, under the same id.
"""

import logging
import random
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID, uuid4

from sqlalchemy.orm import Session

from nexus_allocator.domain.outbox import (
    MOST_ATTEMPTS,
    Channel,
    DeliveryFailed,
    OutgoingState,
    pause_after,
)
from nexus_allocator.store import outbox
from nexus_allocator.store.outbox_tables import Outgoing
from nexus_allocator.store.session import announce

log = logging.getLogger(__name__)

# Longer than any one sending may take.
CLAIM_LASTS = timedelta(minutes=3)
KEPT_FOR = timedelta(days=90)


@dataclass(frozen=True)
class Nothing:
    """There is nothing to send, and why."""

    why: str


Send = Callable[[], None]


class Carrier(Protocol):
    """Sends what goes by one channel."""

    def prepare(self, session: Session, row: Outgoing, *, now: datetime) -> Send | Nothing:
        """Read what the sending needs; the sending itself is called after the reading has ended.

        Both raise DeliveryFailed.
        """

    def failed(self, session: Session, row: Outgoing, *, problem: str, now: datetime) -> None:
        """Note a failed attempt in the transaction that keeps it."""

    def arrived(self, session: Session, row: Outgoing, *, now: datetime) -> None:
        """Note a success in the transaction that keeps it."""

    def rest(self) -> None:
        """Nothing more is due for now: let connections go."""


class Scopes(Protocol):
    """A database, or what else opens its transactions."""

    def session_scope(self) -> AbstractContextManager[Session]: ...

    def reading_scope(self) -> AbstractContextManager[Session]: ...


@dataclass(frozen=True)
class Outcome:
    state: OutgoingState
    problem: str | None = None


@dataclass
class Delivered:
    """What one run did; ``failed`` will be tried again, ``dead`` was given up; ``problem`` was the last."""

    sent: int = 0
    dropped: int = 0
    failed: int = 0
    dead: int = 0
    problem: str | None = field(default=None, compare=False)


def deliver(
    scopes: Scopes,
    carriers: Mapping[Channel, Carrier],
    *,
    clock: Callable[[], datetime],
    rng: random.Random,
    only: Collection[UUID] | None = None,
    lease: timedelta = CLAIM_LASTS,
    is_ending: Callable[[], bool] = lambda: False,
    is_patient: bool = True,
) -> Delivered:
    """Send what is due by these channels, one after the other, until nothing is; ``only`` these rows.

    Who is not patient leaves the rest to the next run once an attempt fails.
    """
    done, before = Delivered(), clock()
    try:
        while not is_ending():
            row = _claimed(scopes, carriers, only=only, before=before, clock=clock, lease=lease)
            if row is None:
                break
            outcome = _attempt(scopes, carriers[row.channel], row, clock=clock)
            kept = _keep(scopes, carriers[row.channel], row, outcome, clock=clock, rng=rng)
            _count(done, kept)
            done.problem = outcome.problem or done.problem
            if kept is OutgoingState.WAITING and not is_patient:
                break
    finally:
        for carrier in carriers.values():
            carrier.rest()
    return done


def _claimed(
    scopes: Scopes,
    carriers: Mapping[Channel, Carrier],
    *,
    only: Collection[UUID] | None,
    before: datetime,
    clock: Callable[[], datetime],
    lease: timedelta,
) -> Outgoing | None:
    """Claim the next row that was due when the run began, so that the run ends."""
    with scopes.reading_scope() as session:
        # SQLite has one writer; nobody should wait for a look that finds nothing.
        if not outbox.any_due(session, carriers, now=before):
            return None
    with scopes.session_scope() as session:
        return outbox.claim(session, carriers, only=only, holder=uuid4(), until=clock() + lease, now=before)


def _attempt(scopes: Scopes, carrier: Carrier, row: Outgoing, *, clock: Callable[[], datetime]) -> Outcome:
    if row.attempts > MOST_ATTEMPTS:
        return Outcome(OutgoingState.DEAD, row.problem or "Each attempt ended without a word.")
    try:
        with scopes.reading_scope() as session:
            send = carrier.prepare(session, row, now=clock())
        if isinstance(send, Nothing):
            return Outcome(OutgoingState.DROPPED, send.why)
        send()
    except DeliveryFailed as failure:
        given_up = failure.is_final or row.attempts >= MOST_ATTEMPTS
        return Outcome(OutgoingState.DEAD if given_up else OutgoingState.WAITING, failure.problem)
    except Exception as error:
        # One row that can't be made into a message must not keep the others from leaving.
        log.exception("outgoing %s can't be sent", row.id)
        given_up = row.attempts >= MOST_ATTEMPTS
        problem = f"An error of ours: {type(error).__name__}"
        return Outcome(OutgoingState.DEAD if given_up else OutgoingState.WAITING, problem)
    return Outcome(OutgoingState.SENT)


def _keep(
    scopes: Scopes,
    carrier: Carrier,
    claimed: Outgoing,
    outcome: Outcome,
    *,
    clock: Callable[[], datetime],
    rng: random.Random,
) -> OutgoingState | None:
    """Keep how it went and return the state after; None when the claim is another's by now."""
    now = clock()
    with scopes.session_scope() as session:
        row = outbox.lock(session, claimed.id)
        if row is None or row.claimed_by != claimed.claimed_by:
            log.warning("outgoing %s took longer than its claim lasts", claimed.id)
            return None
        row.state, row.problem, row.claimed_by, row.claimed_until = outcome.state, outcome.problem, None, None
        if outcome.state is OutgoingState.WAITING:
            row.due_at = now + pause_after(row.attempts, rng)
        else:
            row.over_at = now
        if outcome.state is OutgoingState.SENT:
            carrier.arrived(session, row, now=now)
        elif outcome.state is not OutgoingState.DROPPED:
            carrier.failed(session, row, problem=outcome.problem or "", now=now)
        announce(session, "outgoing", outgoing_id=row.id, state=row.state, attempts=row.attempts)
    return outcome.state


def _count(done: Delivered, state: OutgoingState | None) -> None:
    """Count one outcome into ``done``; None counts with who has the claim now."""
    if state is OutgoingState.SENT:
        done.sent += 1
    elif state is OutgoingState.DROPPED:
        done.dropped += 1
    elif state is OutgoingState.DEAD:
        done.dead += 1
    elif state is OutgoingState.WAITING:
        done.failed += 1


def forget_old(scopes: Scopes, *, now: datetime) -> None:
    """Remove what was sent, or dropped, long ago."""
    with scopes.session_scope() as session:
        outbox.forget(session, before=now - KEPT_FOR)
