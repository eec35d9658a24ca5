"""`nexus-allocator show` and `server`: what administrators look through, and stopping a server."""

import getpass
from typing import Annotated

import typer

from nexus_allocator.cli_database import opened, reading, utc_now
from nexus_allocator.clients.hub import HubClient
from nexus_allocator.config import read_database_settings, read_settings
from nexus_allocator.domain.credits import shown
from nexus_allocator.domain.states import StopReason
from nexus_allocator.policy import load_policy
from nexus_allocator.services import enterings, forecasts, listings, maintenance, pool, portal_lists, stops
from nexus_allocator.services.allocations import require_reason
from nexus_allocator.services.hub_calls import ask_at_once

show_app = typer.Typer(no_args_is_help=True, help="People, accounts, servers, and the platform's budget.")
server_app = typer.Typer(no_args_is_help=True, help="Running servers.")
Query = Annotated[str, typer.Argument(help="Part of a name.")]
MOST = 10_000


@show_app.command("people")
def people(query: Query = "") -> None:
    """Print the people whose name, hub name or e-mail address contains QUERY."""
    policy = load_policy(read_database_settings().tiers_file)
    with reading() as session:
        rows = listings.people(session, policy=policy, query=query, after=None, limit=MOST)
    for row in rows:
        standing = "suspended" if row.suspended_at else "administrator" if row.is_administrator else ""
        _line(row.hub_name, row.display_name, ", ".join(row.teams), standing, row.suspension_reason or "")


@show_app.command("accounts")
def accounts(query: Query = "") -> None:
    """Print the accounts whose name or owner contains QUERY, with what is available and the end."""
    with reading() as session:
        rows = listings.accounts(session, query=query, after=None, limit=MOST, now=utc_now())
    for row in rows:
        ends = f"{'ended' if row.expired else 'until'} {row.expires_at:%Y-%m-%d}"
        _line(row.slug, row.label, row.tier, shown(row.sums.available_micro), ends)


@show_app.command("servers")
def servers() -> None:
    """Print every live server, the longest running first."""
    with reading() as session:
        rows = portal_lists.servers(session, now=utc_now())
    for row in rows:
        until = f"until {row.until:%Y-%m-%d %H:%M}"
        _line(
            row.hub_name, row.server_name or "-", row.size, row.account_label, shown(row.usage_micro), until
        )


@show_app.command("pool")
def budget() -> None:
    """Print the platform's budget of this period, its forecast, and whether launches are held."""
    policy, now = load_policy(read_database_settings().tiers_file), utc_now()
    with reading() as session:
        found = pool.page(session, policy.pool, now=now)
        platform = forecasts.of_platform(session, now=now)
        held = maintenance.standing(session, now=now)
    spent = shown(found.state.spent_micro) if found.state else "not measured yet"
    typer.echo(f"spent {spent} of {shown(policy.pool.credits_micro)} until {found.period_end:%Y-%m-%d}")
    typer.echo(
        f"left to all accounts: {shown(platform.available_micro)}, live servers {platform.live_servers}"
    )
    typer.echo(f"pace {shown(platform.forecast.micro_per_day)} a day")
    typer.echo(f"launches are held: {held.message}" if held else "launches go through")


@server_app.command("stop")
def stop(
    hub_name: str,
    reason: Annotated[str, typer.Option("--reason", help="The person reads it.")],
    server: Annotated[str, typer.Option(help="Its name; the default server's is empty.")] = "",
) -> None:
    """Stop a person's server."""
    settings = read_settings()
    hub = HubClient(settings.hub_api_url, settings.hub_token.get_secret_value())
    with opened() as database, hub:
        with database.session_scope() as session:
            found = stops.stop(
                session, hub_name=hub_name, server_name=server, reason=StopReason.ADMINISTRATOR,
                actor=f"operator {getpass.getuser()}"[:64], note=require_reason(reason), now=utc_now(),
            )  # fmt: skip
        asked = ask_at_once(database, hub, [found], now=utc_now())
    later = f"; the hub does not answer ({asked.problem}) and is asked again" if asked.failed else ""
    typer.echo(f"the server of {hub_name} is being stopped{later}")


@server_app.command("entered")
def entered(hub_name: str) -> None:
    """Print which administrators entered a person's servers, the latest first."""
    with reading() as session:
        for each in enterings.of_person(session, hub_name=hub_name):
            _line(each.administrator, f"{each.at:%Y-%m-%d %H:%M}", f"{each.until:%H:%M}", each.reason)


def _line(*words: str) -> None:
    typer.echo("\t".join(words))
