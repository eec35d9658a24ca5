"""Announcements: what everybody reads in portal, launch page and JupyterLab between two moments."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.care import Level
from nexus_allocator.domain.errors import BadDate, UnknownAnnouncement
from nexus_allocator.domain.records import Act
from nexus_allocator.domain.rights import Action
from nexus_allocator.services.allocations import require_reason
from nexus_allocator.services.records import By, record
from nexus_allocator.services.rights import overseer
from nexus_allocator.store import announcements
from nexus_allocator.store.care_tables import Announcement

LONGEST = timedelta(days=366)
# Louder ones stand above the others.
LOUDNESS = list(Level)


@dataclass(frozen=True)
class Announced:
    id: UUID
    level: Level
    text: str
    starts_at: datetime
    ends_at: datetime
    withdrawn_at: datetime | None


def standing(session: Session, *, now: datetime) -> list[Announced]:
    """Return what is to be read now, the loudest first."""
    rows = [_announced(row) for row in announcements.standing(session, now=now)]
    return sorted(rows, key=lambda each: -LOUDNESS.index(each.level))


def latest(session: Session, *, limit: int = 50) -> list[Announced]:
    """Return the announcements, the last to end first."""
    return [_announced(row) for row in announcements.latest(session, limit=limit)]


def announce(
    session: Session,
    *,
    level: Level,
    text: str,
    starts_at: datetime,
    ends_at: datetime,
    actor: By,
    now: datetime,
) -> UUID:
    """Let everybody read it from then to then. Raises BadReason, BadDate."""
    words = require_reason(text)
    if ends_at <= now or not timedelta(0) < ends_at - starts_at <= LONGEST:
        must_be = "in the future, after the beginning and within a year of it"
        raise BadDate(date=ends_at.isoformat(timespec="minutes"), must_be=must_be)
    row = Announcement(level=level, text=words, starts_at=starts_at, ends_at=ends_at, made_at=now)
    announcements.add(session, row)
    record(session, Act.ANNOUNCED, row.id, by=actor, reason=words, now=now,
           after={"level": level, "starts_at": starts_at, "ends_at": ends_at})  # fmt: skip
    return row.id


def announce_as_administrator(
    session: Session,
    *,
    administrator_id: UUID,
    level: Level,
    text: str,
    starts_at: datetime,
    ends_at: datetime,
    now: datetime,
) -> UUID:
    """As `announce`. Raises NotAllowed."""
    actor = overseer(session, administrator_id, Action.ANNOUNCE).id
    return announce(
        session, level=level, text=text, starts_at=starts_at, ends_at=ends_at, actor=actor, now=now
    )


def withdraw(session: Session, announcement_id: UUID, *, actor: By, now: datetime) -> None:
    """Show it no more; withdrawing it twice is no error. Raises UnknownAnnouncement."""
    row = announcements.by_id(session, announcement_id)
    if row is None:
        raise UnknownAnnouncement()
    if row.withdrawn_at is None:
        row.withdrawn_at = now
        record(session, Act.ANNOUNCEMENT_WITHDRAWN, row.id, by=actor, now=now)


def withdraw_as_administrator(
    session: Session, announcement_id: UUID, *, administrator_id: UUID, now: datetime
) -> None:
    """As `withdraw`. Raises NotAllowed."""
    actor = overseer(session, administrator_id, Action.ANNOUNCE).id
    withdraw(session, announcement_id, actor=actor, now=now)


def _announced(row: Announcement) -> Announced:
    return Announced(row.id, row.level, row.text, row.starts_at, row.ends_at, row.withdrawn_at)
