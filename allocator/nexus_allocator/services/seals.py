"""Seals: the heads of all chains, written once a day where the database's owner can't reach them."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.clients.seals import SealFolder
from nexus_allocator.domain.chain import FIRST, Head, Seal
from nexus_allocator.store import chains


def seal_day(session: Session, folder: SealFolder, *, now: datetime) -> Seal | None:
    """Write the seal of ``now``'s UTC day with the heads that moved; None when the day has one already."""
    earlier = folder.read_all()
    if earlier and earlier[-1].at.astimezone(UTC).date() >= now.astimezone(UTC).date():
        return None
    known = {book_id: heads[-1] for book_id, heads in folded(earlier).items()}
    moved = tuple(head for head in chains.heads(session) if known.get(head.book_id) != head)
    seal = Seal(now, earlier[-1].digest if earlier else FIRST, moved)
    folder.write(seal)
    return seal


def folded(seals: Sequence[Seal]) -> dict[UUID, list[Head]]:
    """Return each book's sealed heads, oldest first."""
    books: dict[UUID, list[Head]] = {}
    for seal in seals:
        for head in seal.heads:
            books.setdefault(head.book_id, []).append(head)
    return books


def forged(seals: Sequence[Seal]) -> Iterator[str]:
    """Yield the days whose seal does not name the digest of the seal before it."""
    previous = FIRST
    for seal in seals:
        if seal.previous != previous:
            yield seal.at.date().isoformat()
        previous = seal.digest
