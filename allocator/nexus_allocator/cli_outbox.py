"""`nexus-allocator deliver` sends what is due, once; `outbox` shows what does, `webhook` keeps endpoints."""

import random
from typing import Annotated
from uuid import UUID

import typer

from nexus_allocator.carriers import carriers_of, vault_of
from nexus_allocator.cli_database import opened, utc_now, writing
from nexus_allocator.clients.hub import HubClient
from nexus_allocator.config import read_settings
from nexus_allocator.domain.webhooks import EventKind
from nexus_allocator.services import digests, outbox, outbox_reading, webhook_reading, webhooks
from nexus_allocator.services.delivery import deliver as deliver_due
from nexus_allocator.services.outbox_reading import Show
from nexus_allocator.services.rights import person_called

MOST = 10_000
outbox_app = typer.Typer(no_args_is_help=True, help="What leaves the service.")
webhook_app = typer.Typer(no_args_is_help=True, help="Endpoints that are told of events.")
SIGNED = "Each event is signed with it; it is not shown again:"


def deliver() -> None:
    """Send what is due: mail, events, calls to the hub. Digests that are due are written before."""
    settings = read_settings()
    with opened(settings) as database:
        digests.gather_all(database, now=utc_now())
        with HubClient(settings.hub_api_url, settings.hub_token.get_secret_value()) as hub:
            done = deliver_due(
                database, carriers_of(settings, hub), clock=utc_now, lease=settings.delivery_lease,
                rng=random.Random(),  # noqa: S311 - spreads attempts, hides nothing
            )  # fmt: skip
    typer.echo(f"{done.sent} sent, {done.dropped} dropped, {done.failed} to try again, {done.dead} given up")
    if done.dead:
        raise typer.Exit(1)


@outbox_app.command("list")
def list_outgoing(
    show: Annotated[Show, typer.Option(help="Which rows.")] = Show.DEAD,
) -> None:
    """Print what leaves the service, the latest first: what was given up, unless asked otherwise."""
    with writing(read_settings()) as session:
        rows = outbox_reading.after(session, show=show, channel=None, last=None, limit=MOST)
    for row in rows:
        words = [str(row.id), row.channel, row.kind, row.whom or "-", row.state, row.problem or ""]
        typer.echo("\t".join(words))


@outbox_app.command("retry")
def retry(
    administrator: Annotated[str, typer.Option("--as", help="The administrator who wants it.")],
    row_id: Annotated[UUID | None, typer.Argument(help="All that was given up, unless given.")] = None,
) -> None:
    """Let what was given up be sent again."""
    with writing(read_settings()) as session:
        who = person_called(session, administrator).id
        if row_id is None:
            count = outbox.retry_all(session, channel=None, administrator_id=who, now=utc_now())
        else:
            outbox.retry(session, row_id, administrator_id=who, now=utc_now())
            count = 1
    typer.echo(f"{count} to be sent again")


@webhook_app.command("add")
def add(
    url: str,
    event: Annotated[
        list[EventKind] | None, typer.Option(help="Which events; repeat it. All without it.")
    ] = None,
) -> None:
    """Register an endpoint and print its secret, this once."""
    settings = read_settings()
    with writing(settings) as session:
        endpoint, secret = webhooks.register(
            session, url=url, events=[kind.value for kind in event or EventKind], vault=vault_of(settings),
            by=None, now=utc_now(),
        )  # fmt: skip
    typer.echo(f"{endpoint.id}\t{endpoint.url}\n{SIGNED}\n{secret}")


@webhook_app.command("list")
def list_endpoints() -> None:
    """Print the endpoints, their events and how they fare."""
    with writing(read_settings()) as session:
        rows = webhook_reading.endpoints(session)
    for row in rows:
        state = "on" if row.is_on else f"off: {row.disabled_why or 'by hand'}"
        typer.echo(f"{row.id}\t{row.url}\t{','.join(row.events)}\t{state}\t{row.failures} failures")


@webhook_app.command("rotate")
def rotate(endpoint: UUID) -> None:
    """Print a new secret; the one before signs too for a day."""
    settings = read_settings()
    with writing(settings) as session:
        _, secret = webhooks.rotate(session, endpoint, vault=vault_of(settings), by=None, now=utc_now())
    typer.echo(f"{SIGNED}\n{secret}")


@webhook_app.command("on")
def switch_on(endpoint: UUID) -> None:
    """Tell an endpoint of events again."""
    with writing(read_settings()) as session:
        webhooks.switch(session, endpoint, on=True, by=None, now=utc_now())
    typer.echo(f"{endpoint} is on")


@webhook_app.command("off")
def switch_off(endpoint: UUID) -> None:
    """Tell an endpoint nothing for now."""
    with writing(read_settings()) as session:
        webhooks.switch(session, endpoint, on=False, by=None, now=utc_now())
    typer.echo(f"{endpoint} is off")


@webhook_app.command("test")
def send_test(endpoint: UUID) -> None:
    """Post an event of nothing to an endpoint, with the next delivery."""
    with writing(read_settings()) as session:
        webhooks.send_test(session, endpoint, by=None, now=utc_now())
    typer.echo(f"a test to {endpoint} is on its way")


@webhook_app.command("remove")
def remove(endpoint: UUID) -> None:
    """Forget an endpoint and its secrets."""
    with writing(read_settings()) as session:
        webhooks.remove(session, endpoint, by=None, now=utc_now())
    typer.echo(f"{endpoint} is removed")
