"""What a replay reads of the ledger: servers that ran, grants, and allocations as they stood on a day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from nexus_allocator.domain.states import AccountKind, EntryKind, TierSlug
from nexus_allocator.store.tables import Account, Allocation, Book, Entry, Hold, Link, TierRequest


@dataclass(frozen=True)
class RanRow:
    allocation_id: UUID
    person_id: UUID
    size: str
    planned_minutes: int
    placed_at: datetime
    process_started_at: datetime | None
    last_seen_at: datetime | None
    earlier_s: float


@dataclass(frozen=True)
class GrantRow:
    """A grant; ``tier`` is the one it was given for, None for one made by hand."""

    allocation_id: UUID
    at: datetime
    amount_micro: int
    tier: TierSlug | None


@dataclass(frozen=True)
class AllocationRow:
    id: UUID
    kind: AccountKind
    tier: TierSlug
    expires_at: datetime


def ran_between(session: Session, *, since: datetime, until: datetime) -> Sequence[RanRow]:
    """Return the servers placed in that time whose process started, in the order of their launch."""
    columns = (
        Hold.allocation_id, Hold.person_id, Hold.size, Hold.planned_minutes, Hold.placed_at,
        Hold.process_started_at, Hold.last_seen_at, Hold.earlier_s,
    )  # fmt: skip
    found = select(*columns).where(Hold.placed_at >= since, Hold.placed_at < until)
    rows = session.execute(found.where(Hold.process_started_at.is_not(None)).order_by(Hold.placed_at))
    return [RanRow(*row) for row in rows]


def allocations(session: Session) -> Sequence[AllocationRow]:
    """Return every allocation as it stands now."""
    columns = (Allocation.id, Account.kind, Allocation.tier, Allocation.expires_at)
    rows = session.execute(select(*columns).join(Account, Account.id == Allocation.account_id))
    return [AllocationRow(*row) for row in rows]


def grants_between(session: Session, *, since: datetime, until: datetime) -> Sequence[GrantRow]:
    """Return the grants of that time. An account's first grant is for the tier it was opened in."""
    asked = select(TierRequest.id, TierRequest.tier)
    tiers = {f"grant/request/{row[0]}": TierSlug(row[1]) for row in session.execute(asked)}
    columns = (Book.allocation_id, Entry.at, Entry.amount_micro, Entry.key, Account.kind, Allocation.tier)
    found = (
        select(*columns)
        .join(Book, Book.id == Entry.to_book_id)
        .join(Allocation, Allocation.id == Book.allocation_id)
        .join(Account, Account.id == Allocation.account_id)
        .where(Entry.kind == EntryKind.GRANT, Entry.at >= since, Entry.at < until)
    )
    return [
        GrantRow(allocation_id, at, amount, tiers.get(key) or _opened_in(key, kind, tier))
        for allocation_id, at, amount, key, kind, tier in session.execute(found)
        if allocation_id is not None
    ]


def _opened_in(key: str, kind: AccountKind, tier: TierSlug) -> TierSlug | None:
    if not key.startswith("grant/open/"):
        return None
    return TierSlug.ENTRY if kind == AccountKind.PERSONAL else TierSlug(tier)


def balances_before(session: Session, moment: datetime) -> dict[UUID, int]:
    """Return what each allocation had left before ``moment``; those without entries then are left out."""
    found = select(Book.allocation_id, func.sum(Link.amount_micro)).join(Link, Link.book_id == Book.id)
    before = found.join(Entry, Entry.id == Link.entry_id).where(Entry.at < moment)
    rows = session.execute(before.group_by(Book.allocation_id))
    return {row[0]: int(row[1]) for row in rows if row[0] is not None}
