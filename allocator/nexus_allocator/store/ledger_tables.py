"""The ledger: entries never change (triggers forbid it); what shortens their sums is derived."""

from datetime import date, datetime
from uuid import UUID, uuid4

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from nexus_allocator.domain.states import BookKind, EntryKind
from nexus_allocator.store.base import Base, Word


class Book(Base):
    """One side of an entry: an allocation's book, or one of the platform's."""

    __tablename__ = "book"
    __table_args__ = (
        CheckConstraint("(kind = 'allocation') = (allocation_id IS NOT NULL)", name="owner"),
        UniqueConstraint("allocation_id"),
        Index(
            "ix_book_platform",
            "kind",
            unique=True,
            sqlite_where=text("allocation_id IS NULL"),
            postgresql_where=text("allocation_id IS NULL"),
        ),
    )
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    kind: Mapped[BookKind] = mapped_column(Word(BookKind))
    allocation_id: Mapped[UUID | None] = mapped_column(ForeignKey("allocation.id"))


class Entry(Base):
    """One movement of credits from one book to another: double-entry in one row, so it can't be unbalanced.

    ``key`` says what the entry is for; writing the same thing twice is refused by the database.
    """

    __tablename__ = "entry"
    __table_args__ = (
        CheckConstraint("amount_micro > 0", name="positive"),
        CheckConstraint("from_book_id <> to_book_id", name="two_books"),
        Index("ix_entry_from", "from_book_id", "at"),
        Index("ix_entry_to", "to_book_id", "at"),
        *(
            Index(
                f"ix_entry_{side}_without_hold",
                f"{side}_book_id",
                "at",
                sqlite_where=text("hold_id IS NULL"),
                postgresql_where=text("hold_id IS NULL"),
            )
            for side in ("from", "to")
        ),
    )
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    kind: Mapped[EntryKind] = mapped_column(Word(EntryKind))
    key: Mapped[str] = mapped_column(Text, unique=True)
    from_book_id: Mapped[UUID] = mapped_column(ForeignKey("book.id"))
    to_book_id: Mapped[UUID] = mapped_column(ForeignKey("book.id"))
    amount_micro: Mapped[int]
    at: Mapped[datetime]
    hold_id: Mapped[UUID | None] = mapped_column(ForeignKey("hold.id"), index=True)
    actor: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    rate_card_version: Mapped[int | None]


class Link(Base):
    """An entry's place in the chain of one allocation's book; a transfer stands in two chains.

    The platform's own books have no chain: it would make every append wait for every other.
    """

    __tablename__ = "link"
    __table_args__ = (UniqueConstraint("entry_id", "book_id"),)
    book_id: Mapped[UUID] = mapped_column(ForeignKey("book.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    entry_id: Mapped[UUID] = mapped_column(ForeignKey("entry.id"))
    amount_micro: Mapped[int]
    hash: Mapped[str] = mapped_column(Text)


class Checkpoint(Base):
    """A book's sums up to one link, derived from its entries so that a balance adds up few rows."""

    __tablename__ = "checkpoint"
    book_id: Mapped[UUID] = mapped_column(ForeignKey("book.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    balance_micro: Mapped[int]
    used_micro: Mapped[int]


class PlatformDay(Base):
    """What servers cost on one UTC day in all accounts, derived from the entries so that a page adds up few.

    The day that was kept ``at`` a moment says what was left then in so many ``running`` allocations.
    """

    __tablename__ = "platform_day"
    day: Mapped[date] = mapped_column(primary_key=True)
    spent_micro: Mapped[int]
    at: Mapped[datetime | None]
    running: Mapped[int | None]
    left_micro: Mapped[int | None]


class RateCardRow(Base):
    """A rate card as it was when first used; a version's rates never change."""

    __tablename__ = "rate_card"
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    first_used_at: Mapped[datetime]
    rates: Mapped[dict[str, int]] = mapped_column(JSON)
