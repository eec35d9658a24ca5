"""GB-months reach the ledger by the day: what each place was last seen to hold, once for each UTC day.

A day is charged when it is over, from what the account has free then: storage never takes what is set aside
for a running server, nor makes a debt. What an account did not have is kept beside it, and nobody's to pay.
"""

from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.places import Usage
from nexus_allocator.domain.policy import RateCard
from nexus_allocator.domain.quotas import GB, day_micro
from nexus_allocator.domain.records import NEXUS
from nexus_allocator.domain.states import EntryKind
from nexus_allocator.store import accounts, ledger, places
from nexus_allocator.store.places_tables import PlaceDay, PlaceRow
from nexus_allocator.store.session import Database, announce

DAY = timedelta(days=1)
# After a longer silence the days before are given up: nobody should find a year's storage charged at once.
MOST_DAYS = 31


def charge_all(database: Database, *, card: RateCard, now: datetime) -> int:
    """Charge each place the days that are over and were not charged; return the sum in micro-credits."""
    with database.reading_scope() as session:
        wanted = places.made(session)
    total = 0
    for place_id in wanted:
        with database.session_scope() as session:
            total += charge(session, place_id, card=card, now=now)
    return total


def charge(session: Session, place_id: UUID, *, card: RateCard, now: datetime) -> int:
    """Charge one place; doing it again charges nothing. Return the sum in micro-credits."""
    row = places.by_id(session, place_id)
    if row is None or row.made_at is None:
        return 0
    accounts.lock(session, [row.account.allocation.id])
    return sum(_charge_day(session, row, day, card=card, now=now) for day in _days(session, row, now=now))


def _days(session: Session, row: PlaceRow, *, now: datetime) -> list[date]:
    """Return the days to charge: after the last one charged, or from when the place was made."""
    assert row.made_at is not None  # noqa: S101 - asked for by the caller
    today = now.astimezone(UTC).date()
    last = places.last_day(session, row.id)
    first = row.made_at.date() if last is None else last + DAY
    first = max(first, today - MOST_DAYS * DAY)
    return [first + number * DAY for number in range((today - first).days)]


def _charge_day(session: Session, row: PlaceRow, day: date, *, card: RateCard, now: datetime) -> int:
    end = datetime.combine(day, time(), UTC) + DAY
    seen = places.usage_before(session, row.id, end)
    held = Usage(seen.used_bytes, seen.quarantined_bytes, 0, None).charged_bytes if seen else 0
    due, allocation_id = day_micro(held, card.gb_month_micro), row.account.allocation.id
    free = ledger.balance(session, allocation_id) - ledger.held(session, allocation_id)
    paid = max(0, min(due, free))
    kept = PlaceDay(place_id=row.id, day=day, charged_bytes=held, paid_micro=paid, unpaid_micro=due - paid)
    if not places.keep_day(session, kept) or not paid:
        return 0
    ledger.append(
        session, allocation_id, -paid, kind=EntryKind.STORAGE, key=f"{EntryKind.STORAGE}/{row.id}/{day}",
        at=now, actor=NEXUS, reason=f"{held / GB:.3f} GB in {row.kind} on {day}",
        rate_card_version=card.version,
    )  # fmt: skip
    announce(session, "storage_charged", place_id=row.id, day=day, amount_micro=paid)
    return paid
