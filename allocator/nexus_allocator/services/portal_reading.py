"""What the portal's pages show of accounts and servers: read, never changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.errors import UnknownServer
from nexus_allocator.domain.forecast import HISTORY_DAYS, Forecast
from nexus_allocator.domain.rights import Action
from nexus_allocator.domain.states import LIVE, AccountKind, EntryKind, HoldState, TierSlug
from nexus_allocator.services import forecasts, rights
from nexus_allocator.services import holds as lifecycle
from nexus_allocator.services.forecasts import DayLeft, DaySpend
from nexus_allocator.store import accounts, forecasting, holds, portal_reading
from nexus_allocator.store.tables import Account, Hold, Person

CHART_DAYS = 30
HOME_ROWS, ACCOUNT_ROWS = 10, 25


@dataclass(frozen=True)
class AccountSums:
    """An account's money in micro-credits, with what running servers have used already taken off."""

    granted_micro: int
    balance_micro: int
    held_micro: int
    unposted_micro: int

    @property
    def available_micro(self) -> int:
        return self.balance_micro - self.held_micro


@dataclass(frozen=True)
class AccountReading:
    slug: str
    label: str
    is_team: bool
    tier: TierSlug
    sums: AccountSums
    expires_at: datetime
    expired: bool
    forecast: Forecast
    spend: tuple[DaySpend, ...]


@dataclass(frozen=True)
class OtherEntry:
    """A grant or correction; negative amounts took credits away."""

    kind: EntryKind
    at: datetime
    amount_micro: int
    reason: str


@dataclass(frozen=True)
class ServerReading:
    """One server, running or ended, with what it cost so far."""

    hub_name: str
    person_label: str
    server_name: str
    account_label: str
    size: str
    state: HoldState
    rate_micro_per_hour: int
    usage_micro: int
    ran_for: timedelta
    placed_at: datetime
    started_at: datetime | None
    seen_at: datetime | None
    until: datetime
    keep_alive_until: datetime | None
    stopping: bool
    ended_at: datetime | None
    stop_reason: str | None
    stop_actor: str | None
    stop_note: str | None
    exit_signal: int | None
    exit_code: int | None


@dataclass(frozen=True)
class Home:
    """The front page: what one person may charge, runs, and ran."""

    accounts: tuple[AccountReading, ...]
    servers: tuple[ServerReading, ...]
    usage: tuple[ServerReading, ...]
    last_stop: ServerReading | None


@dataclass(frozen=True)
class AccountPage:
    account: AccountReading
    usage: tuple[ServerReading, ...]
    entries: tuple[OtherEntry, ...]
    course: tuple[DayLeft, ...]


def home(session: Session, *, hub_name: str, now: datetime) -> Home:
    """Return the front page of a person. Raises UnknownPerson."""
    person = rights.themselves(session, hub_name, Action.OVERVIEW_SEE)
    mine = accounts.chargeable_by(session, person.id)
    used = portal_reading.holds_of_person(session, person.id, limit=HOME_ROWS)
    ended = portal_reading.last_ended(session, person.id)
    return Home(
        accounts=account_readings(session, mine, viewer=person, now=now),
        servers=server_readings(session, holds.open_of_person(session, person.id), viewer=person, now=now),
        usage=server_readings(session, used, viewer=person, now=now),
        last_stop=server_readings(session, [ended], viewer=person, now=now)[0] if ended else None,
    )


def account_page(
    session: Session, *, hub_name: str, slug: str, now: datetime, days: int = CHART_DAYS
) -> AccountPage:
    """Return one account's page with its last ``days``, for who may charge it and for administrators.

    Raises UnknownAccount for another person's account as for none.
    """
    viewer = rights.person_called(session, hub_name)
    account = rights.account_for(session, viewer, slug, Action.ACCOUNT_SEE)
    allocation_id = account.allocation.id
    entries = portal_reading.other_entries(session, allocation_id, limit=ACCOUNT_ROWS)
    used = portal_reading.holds_of_account(session, allocation_id, limit=ACCOUNT_ROWS)
    reading = account_readings(session, [account], viewer=viewer, now=now, days=days)[0]
    return AccountPage(
        account=reading,
        usage=server_readings(session, used, viewer=viewer, now=now),
        entries=tuple(
            OtherEntry(
                EntryKind(entry.kind),
                entry.at,
                entry.amount_micro if adds else -entry.amount_micro,
                entry.reason,
            )
            for entry, adds in entries
        ),
        course=forecasts.course(
            session,
            allocation_id,
            balance_micro=reading.sums.balance_micro,
            unposted_micro=reading.sums.unposted_micro,
            now=now,
            days=days,
        ),
    )


def teams_of(session: Session, *, hub_name: str) -> list[str]:
    """Return the slugs of a person's teams. Raises UnknownPerson."""
    person = rights.person_called(session, hub_name)
    return [team.slug for team in accounts.teams_of(session, person.id)]


def require_visible(session: Session, *, hub_name: str, slug: str) -> None:
    """Let pass who may see the account. Raises UnknownAccount for another person's account as for none."""
    viewer = rights.person_called(session, hub_name)
    rights.account_for(session, viewer, slug, Action.ACCOUNT_SEE)


def live_server(session: Session, *, hub_name: str, server_name: str, now: datetime) -> ServerReading:
    """Return a person's live server. Raises UnknownPerson, UnknownServer."""
    person = rights.person_called(session, hub_name)
    hold = portal_reading.live_hold(session, person.id, server_name)
    if hold is None:
        raise UnknownServer(person=person.display_name, server=server_name[:40] or "default")
    return server_readings(session, [hold], viewer=None, now=now)[0]


def account_readings(
    session: Session,
    rows: Sequence[Account],
    *,
    viewer: Person | None,
    now: datetime,
    days: int = CHART_DAYS,
) -> tuple[AccountReading, ...]:
    """Return the accounts with sums, pace and ``days`` of spending, named as ``viewer`` knows them."""
    sums = account_sums(session, rows)
    owners = portal_reading.owners(session, rows)
    first = now.astimezone(UTC).date() - timedelta(days=max(days - 1, HISTORY_DAYS))
    ids = [row.allocation.id for row in rows]
    spent = forecasting.spent_by_day(session, ids, since=forecasts.start_of(first))
    return tuple(
        _account_reading(
            row,
            spent[row.allocation.id],
            sums=sums[row.id],
            label=account_label(row, owners.get(row.person_id), viewer),
            days=days,
            now=now,
        )
        for row in rows
    )


def account_sums(session: Session, rows: Sequence[Account]) -> dict[UUID, AccountSums]:
    """Return each account's money, in one query for all of them."""
    found = portal_reading.sums(session, [row.allocation.id for row in rows])
    return {
        row.id: AccountSums(
            granted_micro=money.balance + money.used,
            balance_micro=money.balance - money.unposted,
            held_micro=money.held - money.unposted,
            unposted_micro=money.unposted,
        )
        for row in rows
        if (money := found[row.allocation.id])
    }


def account_label(account: Account, owner: Person | None, viewer: Person | None) -> str:
    """Return the account's name: another person's own account carries its owner's name."""
    if owner is None or (viewer is not None and viewer.id == owner.id):
        return account.label
    return owner.display_name


def server_readings(
    session: Session, rows: Sequence[Hold], *, viewer: Person | None, now: datetime
) -> tuple[ServerReading, ...]:
    """Return holds as the servers they stand for, named as ``viewer`` knows them."""
    live = [row.id for row in rows if row.state in LIVE]
    announced = portal_reading.announced_stops(session, live, since=now - lifecycle.INTENT_LASTS)
    return tuple(_server_reading(row, viewer, stopping=row.id in announced, now=now) for row in rows)


def _account_reading(
    account: Account, spent: dict[date, int], *, sums: AccountSums, label: str, days: int, now: datetime
) -> AccountReading:
    allocation, today = account.allocation, now.astimezone(UTC).date()
    # Running servers are posted hourly; until then their usage is today's.
    spent[today] = spent.get(today, 0) + sums.unposted_micro
    return AccountReading(
        slug=account.slug, label=label, is_team=account.kind == AccountKind.TEAM,
        tier=TierSlug(allocation.tier), sums=sums, expires_at=allocation.expires_at,
        expired=allocation.expires_at <= now,
        forecast=forecasts.of_account(account, spent, balance_micro=sums.balance_micro, now=now),
        spend=forecasts.days_of(spent, first=today - timedelta(days=days - 1), last=today),
    )  # fmt: skip


def _server_reading(hold: Hold, viewer: Person | None, *, stopping: bool, now: datetime) -> ServerReading:
    account = hold.allocation.account
    kept = hold.keep_alive_until
    owner = hold.person if account.person_id else None
    return ServerReading(
        hub_name=hold.person.hub_name, person_label=hold.person.display_name, server_name=hold.server_name,
        account_label=account_label(account, owner, viewer), size=hold.size, state=HoldState(hold.state),
        rate_micro_per_hour=hold.rate_micro_per_hour, usage_micro=hold.usage_micro,
        ran_for=timedelta(seconds=lifecycle.reading_of(hold).seconds), placed_at=hold.placed_at,
        started_at=hold.process_started_at, seen_at=hold.last_seen_at, until=hold.until,
        keep_alive_until=kept if kept and kept > now else None, stopping=stopping,
        ended_at=hold.stopped_at or hold.settled_at, stop_reason=hold.stop_reason,
        stop_actor=hold.stop_actor, stop_note=hold.stop_note,
        exit_signal=hold.exit_signal, exit_code=hold.exit_code,
    )  # fmt: skip
