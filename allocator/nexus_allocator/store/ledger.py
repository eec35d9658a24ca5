"""The ledger: entries are appended and summed, never changed."""

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from nexus_allocator.domain.states import LIVE, BookKind, EntryKind
from nexus_allocator.store.tables import Book, Entry, Hold

PLATFORM_BOOK = {
    EntryKind.GRANT: BookKind.GRANTED,
    EntryKind.USAGE: BookKind.USED,
    EntryKind.CORRECTION: BookKind.CORRECTED,
}


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
) -> Entry:
    """Append one entry: a positive amount goes to the allocation, a negative one leaves it.

    ``key`` names what the entry is for; a second entry of the same key raises IntegrityError.
    """
    own = session.scalars(select(Book.id).where(Book.allocation_id == allocation_id)).one()
    platform = session.scalars(select(Book.id).where(Book.kind == PLATFORM_BOOK[kind])).one()
    source, target = (platform, own) if amount_micro > 0 else (own, platform)
    entry = Entry(
        kind=kind, key=key, from_book_id=source, to_book_id=target, amount_micro=abs(amount_micro),
        at=at, hold_id=hold_id, actor=actor, reason=reason,
    )  # fmt: skip
    session.add(entry)
    session.flush()
    return entry


def balance(session: Session, allocation_id: UUID) -> int:
    """Return the sum of the allocation's entries in micro-credits."""
    book = select(Book.id).where(Book.allocation_id == allocation_id).scalar_subquery()
    total = func.coalesce(func.sum(Entry.amount_micro), 0)
    came = select(total).where(Entry.to_book_id == book).scalar_subquery()
    went = select(total).where(Entry.from_book_id == book).scalar_subquery()
    return int(session.scalars(select(came - went)).one())


def held(session: Session, allocation_id: UUID) -> int:
    """Return what open holds keep from being spent: their amount, or their usage once larger, unposted."""
    kept = case((Hold.usage_micro > Hold.amount_micro, Hold.usage_micro), else_=Hold.amount_micro)
    total = select(func.coalesce(func.sum(kept - Hold.posted_micro), 0))
    return int(session.scalars(total.where(Hold.allocation_id == allocation_id, Hold.state.in_(LIVE))).one())


def unposted(session: Session, allocation_id: UUID) -> int:
    """Return the usage that running readings show and the ledger does not yet."""
    total = select(func.coalesce(func.sum(Hold.usage_micro - Hold.posted_micro), 0))
    return int(session.scalars(total.where(Hold.allocation_id == allocation_id, Hold.state.in_(LIVE))).one())


def spent_by_day(session: Session, allocation_id: UUID, *, since: datetime) -> dict[date, int]:
    """Return posted usage per UTC day; a correction of a hold's usage counts against its day."""
    book = session.scalars(select(Book.id).where(Book.allocation_id == allocation_id)).one()
    day = func.date(Entry.at)
    signed = case((Entry.from_book_id == book, Entry.amount_micro), else_=-Entry.amount_micro)
    found = (
        select(day, func.sum(signed))
        .where((Entry.from_book_id == book) | (Entry.to_book_id == book))
        .where(Entry.at >= since, Entry.hold_id.is_not(None))
        .group_by(day)
    )
    # SQLite gives the day as text, PostgreSQL as a date.
    return {date.fromisoformat(str(when)): int(total) for when, total in session.execute(found)}


def entries(session: Session, allocation_id: UUID, *, limit: int, offset: int) -> Sequence[tuple[Entry, int]]:
    """Return the allocation's entries, newest first, each with its signed amount."""
    book = session.scalars(select(Book.id).where(Book.allocation_id == allocation_id)).one()
    found = select(Entry).where((Entry.from_book_id == book) | (Entry.to_book_id == book))
    newest = session.scalars(found.order_by(Entry.at.desc(), Entry.id).limit(limit).offset(offset))
    return [
        (entry, entry.amount_micro if entry.to_book_id == book else -entry.amount_micro) for entry in newest
    ]


def posted_of_hold(session: Session, hold_id: UUID) -> int:
    """Return what the ledger says one hold has been charged."""
    signed = case((Book.kind == BookKind.ALLOCATION, Entry.amount_micro), else_=-Entry.amount_micro)
    found = select(func.coalesce(func.sum(signed), 0)).join(Book, Book.id == Entry.from_book_id)
    return int(session.scalars(found.where(Entry.hold_id == hold_id)).one())


def has_entry(session: Session, key: str) -> bool:
    return session.scalar(select(Entry.id).where(Entry.key == key)) is not None


def platform_total(session: Session) -> int:
    """Return the sum of the platform's own books: minus what all allocations hold together."""
    total = func.coalesce(func.sum(Entry.amount_micro), 0)
    own = Book.allocation_id.is_(None)
    came = select(total).join(Book, Book.id == Entry.to_book_id).where(own).scalar_subquery()
    went = select(total).join(Book, Book.id == Entry.from_book_id).where(own).scalar_subquery()
    return int(session.scalars(select(came - went)).one())
