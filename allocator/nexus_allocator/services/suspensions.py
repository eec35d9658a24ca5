"""Suspension, at once: sign-in and launches refused with the reason, servers and tokens ended, files kept."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.errors import NotAllowed
from nexus_allocator.domain.mailing import LetterKind
from nexus_allocator.domain.records import Act
from nexus_allocator.domain.rights import Action
from nexus_allocator.domain.states import StopReason
from nexus_allocator.domain.webhooks import EventKind
from nexus_allocator.services import outbox
from nexus_allocator.services.allocations import require_reason
from nexus_allocator.services.hub_calls import ToStop, order_revocation, order_stop
from nexus_allocator.services.records import record
from nexus_allocator.services.rights import overseer, person_called
from nexus_allocator.services.webhooks import emit
from nexus_allocator.store import holds, people, web_sessions
from nexus_allocator.store.tables import Person

EVENTS = {
    LetterKind.SUSPENDED: EventKind.PERSON_SUSPENDED,
    LetterKind.REINSTATED: EventKind.PERSON_REINSTATED,
}


def suspend(session: Session, *, hub_name: str, reason: str, actor: str, now: datetime) -> list[ToStop]:
    """Refuse the person from now on; return the servers to stop after the commit.

    Portal sessions end with it. Raises UnknownPerson, BadReason.
    """
    text = require_reason(reason)
    person = _locked(session, hub_name)
    if person.suspended_at is None or person.suspension_reason != text:
        _write(session, person, LetterKind.SUSPENDED, facts={"reason": text}, now=now)
    person.suspended_at, person.suspension_reason = person.suspended_at or now, text
    web_sessions.remove_of(session, person.id)
    servers = []
    for hold in holds.open_of_person(session, person.id):
        holds.add_intent(session, hold.id, reason=StopReason.SUSPENDED, actor=actor[:64], note=text, now=now)
        servers.append(order_stop(session, hold, now=now))
    order_revocation(session, person, now=now)
    record(session, Act.PERSON_SUSPENDED, person.id, by=actor, reason=text, after={"servers": len(servers)},
           now=now)  # fmt: skip
    return servers


def suspend_as_administrator(
    session: Session, *, administrator_id: UUID, hub_name: str, reason: str, now: datetime
) -> list[ToStop]:
    """As `suspend`. Raises NotAllowed, also to who would suspend themselves."""
    actor = overseer(session, administrator_id, Action.PERSON_SUSPEND)
    if actor.hub_name == hub_name:
        raise NotAllowed()
    return suspend(session, hub_name=hub_name, reason=reason, actor=actor.hub_name, now=now)


def reinstate(session: Session, *, hub_name: str, actor: str, now: datetime) -> None:
    """Let the person sign in and launch again. Raises UnknownPerson."""
    person = _locked(session, hub_name)
    if person.suspended_at is not None:
        _write(session, person, LetterKind.REINSTATED, facts={}, now=now)
    since = person.suspended_at
    person.suspended_at, person.suspension_reason = None, None
    record(session, Act.PERSON_REINSTATED, person.id, by=actor, before={"suspended_at": since}, now=now)


def reinstate_as_administrator(
    session: Session, *, administrator_id: UUID, hub_name: str, now: datetime
) -> None:
    """As `reinstate`. Raises NotAllowed."""
    actor = overseer(session, administrator_id, Action.PERSON_REINSTATE)
    reinstate(session, hub_name=hub_name, actor=actor.hub_name, now=now)


def _write(
    session: Session, person: Person, letter: LetterKind, *, facts: Mapping[str, object], now: datetime
) -> None:
    key = f"{letter}/{person.id}/{now.isoformat()}"
    emit(session, EVENTS[letter], key=key, facts={"person": str(person.id)}, now=now)
    outbox.mail(session, person.id, letter, key=key, facts=facts, now=now)


def _locked(session: Session, hub_name: str) -> Person:
    return people.lock(session, person_called(session, hub_name).id)
