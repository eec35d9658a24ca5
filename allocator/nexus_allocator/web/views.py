"""Readings as templates want them: amounts flat, slugs with their labels, reasons as sentences."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from nexus_allocator.domain import wording
from nexus_allocator.domain.policy import Policy, Tier
from nexus_allocator.domain.states import HoldState, StopReason, TierSlug
from nexus_allocator.services.portal_lists import AccountRow, RequestRow
from nexus_allocator.services.portal_reading import AccountReading, ServerReading
from nexus_allocator.web.charts import BarChart, balance_meter, spend_chart

DEFAULT_SERVER = "-"
LIVE_TEXTS = {HoldState.PLACED: "It is starting.", HoldState.RUNNING: "It is running."}
HOW_TO_GET = {
    TierSlug.ENTRY: "by accepting the user agreement",
    TierSlug.RESEARCH: "ask for it",
    TierSlug.TEAM: "a team's lead asks for it",
    TierSlug.SPECIAL: "by the help desk",
}


@dataclass(frozen=True)
class Charts:
    """One chart twice: for wide screens and for phones, whose text would be too small otherwise."""

    wide: BarChart
    narrow: BarChart


def charts_of(account: AccountReading) -> Charts:
    title = f"{account.label}: credits spent per day"
    return Charts(
        wide=spend_chart(account.spend, title=title, width=860, height=190),
        narrow=spend_chart(account.spend, title=title, width=300, height=190),
    )


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
        "expires_at": account.expires_at,
        "expired": account.expired,
        "burn": account.burn,
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

    def __getattr__(self, name: str) -> Any:
        return getattr(self.reading, name)


def server_view(server: ServerReading, policy: Policy, *, own: bool) -> ServerView:
    name = server.server_name
    # A size that the policy no longer offers is still in the history.
    size = policy.sizes.get(server.size)
    return ServerView(
        reading=server,
        label=f"Server “{name}”" if name else "Default server",
        path_name=name or DEFAULT_SERVER,
        size_label=size.label if size else server.size,
        is_running=server.state == HoldState.RUNNING,
        ending=LIVE_TEXTS.get(server.state) or stop_text(server, own=own),
    )


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
class TierView:
    slug: TierSlug
    label: str
    credits_micro: int | None
    length: timedelta
    live_servers: int | None
    size_labels: tuple[str, ...]
    how: str


def tier_views(tiers: Iterable[Tier], policy: Policy) -> list[TierView]:
    return [
        TierView(
            slug=tier.slug,
            label=tier.label,
            credits_micro=tier.credits_micro,
            length=tier.length,
            live_servers=tier.live_servers,
            size_labels=tuple(size.label for size in policy.sizes_of(tier.slug)),
            how=HOW_TO_GET[tier.slug],
        )
        for tier in tiers
    ]


@dataclass(frozen=True)
class RequestView:
    """A request with its tiers' labels."""

    row: RequestRow
    tier_label: str
    tier_before_label: str

    def __getattr__(self, name: str) -> Any:
        return getattr(self.row, name)


def request_view(row: RequestRow, policy: Policy) -> RequestView:
    return RequestView(row, policy.tiers[row.tier].label, policy.tiers[row.tier_before].label)
