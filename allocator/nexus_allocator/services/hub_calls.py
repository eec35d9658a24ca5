"""Calls to the hub by the outbox: servers to stop, and tokens to revoke, decided with what they are for.

A row that was ordered again while it still waits is due at once, so every round of the meter asks.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy.orm import Session

from nexus_allocator.clients.hub import HubClient
from nexus_allocator.domain.clusters import CLUSTER
from nexus_allocator.domain.errors import HubUnavailable
from nexus_allocator.domain.outbox import Channel, DeliveryFailed, HubCall
from nexus_allocator.domain.states import LIVE
from nexus_allocator.domain.teams import at_hub
from nexus_allocator.services.delivery import Delivered, Nothing, Scopes, Send, deliver
from nexus_allocator.services.outbox import enqueue
from nexus_allocator.store import holds, outbox, people
from nexus_allocator.store.outbox_tables import Outgoing
from nexus_allocator.store.tables import Hold, Person

# Who was signed in at the hub is asked about again within five minutes, and could make a token until then.
SIGN_IN_LASTS = timedelta(minutes=10)


@dataclass(frozen=True)
class ToStop:
    """A server whose stop is recorded and ordered; a cluster has no row, its gateway is told on reporting."""

    hub_name: str
    server_name: str
    outgoing_id: UUID | None = field(default=None, compare=False)


def order_stop(session: Session, hold: Hold, *, now: datetime, after: timedelta = timedelta(0)) -> ToStop:
    """Have the hub asked to stop the server of a hold."""
    owner = session.get_one(Person, hold.person_id)
    if hold.size == CLUSTER:
        return ToStop(owner.hub_name, hold.server_name)
    row = outbox.waiting_for(session, Channel.HUB, HubCall.STOP_SERVER, key_begins=_key(hold.id))
    if row is not None:
        row.due_at = min(row.due_at, now + after)
    else:
        row = enqueue(
            session, Channel.HUB, HubCall.STOP_SERVER, key=f"stop/{hold.id}/{uuid4()}", now=now,
            person_id=hold.person_id, facts={"hold": str(hold.id)}, due_at=now + after,
        )  # fmt: skip
    return ToStop(owner.hub_name, hold.server_name, row.id if row else None)


def order_revocation(session: Session, person: Person, *, now: datetime) -> None:
    """Have all of a suspended person's tokens revoked at the hub, now and when no sign-in lasts any more."""
    for due_at in (now, now + SIGN_IN_LASTS):
        enqueue(
            session, Channel.HUB, HubCall.REVOKE_TOKENS, key=f"revoke/{person.id}/{due_at.isoformat()}",
            person_id=person.id, facts={}, now=now, due_at=due_at,
        )  # fmt: skip


def ask_at_once(scopes: Scopes, hub: HubClient, servers: Sequence[ToStop], *, now: datetime) -> Delivered:
    """Ask the hub to stop these now, after the commit; what fails stays in the outbox and is tried again.

    Ends with the first that the hub does not answer.
    """
    only = [server.outgoing_id for server in servers if server.outgoing_id is not None]
    if not only:
        return Delivered()
    return deliver(
        scopes, {Channel.HUB: HubCarrier(hub)}, only=only, clock=lambda: now, is_patient=False,
        rng=random.Random(only[0].int),  # noqa: S311 - spreads attempts, hides nothing
    )  # fmt: skip


class HubCarrier:
    """Asks the hub. A call that was made twice does no harm: what has ended stays ended."""

    def __init__(self, hub: HubClient) -> None:
        self.hub = hub

    def prepare(self, session: Session, row: Outgoing, *, now: datetime) -> Send | Nothing:
        if row.kind == HubCall.REVOKE_TOKENS:
            return self._revocation(session, row)
        hold = holds.with_owners(session, UUID(row.facts["hold"]))
        # While this hold is open no other server can have its name.
        if hold is None or hold.state not in LIVE:
            return Nothing("The server has ended.")
        hub_name, server_name = at_hub(hold.person.hub_name, hold.server_name)
        return _asking(lambda: self.hub.stop_server(hub_name, server_name))

    def failed(self, session: Session, row: Outgoing, *, problem: str, now: datetime) -> None:
        """Nothing beside the row itself is to be noted."""

    def arrived(self, session: Session, row: Outgoing, *, now: datetime) -> None:
        """Nothing beside the row itself is to be noted."""

    def rest(self) -> None:
        """The client's connections are its own matter."""

    def _revocation(self, session: Session, row: Outgoing) -> Send | Nothing:
        person = people.by_id(session, row.person_id) if row.person_id else None
        if person is None or person.suspended_at is None:
            return Nothing("The person is not suspended any more.")
        hub_name = person.hub_name
        return _asking(lambda: self.hub.revoke_tokens(hub_name))


def _asking(call: Send) -> Send:
    """Return the call as the deliverer makes it: what the hub does not answer is a failed attempt."""

    def ask() -> None:
        try:
            call()
        except HubUnavailable as error:
            raise DeliveryFailed(error.facts["problem"]) from error

    return ask


def _key(hold_id: UUID) -> str:
    return f"{Channel.HUB}/stop/{hold_id}/"
