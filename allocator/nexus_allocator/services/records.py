"""The one function that records a decision or a change, in the transaction that makes it.

A record holds ids and figures; names stand in the table of people alone and are looked up when it is read.
Launches and what they cost have their own: a hold each, and the ledger.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.records import ABOUT, NEXUS, OPERATOR, Act, ActorKind
from nexus_allocator.store import people, records
from nexus_allocator.store.record_tables import Record
from nexus_allocator.store.session import announce

By = UUID | str
# What stands before a person's id in a signature.
PERSON = "person "


def record(
    session: Session,
    act: Act,
    about_id: UUID | None,
    *,
    by: By,
    now: datetime,
    person_id: UUID | None = None,
    reason: str | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Keep what was done, and log it once committed.

    ``by`` is a person's id, or a word: a hub name, ``operator …`` for the command line, else the Nexus.
    ``person_id`` is whom it concerns, where that is not what the act is about.
    """
    kind, actor_id, name = _who(session, by)
    row = Record(
        at=now, act=act, about=ABOUT[act], about_id=about_id, actor=kind, actor_id=actor_id, actor_name=name,
        person_id=person_id, reason=reason, before=_facts(before), after=_facts(after),
    )  # fmt: skip
    records.add(session, row)
    announce(session, act, about_id=about_id, actor=actor_id or name, person_id=person_id, **(after or {}))


def signature(session: Session, by: str) -> str:
    """Return how an entry that nobody can alter names who made it: a person by id, others by their word."""
    kind, actor_id, name = _who(session, by)
    return f"{PERSON}{actor_id}" if kind is ActorKind.PERSON else name or kind


def _who(session: Session, by: By) -> tuple[ActorKind, UUID | None, str | None]:
    if isinstance(by, UUID):
        return ActorKind.PERSON, by, None
    if by.split(" ", 1)[0] == OPERATOR:
        return ActorKind.OPERATOR, None, by[:64]
    person = None if by == NEXUS else people.by_hub_name(session, by)
    if person is not None:
        return ActorKind.PERSON, person.id, None
    return ActorKind.NEXUS, None, by[:64]


def _facts(facts: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the facts as JSON keeps them: ids and moments as text."""
    if facts is None:
        return None
    return {name: _plain(value) for name, value in facts.items()}


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value
