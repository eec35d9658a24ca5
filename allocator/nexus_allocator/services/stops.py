"""Stopping a server: who and why is recorded first, because the hub never tells its spawner who asked."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.clients.hub import HubClient
from nexus_allocator.domain.errors import BadReason, UnknownServer
from nexus_allocator.domain.records import Act
from nexus_allocator.domain.rights import Action
from nexus_allocator.domain.states import StopReason
from nexus_allocator.services.records import record
from nexus_allocator.services.rights import overseer, person_called, themselves
from nexus_allocator.store import holds
from nexus_allocator.store.session import Database
from nexus_allocator.store.tables import Hold

LONGEST = 64


@dataclass(frozen=True)
class ToStop:
    """A server whose stop is recorded and may now be asked of the hub; by the outbox where it has a row."""

    hub_name: str
    server_name: str
    outgoing_id: UUID | None = field(default=None, compare=False)


def record_intent(
    session: Session,
    *,
    hub_name: str,
    server_name: str,
    reason: str,
    actor: str,
    note: str | None = None,
    now: datetime,
) -> ToStop:
    """Keep why and by whom a server is about to be stopped. Raises UnknownServer, BadReason."""
    hold = running(session, hub_name=hub_name, server_name=server_name)
    if not 0 < len(reason) <= LONGEST or not 0 < len(actor) <= LONGEST:
        raise BadReason(min=1, max=LONGEST)
    holds.add_intent(session, hold.id, reason=reason, actor=actor, note=note, now=now)
    record(session, Act.STOP_INTENDED, hold.id, by=actor, person_id=hold.person_id, reason=note,
           after={"why": reason}, now=now)  # fmt: skip
    return ToStop(hub_name, server_name)


def stop_own(session: Session, *, hub_name: str, owner: str, server_name: str, now: datetime) -> ToStop:
    """Record that a person stops their own server from the portal. Raises UnknownServer for another's."""
    themselves(session, hub_name, Action.SERVER_STOP)
    if hub_name != owner:
        raise UnknownServer(person=owner, server=server_name or "default")
    return record_intent(
        session, hub_name=owner, server_name=server_name, reason=StopReason.OWN_HAND, actor=hub_name, now=now
    )


def stop_as_administrator(
    session: Session,
    *,
    administrator_id: UUID,
    hub_name: str,
    server_name: str,
    note: str | None,
    now: datetime,
) -> ToStop:
    """Record that an administrator stops somebody's server. Raises NotAllowed, UnknownServer."""
    actor = overseer(session, administrator_id, Action.SERVER_STOP)
    return record_intent(
        session, hub_name=hub_name, server_name=server_name, reason=StopReason.ADMINISTRATOR,
        actor=actor.hub_name, note=note, now=now,
    )  # fmt: skip


def ask_hub(hub: HubClient, server: ToStop) -> None:
    """Ask the hub to stop the server, after the transaction that recorded why. Raises HubUnavailable."""
    hub.stop_server(server.hub_name, server.server_name)


def stop_overrun(database: Database, hub: HubClient, *, now: datetime) -> list[ToStop]:
    """Stop the servers whose planned hours and grace are over: their hold pays no further."""
    with database.session_scope() as session:
        over = [hold for hold in holds.open_servers(session) if hold.process_started_at and hold.until <= now]
        servers = [intend(session, hold, StopReason.PLANNED_HOURS, now=now) for hold in over]
    for server in servers:
        ask_hub(hub, server)
    return servers


def intend(session: Session, hold: Hold, reason: StopReason, *, now: datetime) -> ToStop:
    """Record that the Nexus itself stops a server; read with its person."""
    return record_intent(
        session, hub_name=hold.person.hub_name, server_name=hold.server_name, reason=reason, actor="nexus",
        now=now,
    )  # fmt: skip


def running(session: Session, *, hub_name: str, server_name: str) -> Hold:
    """Return the open hold of a server. Raises UnknownPerson, UnknownServer."""
    person = person_called(session, hub_name)
    hold = holds.open_of_server(session, person.id, server_name)
    if hold is None:
        raise UnknownServer(person=hub_name, server=server_name or "default")
    return hold


def keep_alive(
    session: Session, *, hub_name: str, server_name: str, until: datetime, now: datetime
) -> datetime:
    """Keep the culler off an idle server until then, at most until its planned end; return until when."""
    themselves(session, hub_name, Action.SERVER_KEEP)
    hold = running(session, hub_name=hub_name, server_name=server_name)
    before, hold.keep_alive_until = hold.keep_alive_until, min(max(until, now), hold.until)
    record(session, Act.KEPT_ALIVE, hold.id, by=hold.person_id, before={"until": before},
           after={"until": hold.keep_alive_until}, now=now)  # fmt: skip
    return hold.keep_alive_until


def kept_alive_until(session: Session, *, hub_name: str, server_name: str, now: datetime) -> datetime | None:
    """Return until when the culler must leave the server alone; None when it need not."""
    person = person_called(session, hub_name)
    hold = holds.open_of_server(session, person.id, server_name)
    if hold is None or hold.keep_alive_until is None or hold.keep_alive_until <= now:
        return None
    return hold.keep_alive_until
