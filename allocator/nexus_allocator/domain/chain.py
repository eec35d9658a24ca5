"""The hash chain of one account: each link covers the one before it, so history can't be rewritten."""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from nexus_allocator.domain.states import EntryKind

FIRST = "0" * 64


@dataclass(frozen=True)
class Facts:
    """Everything an entry says; the hash covers all of it."""

    entry_id: UUID
    kind: EntryKind
    key: str
    from_book_id: UUID
    to_book_id: UUID
    amount_micro: int
    at: datetime
    hold_id: UUID | None
    actor: str
    reason: str
    rate_card_version: int | None

    @property
    def is_use(self) -> bool:
        """Whether it is what a server or storage cost, or what was given back of it."""
        return self.hold_id is not None or self.kind is EntryKind.STORAGE

    def signed_micro(self, book_id: UUID) -> int:
        """Return what the entry adds to the book."""
        return self.amount_micro if self.to_book_id == book_id else -self.amount_micro


def link_hash(previous: str, book_id: UUID, number: int, facts: Facts) -> str:
    """Return the SHA-256 of a link in hexadecimal; ``number`` counts from 1, before which stands `FIRST`.

    What is hashed is a JSON list, so that no two sets of facts give the same text.
    """
    words = [
        previous, str(book_id), number, str(facts.entry_id), str(facts.kind), facts.key,
        str(facts.from_book_id), str(facts.to_book_id), facts.amount_micro,
        facts.at.astimezone(UTC).isoformat(timespec="microseconds"),
        None if facts.hold_id is None else str(facts.hold_id), facts.actor, facts.reason,
        facts.rate_card_version,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(words, ensure_ascii=True).encode()).hexdigest()


@dataclass(frozen=True)
class Head:
    """The last link of one account's chain."""

    book_id: UUID
    number: int
    hash: str


@dataclass(frozen=True)
class Seal:
    """Heads as they stood ``at`` one moment, kept outside the database; each seal covers the one before.

    Only heads that moved since the earlier seals are in it.
    """

    at: datetime
    previous: str
    heads: tuple[Head, ...]

    @property
    def digest(self) -> str:
        lines = [f"{head.book_id} {head.number} {head.hash}" for head in self.heads]
        text = "\n".join([self.previous, self.at.astimezone(UTC).isoformat(), *lines])
        return hashlib.sha256(text.encode()).hexdigest()
