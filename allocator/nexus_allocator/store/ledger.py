"""The ledger: entries are appended and summed, never changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ScalarSelect, case, func, select
from sqlalchemy.orm import Session

from nexus_allocator.domain.states import LIVE, BookKind, EntryKind
from nexus_allocator.store import chains
from nexus_allocator.store.tables import Book, Entry, Hold, Link

PLATFORM_BOOK = {
    EntryKind.GRANT: BookKind.GRANTED,
    EntryKind.USAGE: BookKind.USED,
    EntryKind.STORAGE: BookKind.USED,
    EntryKind.CORRECTION: BookKind.CORRECTED,
    EntryKind.LAPSE: BookKind.GRANTED,
}


@dataclass(frozen=True)
class Spent:
    """In micro-credits: the balance, the use posted since the last grant, and the use not posted yet."""

    balance: int
    used_since_grant: int
    unposted: int


def open_book(session: Session, allocation_id: UUID) -> None:
    """Give a new allocation its book."""
    session.add(Book(kind=BookKind.ALLOCATION, allocation_id=allocation_id))
    session.flush()


def append(
    session: Session,
    allocation_id: UUID,
    amount_micro: int,
    *,
    kind: EntryKind,
    key: str,
    at: datetime,
    actor: str,
    reason: str,
    hold_id: UUID | None = None,
    rate_card_version: int | None = None,
) -> Entry:
    """Append one entry: a positive amount goes to the allocation, a negative one leaves it.

    The caller holds the allocation's lock, because the entry joins its chain. ``key`` names what the
    entry is for; a second entry of the same key raises IntegrityError.
    """
    own = _book_of(session, allocation_id)
    platform = session.scalars(select(Book.id).where(Book.kind == PLATFORM_BOOK[kind])).one()
    source, target = (platform, own) if amount_micro > 0 else (own, platform)
    entry = Entry(
        kind=kind, key=key, from_book_id=source, to_book_id=target, amount_micro=abs(amount_micro),
        at=at, hold_id=hold_id, actor=actor, reason=reason, rate_card_version=rate_card_version,
    )  # fmt: skip
    return _written(session, entry, own)


def transfer(
    session: Session,
    source_id: UUID,
    target_id: UUID,
    amount_micro: int,
    *,
    key: str,
    at: datetime,
    actor: str,
    reason: str,
) -> Entry:
    """Move credits from one allocation to another in one entry. The caller holds both locks."""
    source, target = _book_of(session, source_id), _book_of(session, target_id)
    entry = Entry(
        kind=EntryKind.TRANSFER, key=key, from_book_id=source, to_book_id=target, amount_micro=amount_micro,
        at=at, hold_id=None, actor=actor, reason=reason, rate_card_version=None,
    )  # fmt: skip
    return _written(session, entry, source, target)


def _written(session: Session, entry: Entry, *chained: UUID) -> Entry:
    session.add(entry)
    session.flush()
    for book_id in chained:
        chains.append(session, book_id, entry)
    return entry


def _book_of(session: Session, allocation_id: UUID) -> UUID:
    return session.scalars(select(Book.id).where(Book.allocation_id == allocation_id)).one()


def balance(session: Session, allocation_id: UUID) -> int:
    """Return the sum of the allocation's entries in micro-credits: the last checkpoint's and those after."""
    found = select(chains.balance_of_book()).where(Book.allocation_id == allocation_id)
    return int(session.scalars(found).one())


def balance_of_book(session: Session, book_id: UUID) -> int:
    found = select(chains.balance_of_book()).where(Book.id == book_id)
    return int(session.scalars(found).one())


def held(session: Session, allocation_id: UUID) -> int:
    """Return what open holds keep from being spent: their amount, or their usage once larger, unposted."""
    kept = case((Hold.usage_micro > Hold.amount_micro, Hold.usage_micro), else_=Hold.amount_micro)
    total = select(func.coalesce(func.sum(kept - Hold.posted_micro), 0))
    return int(session.scalars(total.where(Hold.allocation_id == allocation_id, Hold.state.in_(LIVE))).one())


def unposted(session: Session, allocation_id: UUID) -> int:
    """Return the usage that running readings show and the ledger does not yet."""
    total = select(func.coalesce(func.sum(Hold.usage_micro - Hold.posted_micro), 0))
    return int(session.scalars(total.where(Hold.allocation_id == allocation_id, Hold.state.in_(LIVE))).one())


def spent(session: Session, allocation_ids: Sequence[UUID]) -> dict[UUID, Spent]:
    """Return of each allocation its balance and what of it was used, all in one statement."""
    granted = select(Link.number).join(Entry, Entry.id == Link.entry_id).where(Link.book_id == Book.id)
    grants = granted.where(Entry.to_book_id == Book.id, Entry.kind == EntryKind.GRANT).correlate(Book)
    last = grants.order_by(Entry.at.desc(), Link.number.desc()).limit(1).scalar_subquery()
    running = select(func.coalesce(func.sum(Hold.usage_micro - Hold.posted_micro), 0)).where(
        Hold.allocation_id == Book.allocation_id, Hold.state.in_(LIVE)
    )
    # The offset keeps PostgreSQL from looking the last grant up anew for each of its uses.
    books = select(
        Book.id, Book.allocation_id, chains.balance_of_book().label("balance"),
        chains.used_of_book().label("used"), last.label("granted"),
        running.correlate(Book).scalar_subquery().label("unposted"),
    ).where(Book.allocation_id.in_(allocation_ids)).offset(0).subquery()  # fmt: skip
    since = books.c.used - chains.used_until(books.c.id, books.c.granted)
    rows = session.execute(select(books.c.allocation_id, books.c.balance, since, books.c.unposted))
    return {row[0]: Spent(*map(int, row[1:])) for row in rows}


def entries(session: Session, allocation_id: UUID, *, limit: int, offset: int) -> Sequence[tuple[Entry, int]]:
    """Return the allocation's entries, newest first, each with its signed amount."""
    book = _book_of(session, allocation_id)
    found = select(Entry).where((Entry.from_book_id == book) | (Entry.to_book_id == book))
    newest = session.scalars(found.order_by(Entry.at.desc(), Entry.id).limit(limit).offset(offset))
    return [
        (entry, entry.amount_micro if entry.to_book_id == book else -entry.amount_micro) for entry in newest
    ]


def posted_of_holds(session: Session, hold_ids: Sequence[UUID]) -> dict[UUID, int]:
    """Return what the ledger says each of these holds has been charged."""
    signed = case((Book.kind == BookKind.ALLOCATION, Entry.amount_micro), else_=-Entry.amount_micro)
    found = select(Entry.hold_id, func.sum(signed)).join(Book, Book.id == Entry.from_book_id)
    rows = session.execute(found.where(Entry.hold_id.in_(hold_ids)).group_by(Entry.hold_id))
    return {hold_id: int(total) for hold_id, total in rows if hold_id is not None}


def between(
    session: Session, allocation_id: UUID, *, since: datetime, until: datetime
) -> Sequence[tuple[Entry, int, Hold | None]]:
    """Return the allocation's entries from ``since`` to before ``until``, oldest first.

    Each with its signed amount and the hold it is about.
    """
    book = _book_of(session, allocation_id)
    found = select(Entry, Link.amount_micro, Hold).join(Link, Link.entry_id == Entry.id)
    mine = found.outerjoin(Hold, Hold.id == Entry.hold_id).where(Link.book_id == book)
    rows = session.execute(mine.where(Entry.at >= since, Entry.at < until).order_by(Link.number))
    return [(entry, amount, hold) for entry, amount, hold in rows]


def balance_before(session: Session, allocation_id: UUID, moment: datetime) -> int:
    """Return the sum of the allocation's entries dated before ``moment``."""
    book = _book_of(session, allocation_id)
    found = select(func.coalesce(func.sum(Link.amount_micro), 0)).join(Entry, Entry.id == Link.entry_id)
    return int(session.scalars(found.where(Link.book_id == book, Entry.at < moment)).one())


def has_entry(session: Session, key: str) -> bool:
    return session.scalar(select(Entry.id).where(Entry.key == key)) is not None


def used_by_all(session: Session, *, since: datetime) -> int:
    """Return what all servers and storage used, as posted from ``since`` on, less what was given back."""
    total = select(func.coalesce(func.sum(Entry.amount_micro), 0)).where(Entry.at >= since)
    used = total.where(Entry.to_book_id == _platform_book(BookKind.USED))
    back = total.where(Entry.from_book_id == _platform_book(BookKind.CORRECTED), Entry.hold_id.is_not(None))
    return int(session.scalars(used).one()) - int(session.scalars(back).one())


def _platform_book(kind: BookKind) -> ScalarSelect[UUID]:
    return select(Book.id).where(Book.kind == kind).scalar_subquery()


def unposted_of_all(session: Session) -> int:
    """Return the usage of all running servers that the ledger does not show yet."""
    total = select(func.coalesce(func.sum(Hold.usage_micro - Hold.posted_micro), 0))
    return int(session.scalars(total.where(Hold.state.in_(LIVE))).one())


def platform_total(session: Session) -> int:
    """Return the sum of the platform's own books: minus what all allocations hold together."""
    total = func.coalesce(func.sum(Entry.amount_micro), 0)
    own = Book.allocation_id.is_(None)
    came = select(total).join(Book, Book.id == Entry.to_book_id).where(own).scalar_subquery()
    went = select(total).join(Book, Book.id == Entry.from_book_id).where(own).scalar_subquery()
    return int(session.scalars(select(came - went)).one())
