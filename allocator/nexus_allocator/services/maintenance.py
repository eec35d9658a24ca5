"""Maintenance: new launches are held with a message to who would start one; what runs goes on."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.errors import BadDate, LaunchesHeld
from nexus_allocator.domain.records import Act
from nexus_allocator.domain.rights import Action
from nexus_allocator.services.allocations import require_reason
from nexus_allocator.services.records import record
from nexus_allocator.services.rights import overseer
from nexus_allocator.store import maintenance


@dataclass(frozen=True)
class Held:
    message: str
    since: datetime
    until: datetime | None
    actor: str


def standing(session: Session, *, now: datetime) -> Held | None:
    """Return the message with which launches are held; None while they are not, or no longer."""
    row = maintenance.find(session)
    if row is None or (row.until is not None and row.until <= now):
        return None
    return Held(row.message, row.since, row.until, row.actor)


def require_open(session: Session, *, now: datetime) -> None:
    """Raise LaunchesHeld with the message while launches are held."""
    held = standing(session, now=now)
    if held is not None:
        raise LaunchesHeld(message=held.message, until=held.until.isoformat() if held.until else None)


def hold(session: Session, *, message: str, until: datetime | None, actor: str, now: datetime) -> None:
    """Hold new launches, until a moment or until lifted. Raises BadReason, BadDate."""
    text = require_reason(message)
    if until is not None and until <= now:
        raise BadDate(date=until.isoformat(timespec="minutes"), must_be="in the future")
    maintenance.put(session, message=text, since=now, until=until, actor=actor)
    record(session, Act.LAUNCHES_HELD, None, by=actor, reason=text, after={"until": until}, now=now)


def lift(session: Session, *, actor: str, now: datetime) -> None:
    """Let launches through again."""
    maintenance.remove(session)
    record(session, Act.LAUNCHES_LET_THROUGH, None, by=actor, now=now)


def hold_as_administrator(
    session: Session, *, administrator_id: UUID, message: str, until: datetime | None, now: datetime
) -> None:
    """As `hold`. Raises NotAllowed."""
    actor = overseer(session, administrator_id, Action.LAUNCHES_HOLD).hub_name
    hold(session, message=message, until=until, actor=actor, now=now)


def lift_as_administrator(session: Session, *, administrator_id: UUID, now: datetime) -> None:
    """As `lift`. Raises NotAllowed."""
    lift(session, actor=overseer(session, administrator_id, Action.LAUNCHES_HOLD).hub_name, now=now)
