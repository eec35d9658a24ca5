"""`nexus-allocator storage work`: does what was asked of the volume that is mounted here."""

import random
import time
from datetime import timedelta
from typing import Annotated

import typer

from nexus_allocator.cli_database import opened, utc_now
from nexus_allocator.cli_purges import work_here
from nexus_allocator.config import read_storage_settings
from nexus_allocator.domain.outbox import Channel
from nexus_allocator.services import places
from nexus_allocator.services.delivery import Carrier, deliver
from nexus_allocator.services.place_calls import FilesCarrier
from nexus_allocator.services.purge_calls import PurgeCarrier
from nexus_allocator.services.purge_work import PurgeWork
from nexus_allocator.services.snapshot_calls import SnapshotCarrier
from nexus_allocator.store.session import Database

storage_work_app = typer.Typer()

JOB_LASTS = timedelta(hours=1)
PAUSE_S = 5.0


@storage_work_app.command("work")
def work_off(
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again every few seconds until stopped.")
    ] = False,
) -> None:
    """Make and size places as ordered, and do what people asked for in the portal: files to be put back,
    from quarantine or a snapshot, and plans to be cancelled.
    """
    with work_here() as work:
        with opened() as database:
            _open_volume(database, work)
        carriers = _carriers(work)
        while True:
            done = deliver(
                work.scopes, carriers, clock=utc_now, lease=JOB_LASTS,
                rng=random.Random(),  # noqa: S311 - spreads attempts, hides nothing
            )  # fmt: skip
            if done.sent or done.failed or done.dead or not watch:
                typer.echo(f"{done.sent} jobs done, {done.failed} to be tried again, {done.dead} given up")
            if not watch:
                return
            time.sleep(PAUSE_S)


def _open_volume(database: Database, work: PurgeWork) -> None:
    """Let the volume take places, and those that wait for one come onto it."""
    settings, now = read_storage_settings(), utc_now()
    with database.session_scope() as session:
        places.open_volume(
            session, settings.volume, driver=settings.driver, enforces=work.volume.holds.limit,
            most_places=settings.most_places, now=now,
        )  # fmt: skip
    places.settle_undone(database, policy=work.policy, now=now)


def _carriers(work: PurgeWork) -> dict[Channel, Carrier]:
    here = {read_storage_settings().volume: work.volume}
    return {
        Channel.FILES: FilesCarrier(here, work.policy.storage),
        Channel.PURGES: PurgeCarrier(work, utc_now),
        Channel.SNAPSHOTS: SnapshotCarrier(here),
    }
