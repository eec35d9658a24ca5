"""What the service does unasked, the rounds of meter and deliverer, as one thing to start and to stop.

They run in threads of the service's own process, or in another (`nexus-allocator rounds`) so that no
answer waits for the interpreter while a thousand servers are read.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from nexus_allocator.carriers import carriers_of, volume_at
from nexus_allocator.clients.hub import HubClient
from nexus_allocator.config import Settings
from nexus_allocator.domain.policy import Policy
from nexus_allocator.services import places
from nexus_allocator.services.delivery_loop import DeliveryLoop
from nexus_allocator.services.meter_loop import MeterLoop
from nexus_allocator.services.metering import Clock, Terms
from nexus_allocator.store.session import Database


@contextmanager
def running_rounds(
    settings: Settings, policy: Policy, database: Database, hub: HubClient, *, clock: Clock
) -> Iterator[None]:
    """Run both until the block ends; each ends after what it has under way."""
    rng = random.Random()  # noqa: S311 - spreads attempts, hides nothing
    meter = MeterLoop(database, hub, terms=terms_of(settings), policy=policy, clock=clock)
    deliverer = DeliveryLoop(
        database, carriers_of(settings, hub), clock=clock, rng=rng, lease=settings.delivery_lease
    )
    _open_volume(settings, policy, database, now=clock())
    meter.start()
    deliverer.start()
    try:
        yield
    finally:
        deliverer.stop()
        meter.stop()


def _open_volume(settings: Settings, policy: Policy, database: Database, *, now: datetime) -> None:
    """Let the volume that is mounted here take places, and those that wait for one come onto it."""
    if settings.mount is None:
        return
    volume = volume_at(settings.mount)
    with database.session_scope() as session:
        places.open_volume(
            session, settings.storage_volume, driver=settings.storage_driver, enforces=volume.holds.limit,
            most_places=settings.storage_most_places, now=now,
        )  # fmt: skip
    places.settle_undone(database, policy=policy, now=now)


def terms_of(settings: Settings) -> Terms:
    return Terms(
        interval=settings.metering_interval,
        posting_interval=settings.posting_interval,
        start_timeout=settings.hold_start_timeout,
    )
