"""Gives the entries of a database from before the chains their links and checkpoints, in order of time."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from nexus_allocator.domain.chain import FIRST, Facts, link_hash
from nexus_allocator.domain.states import EntryKind
from nexus_allocator.store.base import Moment

BATCH = 1000
# As the ledger itself sets them when this migration was written.
LINKS_PER_CHECKPOINT = 64

entry = sa.table(
    "entry", sa.column("id", sa.Uuid), sa.column("kind", sa.Text), sa.column("key", sa.Text),
    sa.column("from_book_id", sa.Uuid), sa.column("to_book_id", sa.Uuid),
    sa.column("amount_micro", sa.BigInteger), sa.column("at", Moment), sa.column("hold_id", sa.Uuid),
    sa.column("actor", sa.Text), sa.column("reason", sa.Text),
)  # fmt: skip
book = sa.table("book", sa.column("id", sa.Uuid), sa.column("allocation_id", sa.Uuid))
link = sa.table(
    "link", sa.column("book_id", sa.Uuid), sa.column("number", sa.BigInteger), sa.column("entry_id", sa.Uuid),
    sa.column("amount_micro", sa.BigInteger), sa.column("hash", sa.Text),
)  # fmt: skip
checkpoint = sa.table(
    "checkpoint", sa.column("book_id", sa.Uuid), sa.column("number", sa.BigInteger), sa.column("at", Moment),
    sa.column("balance_micro", sa.BigInteger), sa.column("used_micro", sa.BigInteger),
)  # fmt: skip


@dataclass
class Chain:
    """One book's chain as far as it is written."""

    book_id: UUID
    number: int = 0
    hash: str = FIRST
    balance_micro: int = 0
    used_micro: int = 0

    def add(self, facts: Facts) -> dict[str, Any]:
        amount = facts.signed_micro(self.book_id)
        self.number += 1
        self.hash = link_hash(self.hash, self.book_id, self.number, facts)
        self.balance_micro += amount
        self.used_micro -= amount if facts.hold_id else 0
        return {
            "book_id": self.book_id, "number": self.number, "entry_id": facts.entry_id,
            "amount_micro": amount, "hash": self.hash,
        }  # fmt: skip

    def checkpoint(self, at: datetime) -> dict[str, Any]:
        return {
            "book_id": self.book_id, "number": self.number, "at": at, "balance_micro": self.balance_micro,
            "used_micro": self.used_micro,
        }  # fmt: skip


def chain_all_entries(connection: sa.Connection) -> None:
    """Write a link per entry and allocation's book, and a checkpoint each sixty-four."""
    owned = sa.select(book.c.id).where(book.c.allocation_id.is_not(None))
    chains = {book_id: Chain(book_id) for book_id in connection.scalars(owned)}
    in_order = sa.select(entry).order_by(entry.c.at, entry.c.id)
    rows = connection.execute(in_order.execution_options(yield_per=BATCH))
    for batch in rows.partitions(BATCH):
        links: list[dict[str, Any]] = []
        checkpoints: list[dict[str, Any]] = []
        for facts in map(_facts, batch):
            for chain in _chains_of(facts, chains):
                links.append(chain.add(facts))
                if chain.number % LINKS_PER_CHECKPOINT == 0:
                    checkpoints.append(chain.checkpoint(facts.at))
        _insert(connection, link, links)
        _insert(connection, checkpoint, checkpoints)


def _facts(row: sa.Row[Any]) -> Facts:
    return Facts(
        entry_id=row.id, kind=EntryKind(row.kind), key=row.key, from_book_id=row.from_book_id,
        to_book_id=row.to_book_id, amount_micro=row.amount_micro, at=row.at, hold_id=row.hold_id,
        actor=row.actor, reason=row.reason, rate_card_version=None,
    )  # fmt: skip


def _chains_of(facts: Facts, chains: dict[UUID, Chain]) -> list[Chain]:
    return [chains[side] for side in (facts.from_book_id, facts.to_book_id) if side in chains]


def _insert(connection: sa.Connection, table: sa.TableClause, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(sa.insert(table), rows)
