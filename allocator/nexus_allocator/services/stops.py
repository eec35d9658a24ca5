"""Stopping a server: who and why is recorded, because the hub never tells its spawner who asked.

The hub is asked by the outbox, whose row is written with the reason.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.clients.hub import HubClient
from nexus_allocator.domain.errors import BadReason, UnknownServer
from nexus_allocator.domain.records import Act
from nexus_allocator.domain.rights import Action
from nexus_allocator.domain.states import StopReason
from nexus_allocator.services.holds import INTENT_LASTS
from nexus_allocator.services.hub_calls import ToStop, ask_at_once, order_stop
from nexus_allocator.services.records import record
from nexus_allocator.services.rights import overseer, person_called, themselves
from nexus_allocator.store import accounts, holds, people
from nexus_allocator.store.session import Database
from nexus_allocator.store.tables import Hold

LONGEST = 64
PLATFORM = "nexus"


@dataclass(frozen=True)
class Overrun:
    """How many servers were over their time; ``trouble`` is why the hub could not be asked of them yet."""

    servers: int
    trouble: str | None


def record_intent(
    session: Session,
    *,
    hub_name: str,
    server_name: str,
    reason: str,
    actor: str,
    note: str | None = None,
    now: datetime,
) -> Hold:
    """Keep why and by whom a server is about to be stopped; who says so sees to the stop themselves.

    Raises UnknownServer, BadReason.
    """
    hold = running(session, hub_name=hub_name, server_name=server_name)
    if not 0 < len(reason) <= LONGEST or not 0 < len(actor) <= LONGEST:
        raise BadReason(min=1, max=LONGEST)
    holds.add_intent(session, hold.id, reason=reason, actor=actor, note=note, now=now)
    record(session, Act.STOP_INTENDED, hold.id, by=actor, person_id=hold.person_id, reason=note,
           after={"why": reason}, now=now)  # fmt: skip
    return hold


def stop(
    session: Session,
    *,
    hub_name: str,
    server_name: str,
    reason: StopReason,
    actor: str,
    note: str | None = None,
    now: datetime,
) -> ToStop:
    """Have a server stopped, and keep why and by whom. Raises UnknownServer, BadReason."""
    hold = record_intent(
        session, hub_name=hub_name, server_name=server_name, reason=reason, actor=actor, note=note, now=now
    )
    return order_stop(session, hold, now=now)


def stop_own(session: Session, *, hub_name: str, owner: str, server_name: str, now: datetime) -> ToStop:
    """Have a person's own server stopped by their hand. Raises UnknownServer for another's."""
    themselves(session, hub_name, Action.SERVER_STOP)
    if hub_name != owner:
        raise UnknownServer(person=owner, server=server_name or "default")
    return stop(
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
    """Have somebody's server stopped by an administrator. Raises NotAllowed, UnknownServer."""
    actor = overseer(session, administrator_id, Action.SERVER_STOP)
    return stop(
        session, hub_name=hub_name, server_name=server_name, reason=StopReason.ADMINISTRATOR,
        actor=actor.hub_name, note=note, now=now,
    )  # fmt: skip


def stop_overrun(database: Database, hub: HubClient, *, now: datetime) -> Overrun:
    """Stop the servers whose planned hours and grace are over: their hold pays no further."""
    with database.session_scope() as session:
        over = [hold for hold in holds.open_servers(session) if hold.process_started_at and hold.until <= now]
        servers = [intend(session, hold, StopReason.PLANNED_HOURS, now=now) for hold in over]
    asked = ask_at_once(database, hub, servers, now=now)
    return Overrun(len(servers), asked.problem if asked.failed else None)


def intend(
    session: Session, hold: Hold, reason: StopReason, *, note: str | None = None, now: datetime
) -> ToStop:
    """Have the Nexus itself stop the server, or cluster, of a hold."""
    note_why(session, hold, reason, note=note, now=now)
    return order_stop(session, hold, now=now)


def note_why(
    session: Session, hold: Hold, reason: StopReason, *, note: str | None = None, now: datetime
) -> None:
    """Record why the Nexus stops a server, unless that was done a moment ago.

    An intent explains a stop that follows soon.
    """
    if holds.latest_intent(session, hold.id, since=now - INTENT_LASTS / 2) is None:
        holds.add_intent(session, hold.id, reason=reason, actor=PLATFORM, note=note, now=now)
        record(session, Act.STOP_INTENDED, hold.id, by=PLATFORM, person_id=hold.person_id,
               after={"why": reason}, now=now)  # fmt: skip


def running(session: Session, *, hub_name: str, server_name: str) -> Hold:
    """Return the open hold of a server, which may be a team's own. Raises UnknownPerson, UnknownServer."""
    hold = _open_at_hub(session, hub_name, server_name)
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
    hold = _open_at_hub(session, hub_name, server_name)
    if hold is None or hold.keep_alive_until is None or hold.keep_alive_until <= now:
        return None
    return hold.keep_alive_until


def _open_at_hub(session: Session, hub_name: str, server_name: str) -> Hold | None:
    """Return the open hold of the server of a hub's account. Raises UnknownPerson."""
    person = people.by_hub_name(session, hub_name)
    if person is None and accounts.team_by_slug(session, hub_name) is not None:
        return holds.open_of_team(session, hub_name)
    return holds.open_of_server(session, person_called(session, hub_name).id, server_name)
