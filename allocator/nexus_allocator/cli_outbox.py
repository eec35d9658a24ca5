"""`nexus-allocator deliver`: sends what is due in the outbox, once; for a CronJob, or without a service."""

import random
from datetime import UTC, datetime

import typer

from nexus_allocator.carriers import carriers_of
from nexus_allocator.config import read_settings
from nexus_allocator.services import digests
from nexus_allocator.services.delivery import deliver as deliver_due
from nexus_allocator.store.session import Database


def deliver() -> None:
    """Send what is due: mail, and what else waits in the outbox. Digests that are due are written before."""
    settings = read_settings()
    database = Database(settings.database_url, threads=1)
    try:
        digests.gather_all(database, now=_now())
        done = deliver_due(
            database, carriers_of(settings), clock=_now, lease=settings.delivery_lease,
            rng=random.Random(),  # noqa: S311 - spreads attempts, hides nothing
        )  # fmt: skip
    finally:
        database.dispose()
    typer.echo(f"{done.sent} sent, {done.dropped} dropped, {done.failed} to try again, {done.dead} given up")
    if done.dead:
        raise typer.Exit(1)


def _now() -> datetime:
    return datetime.now(UTC)
