"""The deliverer's threads: one for each channel, so that a slow mail server keeps no server running.

Any number of replicas may run them: a row is claimed by one.
"""

import logging
import random
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from nexus_allocator.domain.outbox import Channel
from nexus_allocator.services import digests, place_history
from nexus_allocator.services.delivery import Carrier, Delivered, deliver, forget_old
from nexus_allocator.store.session import Database

log = logging.getLogger(__name__)

PAUSE_S = 1.0
# Digests and what is old are looked for now and then only.
KEEPING = timedelta(minutes=5)
# It reads all looks at places there ever were.
THINNING = timedelta(days=1)


class DeliveryLoop:
    """Background threads that send what is due, look again each second, and write digests."""

    def __init__(
        self,
        database: Database,
        carriers: Mapping[Channel, Carrier],
        *,
        clock: Callable[[], datetime],
        rng: random.Random,
        lease: timedelta,
    ) -> None:
        self.database, self.carriers, self.clock, self.rng = database, carriers, clock, rng
        self.lease = lease
        self._kept_at: datetime | None = None
        self._thinned_at: datetime | None = None
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(channel,), name=f"deliver-{channel}", daemon=True)
            for channel in carriers
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float = 15.0) -> None:
        """End after what is being sent; what is cut off is sent again when its claim has ended."""
        self._ending.set()
        for thread in self._threads:
            thread.join(timeout_s)

    def turn(self, channel: Channel) -> Delivered:
        """Send what is due by the channel; with mail, write the digests that are due before."""
        if channel is Channel.MAIL:
            self._keep_house()
        return deliver(
            self.database, {channel: self.carriers[channel]}, clock=self.clock, rng=self.rng,
            lease=self.lease, is_ending=self._ending.is_set, is_patient=channel is not Channel.HUB,
        )  # fmt: skip

    def _keep_house(self) -> None:
        now = self.clock()
        if self._kept_at is not None and now - self._kept_at < KEEPING:
            return
        digests.gather_all(self.database, now=now)
        forget_old(self.database, now=now)
        self._kept_at = now
        if self._thinned_at is None or now - self._thinned_at >= THINNING:
            place_history.thin(self.database, now=now)
            self._thinned_at = now

    def _run(self, channel: Channel) -> None:
        while not self._ending.wait(PAUSE_S):
            try:
                done = self.turn(channel)
                if done.failed or done.dead:
                    log.warning("%s: %d will be tried again, %d given up", channel, done.failed, done.dead)
            except Exception:
                # A thread's edge: the deliverer outlives a database that restarts.
                log.exception("a round of the deliverer failed")
