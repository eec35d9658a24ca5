"""Links of the accounts' chains, and the checkpoints that shorten their sums."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from nexus_allocator.domain.chain import FIRST, Facts, Head, link_hash
from nexus_allocator.domain.states import EntryKind
from nexus_allocator.store.tables import Book, Checkpoint, Entry, Link

# A balance adds up at most this many links to its checkpoint, however long the history is.
LINKS_PER_CHECKPOINT = 64
BATCH = 1000


def facts_of(entry: Entry) -> Facts:
    return Facts(
        entry_id=entry.id, kind=entry.kind, key=entry.key, from_book_id=entry.from_book_id,
        to_book_id=entry.to_book_id, amount_micro=entry.amount_micro, at=entry.at, hold_id=entry.hold_id,
        actor=entry.actor, reason=entry.reason, rate_card_version=entry.rate_card_version,
    )  # fmt: skip


def append(session: Session, book_id: UUID, entry: Entry) -> None:
    """Add the entry to the book's chain. The caller holds the allocation's lock."""
    last = session.execute(_last(book_id)).one_or_none()
    number, previous = (last.number + 1, last.hash) if last else (1, FIRST)
    facts = facts_of(entry)
    session.add(
        Link(
            book_id=book_id,
            number=number,
            entry_id=entry.id,
            amount_micro=facts.signed_micro(book_id),
            hash=link_hash(previous, book_id, number, facts),
        )
    )
    session.flush()
    if number % LINKS_PER_CHECKPOINT == 0:
        _add_checkpoint(session, book_id, number, at=entry.at)


def _last(book_id: UUID) -> Select[int, str]:
    found = select(Link.number, Link.hash).where(Link.book_id == book_id)
    return found.order_by(Link.number.desc()).limit(1)


def _add_checkpoint(session: Session, book_id: UUID, number: int, *, at: datetime) -> None:
    sums = select(balance_of_book(), used_of_book()).where(Book.id == book_id)
    balance, used = session.execute(sums).one()
    session.add(Checkpoint(book_id=book_id, number=number, at=at, balance_micro=balance, used_micro=used))
    session.flush()


def balance_of_book() -> ColumnElement[int]:
    """Return SQL for a book's balance in a query over Book: the last checkpoint's and the links after it."""
    return _kept(Checkpoint.balance_micro) + _tail().scalar_subquery()


def used_of_book() -> ColumnElement[int]:
    """Return SQL for what servers and storage used of a book, in a query over Book."""
    tail = _tail().join(Entry, Entry.id == Link.entry_id).where(is_use())
    return _kept(Checkpoint.used_micro) - tail.scalar_subquery()


def is_use() -> ColumnElement[bool]:
    """Return SQL for whether an entry is what a server or storage cost, or what was given back of it."""
    return or_(Entry.hold_id.is_not(None), Entry.kind == EntryKind.STORAGE)


def used_until(book_id: ColumnElement[UUID], number: ColumnElement[int]) -> ColumnElement[int]:
    """Return SQL for what servers and storage had used of a book up to one link; of no link, nothing."""
    before = select(Checkpoint.used_micro).where(Checkpoint.book_id == book_id, Checkpoint.number <= number)
    latest = before.order_by(Checkpoint.number.desc()).limit(1)
    first = func.coalesce(latest.with_only_columns(Checkpoint.number).scalar_subquery(), 0)
    links = select(func.coalesce(func.sum(Link.amount_micro), 0)).where(Link.book_id == book_id)
    rest = links.where(Link.number > first, Link.number <= number)
    tail = rest.join(Entry, Entry.id == Link.entry_id).where(is_use()).scalar_subquery()
    return func.coalesce(latest.scalar_subquery(), 0) - tail


def _kept(column: InstrumentedAttribute[int]) -> ColumnElement[int]:
    latest = select(column).where(Checkpoint.book_id == Book.id).correlate(Book)
    return func.coalesce(latest.order_by(Checkpoint.number.desc()).limit(1).scalar_subquery(), 0)


def _tail() -> Select[int]:
    links = select(func.coalesce(func.sum(Link.amount_micro), 0)).where(Link.book_id == Book.id)
    return links.where(Link.number > _kept(Checkpoint.number)).correlate(Book)


def books(session: Session) -> Sequence[tuple[UUID, UUID]]:
    """Return every allocation's book as (book, allocation), in one order."""
    found = select(Book.id, Book.allocation_id).where(Book.allocation_id.is_not(None)).order_by(Book.id)
    return [(row[0], row[1]) for row in session.execute(found) if row[1] is not None]


def links(session: Session, book_id: UUID) -> Iterator[tuple[Link, Entry]]:
    """Yield the book's links with their entries, in order."""
    found = select(Link, Entry).join(Entry, Entry.id == Link.entry_id).where(Link.book_id == book_id)
    after = -(2**62)
    while batch := session.execute(found.where(Link.number > after).order_by(Link.number).limit(BATCH)).all():
        yield from ((link, entry) for link, entry in batch)
        after = batch[-1][0].number
        session.expunge_all()


def checkpoints(session: Session, book_id: UUID) -> dict[int, tuple[int, int]]:
    """Return the book's checkpoints: number → (balance, used)."""
    found = select(Checkpoint).where(Checkpoint.book_id == book_id)
    return {row.number: (row.balance_micro, row.used_micro) for row in session.scalars(found)}


def heads(session: Session) -> Sequence[Head]:
    """Return the last link of every chain, ordered by book."""
    last = select(Link.book_id, func.max(Link.number).label("number")).group_by(Link.book_id).subquery()
    at_last = (Link.book_id == last.c.book_id) & (Link.number == last.c.number)
    found = select(Link.book_id, Link.number, Link.hash).join(last, at_last).order_by(Link.book_id)
    return [Head(*row) for row in session.execute(found)]


def unlinked(session: Session) -> int:
    """Return how many entries are missing in the chain of an allocation that they belong to."""
    in_chain = select(Link.entry_id).where(Link.entry_id == Entry.id, Link.book_id == Book.id)
    side = or_(Book.id == Entry.from_book_id, Book.id == Entry.to_book_id)
    missing = select(func.count()).select_from(Entry).join(Book, side)
    return session.scalars(missing.where(Book.allocation_id.is_not(None), ~in_chain.exists())).one()
