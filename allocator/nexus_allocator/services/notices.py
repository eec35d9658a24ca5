"""Telling people things, in the portal and by mail: written in the deciding transaction, each once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.rights import Action
from nexus_allocator.domain.states import NoticeKind
from nexus_allocator.services import outbox
from nexus_allocator.services.rights import themselves
from nexus_allocator.store import notices, teams
from nexus_allocator.store.session import announce
from nexus_allocator.store.tables import Account

MOST_SHOWN = 20


@dataclass(frozen=True)
class Told:
    id: UUID
    kind: NoticeKind
    facts: Mapping[str, Any]
    at: datetime


def tell(
    session: Session,
    person_id: UUID,
    kind: NoticeKind,
    *,
    key: str,
    facts: Mapping[str, Any],
    now: datetime,
) -> bool:
    """Leave a notice for a person, in the portal and by mail as they chose; say whether it is new.

    One with this key that was left before stays the only one.
    """
    whole_key = f"{key}/{person_id}"
    if notices.has(session, whole_key):
        return False
    notices.add(session, person_id, kind, key=whole_key, facts=facts, at=now)
    outbox.mail(session, person_id, kind, key=whole_key, facts=facts, now=now)
    announce(session, "notice_left", person_id=person_id, kind=kind)
    return True


def owners(session: Session, account: Account) -> Sequence[UUID]:
    """Return who is told about an account: its person, or who leads and manages its team."""
    if account.person_id is not None:
        return [account.person_id]
    assert account.team_id is not None  # noqa: S101 - the table has one owner
    return teams.leading(session, account.team_id)


def unread(session: Session, *, hub_name: str) -> list[Told]:
    """Return what a person was told and has not put away, the latest first. Raises UnknownPerson."""
    rows = notices.unread(session, themselves(session, hub_name, Action.NOTICE_SEE).id, limit=MOST_SHOWN)
    return [Told(row.id, row.kind, row.facts, row.at) for row in rows]


def put_away(session: Session, notice_id: UUID, *, hub_name: str, now: datetime) -> None:
    """Show this notice no more; another's, or one that is gone, is left as it is."""
    person = themselves(session, hub_name, Action.NOTICE_PUT_AWAY)
    found = notices.of_person(session, person.id, notice_id)
    if found is not None and found.read_at is None:
        found.read_at = now
