"""The log of decisions and changes: added to, searched and read whole, and the names that its ids have."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, String, cast, func, or_, select
from sqlalchemy.orm import Session

from nexus_allocator.domain.records import About, Act, ActorKind
from nexus_allocator.store.record_tables import Record
from nexus_allocator.store.tables import Account, Person, Team

BATCH = 500


@dataclass(frozen=True)
class Wanted:
    """What to look for; None and "" are everything. ``who`` is whom it was done by or to."""

    text: str = ""
    act: Act | None = None
    about: About | None = None
    actor: ActorKind | None = None
    who: str = ""
    since: datetime | None = None
    until: datetime | None = None


def add(session: Session, row: Record) -> None:
    session.add(row)


def page(session: Session, wanted: Wanted, *, limit: int, offset: int) -> tuple[int, Sequence[Record]]:
    """Return how many records match and some of them, the latest first."""
    found = _matching(session, wanted)
    total = session.scalars(select(func.count()).select_from(found.subquery())).one()
    return total, session.scalars(found.order_by(Record.number.desc()).limit(limit).offset(offset)).all()


def every(session: Session, wanted: Wanted) -> Iterator[Sequence[Record]]:
    """Yield all that match in the order they happened, a batch at a time."""
    last, found = 0, _matching(session, wanted).order_by(Record.number).limit(BATCH)
    while batch := session.scalars(found.where(Record.number > last)).all():
        yield batch
        last = batch[-1].number
        # Else every row that was streamed would be kept until the end.
        session.expunge_all()


def slugs(session: Session, kind: About, ids: set[UUID]) -> dict[UUID, str]:
    """Return the names that teams or accounts have now."""
    table: Any = {About.TEAM: Team, About.ACCOUNT: Account}[kind]
    return {row[0]: row[1] for row in session.execute(select(table.id, table.slug).where(table.id.in_(ids)))}


def _matching(session: Session, wanted: Wanted) -> Select[Record]:
    found = select(Record)
    for column, value in (
        (Record.act, wanted.act),
        (Record.about, wanted.about),
        (Record.actor, wanted.actor),
    ):
        if value is not None:
            found = found.where(column == value)
    if wanted.since is not None:
        found = found.where(Record.at >= wanted.since)
    if wanted.until is not None:
        found = found.where(Record.at < wanted.until)
    if wanted.who:
        found = found.where(_by_or_to(session, wanted.who))
    return found.where(_says(wanted.text)) if wanted.text else found


def _by_or_to(session: Session, hub_name: str) -> ColumnElement[bool]:
    ids = session.scalars(select(Person.id).where(Person.hub_name == hub_name)).all()
    named = or_(Record.actor_id.in_(ids), Record.person_id.in_(ids), Record.about_id.in_(ids))
    return or_(named, Record.actor_name == hub_name)


def _says(text: str) -> ColumnElement[bool]:
    """Say whether reason, facts, act or the operator's name hold the text, or it is the id of something."""
    holds: list[ColumnElement[bool]] = [
        cast(column, String).icontains(text, autoescape=True)
        for column in (Record.reason, Record.act, Record.actor_name, Record.before, Record.after)
    ]
    try:
        wanted = UUID(text)
    except ValueError:
        return or_(*holds)
    return or_(Record.about_id == wanted, Record.person_id == wanted, Record.actor_id == wanted, *holds)
