"""The meter: reads the hub's live servers, moves their readings on, ends holds on positive evidence only."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from nexus_allocator.clients.hub import HubClient, Sighting
from nexus_allocator.domain.errors import HubUnavailable
from nexus_allocator.domain.states import HoldState, StopReason
from nexus_allocator.domain.stops import Evidence
from nexus_allocator.domain.teams import at_hub
from nexus_allocator.services import holds as lifecycle
from nexus_allocator.services import leases, stops
from nexus_allocator.store import holds, meter, people
from nexus_allocator.store.session import Database
from nexus_allocator.store.tables import Hold

Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Terms:
    """How the meter works: all intervals come from the settings."""

    interval: timedelta
    posting_interval: timedelta
    start_timeout: timedelta


@dataclass
class Round:
    """What one round did; ``trouble`` says why the hub's answer was not whole, and then nothing ended."""

    witnessed: int = 0
    ended: int = 0
    overrun: int = 0
    leases: int = 0
    unpaid: int = 0
    strays: list[UUID] = field(default_factory=list)
    unaccounted: list[Sighting] = field(default_factory=list)
    trouble: str | None = None


def run_round(database: Database, hub: HubClient, *, terms: Terms, clock: Clock) -> Round:
    """Read the hub once and bring every open hold up to what it says."""
    result = Round()
    asked_at = clock()
    try:
        seen = hub.active_servers()
        # Before they are witnessed: their servers run already.
        result.leases = leases.collect(database, seen, now=asked_at)
        _witness_alive(database, seen, result, terms=terms, asked_at=asked_at)
        _end_gone(database, hub, seen, result, terms=terms, asked_at=asked_at, clock=clock)
        result.unpaid = _stop_unpaid(database, hub, result.unaccounted, asked_at=asked_at)
        result.strays = hub.end_strays()
        over = stops.stop_overrun(database, hub, now=clock())
        result.overrun, result.trouble = over.servers, over.trouble
    except HubUnavailable as error:
        result.trouble = error.facts["problem"]
    _record(database, result, at=asked_at)
    return result


def _witness_alive(
    database: Database, seen: list[Sighting], result: Round, *, terms: Terms, asked_at: datetime
) -> None:
    with database.reading_scope() as session:
        known = {hold.id for hold in holds.every_open(session)}
    for sighting in seen:
        if not sighting.is_alive or sighting.hold_id is None or sighting.process_started_at is None:
            continue
        if sighting.hold_id not in known:
            result.unaccounted.append(sighting)
            continue
        with database.session_scope() as session:
            lifecycle.witness(
                session, sighting.hold_id, process_started_at=sighting.process_started_at, at=asked_at,
                posting_interval=terms.posting_interval,
            )  # fmt: skip
        result.witnessed += 1


def _end_gone(
    database: Database,
    hub: HubClient,
    seen: list[Sighting],
    result: Round,
    *,
    terms: Terms,
    asked_at: datetime,
    clock: Clock,
) -> None:
    for hold in _missing(database, seen, terms=terms, asked_at=asked_at):
        # The list was whole, yet people move between its pages while it is read: ask by name as well.
        evidence = _evidence_of_end(hub.servers_of(_at_hub(hold)[0]), hold)
        if evidence is None:
            continue
        never = StopReason.NEVER_STARTED if hold.state == HoldState.PLACED else None
        with database.session_scope() as session:
            lifecycle.settle(session, hold.id, evidence, reason=never, now=clock())
        result.ended += 1


def _missing(database: Database, seen: list[Sighting], *, terms: Terms, asked_at: datetime) -> list[Hold]:
    """Return open holds without a server in the hub's list, leaving out those too young to be in it."""
    shown = {(sighting.hub_name, sighting.server_name): sighting for sighting in seen}
    with database.reading_scope() as session:
        return [
            hold
            for hold in holds.open_servers(session)
            if _is_old_enough(hold, terms, asked_at) and _may_have_ended(shown.get(_at_hub(hold)), hold.id)
        ]


def _stop_unpaid(
    database: Database, hub: HubClient, unaccounted: list[Sighting], *, asked_at: datetime
) -> int:
    """Have servers stopped that live on, or began, after their hold had ended: nothing pays for them.

    So is one of a person we know whose hold this database never had, since a backup older than the launch was
    restored, once two rounds in a row have seen it.
    """
    asked = 0
    with database.reading_scope() as session:
        tick = meter.last_tick(session)
        before = set(tick.facts.get("unaccounted", ())) if tick else set()
    for shown in unaccounted:
        with database.reading_scope() as session:
            hold = holds.by_id(session, shown.hold_id) if shown.hold_id else None
            owner = people.by_hub_name(session, shown.hub_name)
        if hold is None and (owner is None or str(shown.hold_id) not in before):
            continue
        if hold is not None and (hold.settled_at is None or hold.settled_at >= asked_at):
            continue
        # Asked for by name, which another server has once this one is gone.
        if not any(now.is_alive and now.hold_id == shown.hold_id for now in hub.servers_of(shown.hub_name)):
            continue
        if hold is not None:
            with database.session_scope() as session:
                stops.note_why(session, hold, StopReason.UNPAID, now=asked_at)
        hub.stop_server(shown.hub_name, shown.server_name)
        asked += 1
    return asked


def _is_old_enough(hold: Hold, terms: Terms, asked_at: datetime) -> bool:
    patience = terms.start_timeout if hold.state == HoldState.PLACED else timedelta(0)
    return hold.placed_at + patience < asked_at


def _may_have_ended(sighting: Sighting | None, hold_id: UUID) -> bool:
    if sighting is None or sighting.is_gone:
        return True
    # Another hold's process under the same name: ours has ended.
    return sighting.is_alive and sighting.hold_id != hold_id


def _evidence_of_end(servers: list[Sighting], hold: Hold) -> Evidence | None:
    """Return what is known of the hold's end, None when it may still be alive."""
    for server in servers:
        if server.server_name != _at_hub(hold)[1]:
            continue
        if not _may_have_ended(server, hold.id):
            return None
        if server.last_stop is not None and server.last_stop[0] == hold.id:
            return server.last_stop[1]
    return Evidence()


def _at_hub(hold: Hold) -> tuple[str, str]:
    return at_hub(hold.person.hub_name, hold.server_name)


def _record(database: Database, result: Round, *, at: datetime) -> None:
    facts = {
        "witnessed": result.witnessed, "ended": result.ended, "overrun": result.overrun,
        "leases": result.leases, "unpaid": result.unpaid, "strays": [str(each) for each in result.strays],
        "unaccounted": [str(each.hold_id) for each in result.unaccounted[:100]],
    }  # fmt: skip
    with database.session_scope() as session:
        meter.record_tick(session, at=at, trouble=result.trouble, facts=facts)
