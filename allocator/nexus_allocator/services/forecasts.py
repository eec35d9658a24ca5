"""Forecasts of accounts and of the whole platform, from what the ledger says of past days."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.forecast import HISTORY_DAYS, Forecast, History, forecast
from nexus_allocator.store import forecasting
from nexus_allocator.store.tables import Account

# How far the platform's forecast looks: awards last a year.
PLATFORM_HORIZON = timedelta(days=365)
CHART_DAYS = 90


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
    spent = forecasting.platform_spent_by_day(session, since=start_of(first))
    live, rate, held, unposted = forecasting.live_sums(session)
    spent[today] = spent.get(today, 0) + unposted
    count, posted = forecasting.left_in_running(session, now=now)
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


def days_of(spent: Mapping[date, int], *, first: date, last: date) -> tuple[DaySpend, ...]:
    """Return every day from ``first`` to ``last``; more given back than spent counts as nothing."""
    each = (first + timedelta(days=number) for number in range((last - first).days + 1))
    return tuple(DaySpend(day, max(0, spent.get(day, 0))) for day in each)
