"""Reading the log of decisions and changes: a page of it, and all of it as CSV or as lines of JSON."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.records import About, Act, ActorKind
from nexus_allocator.domain.statements import safe_cell
from nexus_allocator.store import people, records
from nexus_allocator.store.record_tables import Record
from nexus_allocator.store.records import Wanted

PAGE = 50
COLUMNS = ("number", "at", "actor", "by", "act", "about", "what", "person", "reason", "before", "after",
           "actor_id", "about_id", "person_id")  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One record with the names that its ids have now; ``what`` is a name or an id."""

    number: int
    at: datetime
    actor: ActorKind
    by: str
    act: Act
    about: About
    what: str
    person: str
    reason: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    actor_id: UUID | None
    about_id: UUID | None
    person_id: UUID | None

    @property
    def changes(self) -> tuple[tuple[str, object, object], ...]:
        """Each fact with what it was and what it became."""
        names = dict.fromkeys([*self.before, *self.after])
        return tuple((name, self.before.get(name), self.after.get(name)) for name in names)


@dataclass(frozen=True)
class Found:
    wanted: Wanted
    number: int
    total: int
    rows: tuple[Row, ...]

    @property
    def last(self) -> int:
        return max(1, -(-self.total // PAGE))


def page(session: Session, wanted: Wanted, *, number: int = 1) -> Found:
    """Return one page of what matches, the latest first; pages count from 1."""
    total, rows = records.page(session, wanted, limit=PAGE, offset=(number - 1) * PAGE)
    return Found(wanted, number, total, tuple(_rows(session, rows)))


def as_csv(session: Session, wanted: Wanted) -> Iterator[str]:
    """Yield what matches in the order it happened, as CSV that no spreadsheet runs."""
    yield _csv([COLUMNS])
    for batch in records.every(session, wanted):
        yield _csv([_cells(row) for row in _rows(session, batch)])


def as_json_lines(session: Session, wanted: Wanted) -> Iterator[str]:
    """Yield what matches in the order it happened, an object a line."""
    for batch in records.every(session, wanted):
        yield "".join(f"{json.dumps(_object(row))}\n" for row in _rows(session, batch))


def _rows(session: Session, rows: Sequence[Record]) -> list[Row]:
    who = {row.actor_id for row in rows} | {row.person_id for row in rows}
    who |= {row.about_id for row in rows if row.about is About.PERSON}
    names = people.hub_names(session, {each for each in who if each})
    for kind in (About.TEAM, About.ACCOUNT):
        ids = {row.about_id for row in rows if row.about is kind and row.about_id}
        names |= records.slugs(session, kind, ids) if ids else {}
    return [_row(row, names) for row in rows]


def _row(row: Record, names: Mapping[UUID, str]) -> Row:
    by = row.actor_name or _named(row.actor_id, names)
    return Row(
        number=row.number, at=row.at, actor=row.actor, by=by, act=row.act, about=row.about,
        what=_named(row.about_id, names), person=_named(row.person_id, names), reason=row.reason or "",
        before=row.before or {}, after=row.after or {}, actor_id=row.actor_id, about_id=row.about_id,
        person_id=row.person_id,
    )  # fmt: skip


def _named(found: UUID | None, names: Mapping[UUID, str]) -> str:
    return "" if found is None else names.get(found, str(found))


def _object(row: Row) -> dict[str, Any]:
    return {name: _plain(getattr(row, name)) for name in COLUMNS}


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def _cells(row: Row) -> list[str]:
    return [safe_cell(_cell(value)) for value in _object(row).values()]


def _cell(value: object) -> str:
    if isinstance(value, dict):
        return json.dumps(value) if value else ""
    return "" if value is None else str(value)


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
