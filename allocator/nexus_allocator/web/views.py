"""Readings as templates want them: amounts flat, slugs with their labels, reasons as sentences."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID

from nexus_allocator.domain import science, wording
from nexus_allocator.domain.forecast import Forecast
from nexus_allocator.domain.notices import notice_sentence
from nexus_allocator.domain.policy import Policy, RateCard, Tier
from nexus_allocator.domain.states import Approval, HoldState, RequestState, StopReason, TierSlug
from nexus_allocator.domain.teams import TEAM_SERVER, at_hub
from nexus_allocator.services import enforcement
from nexus_allocator.services.forecasts import DayLeft, DaySpend, PoolReading
from nexus_allocator.services.notices import Told
from nexus_allocator.services.pool import PoolPage
from nexus_allocator.services.portal_lists import AccountRow, MoveRow, RequestRow
from nexus_allocator.services.portal_reading import AccountPage, AccountReading, ServerReading
from nexus_allocator.web.charts import BarChart, balance_meter, spend_chart
from nexus_allocator.web.course_charts import CourseChart, course_chart
from nexus_allocator.web.formats import area_text, credits_round, gigabytes_text, listed

DEFAULT_SERVER = "-"
LIVE_TEXTS = {HoldState.PLACED: "It is starting.", HoldState.RUNNING: "It is running."}
APPROVALS = {
    Approval.AUTOMATIC: "nobody needs to",
    Approval.ADMINISTRATOR: "an administrator",
    Approval.PANEL: "a panel of reviewers, through an administrator",
    Approval.REASON: "an administrator, with a stated reason",
}


@dataclass(frozen=True)
class Charts:
    """One chart twice: for wide screens and for phones, whose text would be too small otherwise."""

    wide: BarChart
    narrow: BarChart


def charts_of(account: AccountReading) -> Charts:
    return spend_charts(account.spend, title=f"{account.label}: credits spent per day")


def spend_charts(spend: Sequence[DaySpend], *, title: str) -> Charts:
    return Charts(
        wide=spend_chart(spend, title=title, width=860, height=190),
        narrow=spend_chart(spend, title=title, width=300, height=190),
    )


@dataclass(frozen=True)
class CourseCharts:
    """The course of a balance twice: for wide screens and for phones."""

    wide: CourseChart
    narrow: CourseChart


def course_of(page: AccountPage, *, now: datetime) -> CourseCharts | None:
    """Return where an account's pace leads; None when it has ended or nothing is left."""
    account = page.account
    if account.expired or account.sums.balance_micro <= 0:
        return None
    title = f"{account.label}: credits left, and where the pace leads"
    return _courses(page.course, account.forecast, now=now, ends_at=account.expires_at, title=title)


def course_of_pool(pool: PoolReading, *, now: datetime) -> CourseCharts:
    course = (DayLeft(now.date(), pool.balance_micro),)
    return _courses(
        course, pool.forecast, now=now, ends_at=pool.ends_at, title="All accounts: where the pace leads"
    )


def _courses(
    course: Sequence[DayLeft], expected: Forecast, *, now: datetime, ends_at: datetime, title: str
) -> CourseCharts:
    wide, narrow = (
        course_chart(course, expected, now=now, ends_at=ends_at, title=title, width=width, height=190)
        for width in (860, 300)
    )
    return CourseCharts(wide, narrow)


def account_view(account: AccountReading, policy: Policy) -> dict[str, Any]:
    sums = account.sums
    return {
        "slug": account.slug,
        "label": account.label,
        "is_team": account.is_team,
        "tier_label": policy.tiers[account.tier].label,
        "granted_micro": sums.granted_micro,
        "balance_micro": sums.balance_micro,
        "held_micro": sums.held_micro,
        "available_micro": sums.available_micro,
        "area_left": policy_area(policy)(sums.available_micro),
        "expires_at": account.expires_at,
        "expired": account.expired,
        "forecast": account.forecast,
        "spend": account.spend,
        "meter": balance_meter(granted=sums.granted_micro, balance=sums.balance_micro, held=sums.held_micro),
    }


def account_row_view(row: AccountRow, policy: Policy) -> dict[str, Any]:
    return {
        "slug": row.slug,
        "label": row.label,
        "is_team": row.is_team,
        "tier_label": policy.tiers[row.tier].label,
        "granted_micro": row.sums.granted_micro,
        "balance_micro": row.sums.balance_micro,
        "held_micro": row.sums.held_micro,
        "expires_at": row.expires_at,
        "expired": row.expired,
    }


@dataclass(frozen=True)
class ServerView:
    """A server's reading with what people call things; ``path_name`` stands for it in addresses."""

    reading: ServerReading
    label: str
    path_name: str
    size_label: str
    is_running: bool
    ending: str

    @property
    def hub_path(self) -> str:
        """Where it is entered, below the hub's public address."""
        account, name = at_hub(self.reading.hub_name, self.reading.server_name)
        return f"/user/{quote(account)}/{quote(name)}"

    def __getattr__(self, name: str) -> Any:
        return getattr(self.reading, name)


def server_view(server: ServerReading, policy: Policy, *, own: bool) -> ServerView:
    name = server.server_name
    # A size that the policy no longer offers is still in the history.
    size = policy.sizes.get(server.size)
    return ServerView(
        reading=server,
        label=server_label(name),
        path_name=name or DEFAULT_SERVER,
        size_label=size.label if size else server.size,
        is_running=server.state == HoldState.RUNNING,
        ending=LIVE_TEXTS.get(server.state) or stop_text(server, own=own),
    )


def server_label(name: str) -> str:
    if name.startswith(TEAM_SERVER):
        return "The team's own server"
    return f"Server “{name}”" if name else "Default server"


def stop_text(server: ServerReading, *, own: bool) -> str:
    """Return why a server stopped, with the reason a person gave for it."""
    reason = server.stop_reason or StopReason.UNKNOWN
    if reason == StopReason.OWN_HAND and not own:
        text = f"{server.person_label} stopped it."
    else:
        text = wording.stop_sentence(reason, exit_signal=server.exit_signal, exit_code=server.exit_code)
    return f"{text} Reason: {server.stop_note}" if server.stop_note else text


@dataclass(frozen=True)
class LastStop:
    sentence: str
    at: datetime | None


def last_stop(server: ServerReading | None) -> LastStop | None:
    return None if server is None else LastStop(stop_text(server, own=True), server.ended_at)


@dataclass(frozen=True)
class NoticeView:
    id: UUID
    text: str
    at: datetime


def notice_views(told: Iterable[Told]) -> list[NoticeView]:
    return [NoticeView(row.id, notice_sentence(row.kind, row.facts), row.at) for row in told]


@dataclass(frozen=True)
class TierView:
    slug: TierSlug
    label: str
    credits_micro: int | None
    length: timedelta
    live_servers: int | None
    size_labels: tuple[str, ...]
    who: str
    examples: tuple[str, ...]


def tier_views(tiers: Iterable[Tier], policy: Policy) -> list[TierView]:
    return [
        TierView(
            slug=tier.slug,
            label=tier.label,
            credits_micro=tier.credits_micro,
            length=tier.length,
            live_servers=tier.live_servers,
            size_labels=tuple(size.label for size in policy.sizes_of(tier.slug)),
            who=tier.who,
            examples=tier.examples,
        )
        for tier in tiers
    ]


def tier_rows(policy: Policy) -> list[tuple[str, list[str]]]:
    """Return what each tier gives as rows of a table whose columns are the tiers."""
    columns: dict[str, Callable[[Tier], str]] = {
        "Who says yes": lambda tier: APPROVALS[tier.approval],
        "Credits": lambda tier: amount_text(tier.credits_micro, credits_round),
        "or, only from L1 to L2": lambda tier: amount_text(tier.credits_micro, policy_area(policy)),
        "Lasts": lambda tier: f"{tier.length.days} days",
        "Server sizes": lambda tier: ", ".join(size.label for size in policy.sizes_of(tier.slug)),
        "Servers at once": lambda tier: amount_text(tier.live_servers),
        "GPUs at once": lambda tier: amount_text(tier.gpus),
        "Dask cores": lambda tier: amount_text(tier.dask_cores),
        "Home": lambda tier: amount_text(tier.home_gb, gigabytes_text),
        "Team folder": lambda tier: amount_text(tier.team_gb, gigabytes_text),
        "Scratch": lambda tier: amount_text(tier.scratch_gb, gigabytes_text),
        "Scratch files unused": lambda tier: f"{tier.scratch_days} days" if tier.scratch_days else "kept",
        "Notices before the end": notices_text,
        "Read-only after the end": grace_text,
    }
    return [(name, [told(tier) for tier in policy.tiers.values()]) for name, told in columns.items()]


def notices_text(tier: Tier) -> str:
    return f"{listed(tier.notice_days)} days" if tier.notice_days else "none: it begins anew by itself"


def grace_text(tier: Tier) -> str:
    if not tier.grace:
        return "–"
    hours = f"{tier.grace_hours:g} h of a server" if tier.grace_hours else "no server"
    return f"{tier.grace.days} days, {hours}"


def rate_rows(card: RateCard) -> list[tuple[str, int]]:
    return [
        ("Processor (vCPU) for an hour", card.vcpu_hour_micro),
        ("GiB of memory for an hour", card.gib_hour_micro),
        ("GPU for an hour", card.gpu_hour_micro),
        ("GB kept for a month", card.gb_month_micro),
        ("GB that leaves the Nexus", card.egress_gb_micro),
    ]


def amount_text(amount: int | None, told: Callable[[int], str] = "{:,}".format) -> str:
    return "as awarded" if amount is None else told(amount)


def policy_area(policy: Policy) -> Callable[[int], str]:
    return lambda micro: area_text(science.square_degrees(policy, micro))


def pool_view(found: PoolPage, policy: Policy, *, now: datetime) -> dict[str, Any]:
    pool, state = found.pool, found.state
    until = state.waits_until if state else None
    braked = state is not None and until is not None and now < until
    return {
        "period_start": found.period_start,
        "period_end": found.period_end,
        "credits_micro": pool.credits_micro,
        "allowance_micro": found.allowance_micro,
        "spent_micro": state.spent_micro if state else 0,
        "read_at": state.at if state else None,
        "waiting": listed([policy.sizes[slug].label for slug in pool.waiting_sizes]),
        "brake": wording.pool_sentence(state.spent_micro, pool.credits_micro, until)
        if braked and state and until
        else None,
    }


@dataclass(frozen=True)
class SpendWarning:
    """An account that is used up to a mark; ``urgent`` once its servers are about to stop."""

    label: str
    sentence: str
    urgent: bool


def spend_warnings(
    accounts: Iterable[AccountReading], notices: Mapping[str, enforcement.Standing]
) -> list[SpendWarning]:
    """Return what to warn of, by what is left now."""
    return [
        SpendWarning(
            account.label,
            wording.spend_sentence(
                notice.percent,
                award_micro=notice.award_micro,
                left_micro=account.sums.balance_micro,
                stops_at=notice.stops_at,
            ),
            urgent=notice.stops_at is not None,
        )
        for account in accounts
        if (notice := notices.get(account.slug))
    ]


@dataclass(frozen=True)
class Reckoning:
    """What exposures cost from L1 to L2, and the area they cover."""

    exposures: int
    square_degrees: float
    micro: int


@dataclass(frozen=True)
class RequestView:
    """A request with its tiers' labels."""

    row: RequestRow
    tier_label: str
    tier_before_label: str

    reckoned: Reckoning | None
    history: tuple[tuple[str, MoveRow], ...]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.row, name)


def request_view(row: RequestRow, policy: Policy) -> RequestView:
    area = (row.exposures or 0) * policy.science.square_degrees_per_exposure
    return RequestView(
        row,
        policy.tiers[row.tier].label,
        policy.tiers[row.tier_before].label,
        Reckoning(row.exposures, area, row.asked_micro) if row.exposures and row.asked_micro else None,
        tuple((MOVE_TEXTS[move.after], move) for move in row.history),
    )


MOVE_TEXTS = {
    RequestState.DRAFT: "Begun",
    RequestState.SUBMITTED: "Sent",
    RequestState.IN_REVIEW: "Taken into review",
    RequestState.RETURNED: "Returned for revision",
    RequestState.OFFERED: "Other terms were offered",
    RequestState.ACCEPTED: "The offer was accepted",
    RequestState.AWARDED: "Awarded",
    RequestState.AWARDED_IN_PART: "Awarded in part",
    RequestState.DENIED: "Denied",
    RequestState.WITHDRAWN: "Withdrawn",
    RequestState.ACTIVE: "Became active",
    RequestState.EXPIRING: "Came close to its end",
    RequestState.GRACE: "Ended; the days of grace began",
    RequestState.EXPIRED: "The days of grace ended",
    RequestState.RENEWED: "Renewed by a later award",
}
