"""Forecasts of accounts and of the whole platform, from what the ledger says of past days."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.forecast import HISTORY_DAYS, Forecast, History, forecast
from nexus_allocator.store import forecasting, platform_days
from nexus_allocator.store.tables import Account

# How far the platform's forecast looks: awards last a year.
PLATFORM_HORIZON = timedelta(days=365)
CHART_DAYS = 90
# After midnight the last postings of the day before are still on their way.
SETTLING = timedelta(minutes=10)


@dataclass(frozen=True)
class DaySpend:
    """What one UTC day cost, in micro-credits."""

    day: date
    micro: int


@dataclass(frozen=True)
class DayLeft:
    """What was left at the end of one UTC day, in micro-credits; of today, what is left now."""

    day: date
    micro: int


@dataclass(frozen=True)
class PoolReading:
    """All accounts together: what is left in those that have not ended, and how fast it goes."""

    accounts: int
    balance_micro: int
    held_micro: int
    live_servers: int
    rate_micro_per_hour: int
    forecast: Forecast
    ends_at: datetime
    spend: tuple[DaySpend, ...]

    @property
    def available_micro(self) -> int:
        return self.balance_micro - self.held_micro


def start_of(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def history(spent: Mapping[date, int], *, began: date, today: date) -> History:
    """Return whole days from ``began`` on, at most those a pace is told from, and today."""
    first = max(began, today - timedelta(days=HISTORY_DAYS))
    days = (first + timedelta(days=number) for number in range((today - first).days))
    return History(
        today - timedelta(days=1), tuple(max(0, spent.get(day, 0)) for day in days), spent.get(today, 0)
    )


def of_account(account: Account, spent: Mapping[date, int], *, balance_micro: int, now: datetime) -> Forecast:
    """Return an account's forecast from its days of spending, which reach back far enough."""
    today = now.astimezone(UTC).date()
    past = history(spent, began=account.created_at.astimezone(UTC).date(), today=today)
    ends_at = account.allocation.expires_at
    return forecast(past, balance_micro=balance_micro, now=now, ends_at=ends_at)


def course(
    session: Session,
    allocation_id: UUID,
    *,
    balance_micro: int,
    unposted_micro: int,
    now: datetime,
    days: int,
) -> tuple[DayLeft, ...]:
    """Return what was left at the end of each of the last ``days``, reckoned back from what is left."""
    today = now.astimezone(UTC).date()
    first = today - timedelta(days=days - 1)
    net = forecasting.net_by_day(session, allocation_id, since=start_of(first))
    net[today] = net.get(today, 0) - unposted_micro
    left, found = balance_micro, []
    for ago in range(days):
        day = today - timedelta(days=ago)
        found.append(DayLeft(day, left))
        left -= net.get(day, 0)
    return tuple(reversed(found))


def of_platform(session: Session, *, now: datetime) -> PoolReading:
    """Return all accounts together. What running servers used and nobody posted yet is today's."""
    today = now.astimezone(UTC).date()
    first = today - timedelta(days=CHART_DAYS - 1)
    spent = _spent_by_day(session, first=first)
    live, rate, held, unposted = forecasting.live_sums(session)
    spent[today] = spent.get(today, 0) + unposted
    count, posted = _left_in_running(session, now=now)
    began = forecasting.first_account(session)
    past = history(spent, began=(began or now).astimezone(UTC).date(), today=today)
    ends_at = now + PLATFORM_HORIZON
    return PoolReading(
        accounts=count,
        balance_micro=posted - unposted,
        held_micro=held - unposted,
        live_servers=live,
        rate_micro_per_hour=rate,
        forecast=forecast(past, balance_micro=posted - unposted, now=now, ends_at=ends_at),
        ends_at=ends_at,
        spend=days_of(spent, first=first, last=today),
    )


def _spent_by_day(session: Session, *, first: date) -> dict[date, int]:
    """Return days from ``first`` on: those that are kept, and from the ledger those after them."""
    kept = platform_days.spent_since(session, first)
    rest = max(kept) + timedelta(days=1) if kept else first
    return kept | forecasting.platform_spent_by_day(session, since=start_of(rest))


def _left_in_running(session: Session, *, now: datetime) -> tuple[int, int]:
    """Return how many allocations run and what is left in them; those that end today still count."""
    kept = platform_days.latest_snapshot(session)
    if kept is None:
        return forecasting.left_in_running(session, now=now)
    return kept.running, kept.left_micro + forecasting.platform_net(session, since=kept.at)


def keep_days(session: Session, *, now: datetime) -> int:
    """Keep the whole days that have ended, which a page would else add up each time; return how many.

    A little after midnight, when what was metered before it has been posted. The audit of the ledger
    does not need them: they can be deleted, and come again.
    """
    today = (now - SETTLING).astimezone(UTC).date()
    last = platform_days.last_day(session)
    first = today - timedelta(days=CHART_DAYS) if last is None else last + timedelta(days=1)
    if first >= today:
        return 0
    found = forecasting.platform_spent_by_day(session, since=start_of(first))
    days = (first + timedelta(days=number) for number in range((today - first).days))
    spent = {day: found.get(day, 0) for day in days}
    running, left = forecasting.left_in_running(session, now=now)
    platform_days.keep(session, spent, platform_days.Snapshot(now, running, left))
    return len(spent)


def days_of(spent: Mapping[date, int], *, first: date, last: date) -> tuple[DaySpend, ...]:
    """Return every day from ``first`` to ``last``; more given back than spent counts as nothing."""
    each = (first + timedelta(days=number) for number in range((last - first).days + 1))
    return tuple(DaySpend(day, max(0, spent.get(day, 0))) for day in each)
