"""Suspension, at once: sign-in and launches are refused with the reason, servers stop, files are kept."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.errors import NotAllowed
from nexus_allocator.domain.rights import Action
from nexus_allocator.domain.states import StopReason
from nexus_allocator.services.allocations import require_reason
from nexus_allocator.services.rights import overseer, person_called
from nexus_allocator.services.stops import ToStop
from nexus_allocator.store import holds, people, web_sessions
from nexus_allocator.store.session import announce
from nexus_allocator.store.tables import Person


def suspend(session: Session, *, hub_name: str, reason: str, actor: str, now: datetime) -> list[ToStop]:
    """Refuse the person from now on; return the servers to stop after the commit.

    Portal sessions end with it. Raises UnknownPerson, BadReason.
    """
    text = require_reason(reason)
    person = _locked(session, hub_name)
    person.suspended_at, person.suspension_reason = person.suspended_at or now, text
    web_sessions.remove_of(session, person.id)
    servers = []
    for hold in holds.open_of_person(session, person.id):
        holds.add_intent(session, hold.id, reason=StopReason.SUSPENDED, actor=actor[:64], note=text, now=now)
        servers.append(ToStop(person.hub_name, hold.server_name))
    announce(session, "person_suspended", person_id=person.id, actor=actor, servers=len(servers))
    return servers


def suspend_as_administrator(
    session: Session, *, administrator_id: UUID, hub_name: str, reason: str, now: datetime
) -> list[ToStop]:
    """As `suspend`. Raises NotAllowed, also to who would suspend themselves."""
    actor = overseer(session, administrator_id, Action.PERSON_SUSPEND)
    if actor.hub_name == hub_name:
        raise NotAllowed()
    return suspend(session, hub_name=hub_name, reason=reason, actor=actor.hub_name, now=now)


def reinstate(session: Session, *, hub_name: str, actor: str) -> None:
    """Let the person sign in and launch again. Raises UnknownPerson."""
    person = _locked(session, hub_name)
    person.suspended_at, person.suspension_reason = None, None
    announce(session, "person_reinstated", person_id=person.id, actor=actor)


def reinstate_as_administrator(session: Session, *, administrator_id: UUID, hub_name: str) -> None:
    """As `reinstate`. Raises NotAllowed."""
    actor = overseer(session, administrator_id, Action.PERSON_REINSTATE)
    reinstate(session, hub_name=hub_name, actor=actor.hub_name)


def _locked(session: Session, hub_name: str) -> Person:
    return people.lock(session, person_called(session, hub_name).id)
