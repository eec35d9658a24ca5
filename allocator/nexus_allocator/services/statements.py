"""An account's statement between two days, as figures and as CSV."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.credits import exact
from nexus_allocator.domain.errors import BadDate, UnknownAccount
from nexus_allocator.domain.statements import Line, Movement, Reserved, lines, safe_cell
from nexus_allocator.services import rates
from nexus_allocator.services.records import PERSON
from nexus_allocator.store import accounts, ledger, people
from nexus_allocator.store.tables import Account, Entry, Hold

LONGEST_DAYS = 3660
# A statement's end is the midnight after its last day, which must still be a date.
LAST_DAY = date.max - timedelta(days=1)


@dataclass(frozen=True)
class Statement:
    """``opening_micro`` and the lines add up to ``closing_micro``."""

    account: str
    first: date
    last: date
    opening_micro: int
    closing_micro: int
    lines: tuple[Line, ...]


def of_account(session: Session, *, slug: str, first: date, last: date) -> Statement:
    """Return the statement of whole UTC days, both included. Raises UnknownAccount, BadDate."""
    account, since, until = span(session, slug, first, last)
    rows = ledger.between(session, account.allocation.id, since=since, until=until)
    opening = ledger.balance_before(session, account.allocation.id, since)
    found = lines((_movement(entry, amount, hold) for entry, amount, hold in rows), rates.cards(session))
    closing = opening + sum(line.amount_micro for line in found)
    return Statement(account.slug, first, last, opening, closing, tuple(found))


def as_csv(statement: Statement) -> str:
    """Return the statement's lines between its opening and closing balance."""
    rows = [[line.day.isoformat(), line.resource.value, exact(line.amount_micro)] for line in statement.lines]
    opening = [statement.first.isoformat(), "opening balance", exact(statement.opening_micro)]
    closing = [statement.last.isoformat(), "closing balance", exact(statement.closing_micro)]
    return _csv(
        [
            ["account", "day", "what", "credits"],
            *([statement.account, *row] for row in [opening, *rows, closing]),
        ]
    )


def entries_csv(session: Session, *, slug: str, first: date, last: date) -> str:
    """Return the account's single entries of these days. Raises UnknownAccount, BadDate."""
    account, since, until = span(session, slug, first, last)
    rows = ledger.between(session, account.allocation.id, since=since, until=until)
    head = ["at", "kind", "credits", "reason", "by", "size", "server", "rate card"]
    names = _signed(session, [entry.actor for entry, _, _ in rows])
    return _csv([head, *(_entry_row(entry, amount, hold, names) for entry, amount, hold in rows)])


def _signed(session: Session, actors: Iterable[str]) -> dict[str, str]:
    """Return the names that the signatures of people stand for now."""
    ids = {actor: UUID(actor.removeprefix(PERSON)) for actor in actors if actor.startswith(PERSON)}
    names = people.hub_names(session, ids.values())
    return {actor: names.get(person_id, actor) for actor, person_id in ids.items()}


def _entry_row(entry: Entry, amount: int, hold: Hold | None, names: Mapping[str, str]) -> list[str]:
    size, server = (hold.size, hold.server_name) if hold else ("", "")
    card = "" if entry.rate_card_version is None else str(entry.rate_card_version)
    words = [
        safe_cell(entry.reason),
        safe_cell(names.get(entry.actor, entry.actor)),
        safe_cell(size),
        safe_cell(server),
    ]
    return [entry.at.isoformat(timespec="seconds"), entry.kind.value, exact(amount), *words, card]


def span(session: Session, slug: str, first: date, last: date) -> tuple[Account, datetime, datetime]:
    if last > LAST_DAY or not timedelta(0) <= last - first <= timedelta(days=LONGEST_DAYS):
        raise BadDate(date=last.isoformat(), must_be="on or after the first day and within ten years of it")
    account = accounts.by_slug(session, slug)
    if account is None:
        raise UnknownAccount(account=slug[:40])
    since = datetime.combine(first, time(), UTC)
    return account, since, datetime.combine(last, time(), UTC) + timedelta(days=1)


def _movement(entry: Entry, amount: int, hold: Hold | None) -> Movement:
    reserved = None
    if hold is not None:
        version = entry.rate_card_version or hold.rate_card_version
        reserved = Reserved(hold.cpu, hold.memory_bytes, hold.gpu, version)
    return Movement(entry.at.astimezone(UTC).date(), entry.kind, amount, reserved)


def _csv(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
