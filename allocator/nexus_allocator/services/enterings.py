"""Entering a person's server as an administrator: with a reason, for a while, told to the person, recorded.

Nobody holds the hub's scope to enter servers. A grant is a share of this one server, which the hub is asked
for once the reason is kept, and asked to take back when the time is over; `end_due` repeats that until done.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.clients.hub import HubClient
from nexus_allocator.domain.errors import AlreadyEntered, BadAmount, HubUnavailable, NotAllowed
from nexus_allocator.domain.records import Act
from nexus_allocator.domain.rights import Action
from nexus_allocator.domain.states import NoticeKind
from nexus_allocator.domain.teams import at_hub
from nexus_allocator.services.allocations import require_reason
from nexus_allocator.services.notices import tell
from nexus_allocator.services.records import record
from nexus_allocator.services.rights import overseer, person_called
from nexus_allocator.services.stops import running
from nexus_allocator.store import enterings
from nexus_allocator.store.entering_tables import Entering

# One transaction, as the portal and the meter open theirs.
Scope = Callable[[], AbstractContextManager[Session]]
log = logging.getLogger(__name__)
SHORTEST_MINUTES, LONGEST_MINUTES = 5, 240
SHOWN = 10


@dataclass(frozen=True)
class Grant:
    """Who may enter which server until when; ``ended_at`` None while they may, or still might."""

    id: UUID
    administrator: str
    hub_name: str
    server_name: str
    reason: str
    at: datetime
    until: datetime
    ended_at: datetime | None


def begin(
    session: Session,
    *,
    administrator_id: UUID,
    hub_name: str,
    server_name: str,
    reason: str,
    minutes: int,
    now: datetime,
) -> Grant:
    """Keep that an administrator is about to enter a live server, and tell the person.

    Raises NotAllowed, also for a server of one's own, UnknownServer, BadReason, BadAmount, AlreadyEntered.
    """
    actor = overseer(session, administrator_id, Action.SERVER_ENTER)
    hold = running(session, hub_name=hub_name, server_name=server_name)
    if hold.person_id == actor.id:
        raise NotAllowed()
    text = require_reason(reason)
    if not SHORTEST_MINUTES <= minutes <= LONGEST_MINUTES:
        raise BadAmount(amount=minutes, must_be=f"from {SHORTEST_MINUTES} to {LONGEST_MINUTES} minutes")
    before = enterings.open_of(session, hold.id, actor.id)
    if before is not None:
        raise AlreadyEntered(until=before.until.isoformat(timespec="minutes"))
    row = Entering(
        hold_id=hold.id, administrator_id=actor.id, reason=text, at=now,
        until=min(now + timedelta(minutes=minutes), hold.until), hold=hold, administrator=actor,
    )  # fmt: skip
    enterings.add(session, row)
    facts = {"person": actor.hub_name, "server": server_name, "reason": text,
             "until": row.until.strftime("%Y-%m-%d %H:%M")}  # fmt: skip
    tell(session, hold.person_id, NoticeKind.SERVER_ENTERED, key=f"entering/{row.id}", facts=facts, now=now)
    record(session, Act.SERVER_ENTERED, hold.id, by=actor.id, person_id=hold.person_id, reason=text,
           after={"until": row.until}, now=now)  # fmt: skip
    return _grant(row, hub_name)


def open_door(writing: Scope, hub: HubClient, grant: Grant, *, now: datetime) -> None:
    """Ask the hub for the share, after the transaction that kept the reason.

    Where the hub does not answer the grant is over at once: the share may have been made or not, and the
    next round asks for it to be taken back. Raises HubUnavailable.
    """
    try:
        hub.share_server(*at_hub(grant.hub_name, grant.server_name), grant.administrator)
    except HubUnavailable:
        with writing() as session:
            enterings.lock(session, grant.id).until = now
        raise


def end(session: Session, *, administrator_id: UUID, hub_name: str, server_name: str, now: datetime) -> None:
    """Let one's grant be over now; `end_due` takes it back. Raises NotAllowed, UnknownServer."""
    actor = overseer(session, administrator_id, Action.SERVER_ENTER)
    hold = running(session, hub_name=hub_name, server_name=server_name)
    found = enterings.open_of(session, hold.id, actor.id)
    if found is not None and found.until > now:
        found.until = now
        record(session, Act.SERVER_LEFT, hold.id, by=actor.id, person_id=hold.person_id, now=now)


def end_due(reading: Scope, writing: Scope, hub: HubClient, *, now: datetime) -> int:
    """Take back the shares of grants that are over; return how many. What the hub misses is asked again."""
    with reading() as session:
        over = [_grant(row, row.hold.person.hub_name) for row in enterings.due(session, now=now)]
    ended = 0
    for grant in over:
        try:
            hub.unshare_server(*at_hub(grant.hub_name, grant.server_name), grant.administrator)
        except HubUnavailable as error:
            log.warning("a server's share is taken back later: %s", error.facts["problem"])
            continue
        with writing() as session:
            enterings.lock(session, grant.id).ended_at = now
        ended += 1
    return ended


def of_person(session: Session, *, hub_name: str) -> list[Grant]:
    """Return who entered a person's servers, the latest first. Raises UnknownPerson."""
    person = person_called(session, hub_name)
    return [_grant(row, hub_name) for row in enterings.of_person(session, person.id, limit=SHOWN)]


def open_for(session: Session, *, administrator_id: UUID, hub_name: str, server_name: str) -> Grant | None:
    """Return the grant by which an administrator may enter a live server. Raises UnknownServer."""
    hold = running(session, hub_name=hub_name, server_name=server_name)
    found = enterings.open_of(session, hold.id, administrator_id)
    return None if found is None else _grant(found, hub_name)


def _grant(row: Entering, hub_name: str) -> Grant:
    return Grant(
        id=row.id, administrator=row.administrator.hub_name, hub_name=hub_name,
        server_name=row.hold.server_name, reason=row.reason, at=row.at, until=row.until,
        ended_at=row.ended_at,
    )  # fmt: skip
