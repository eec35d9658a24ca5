"""The meter's thread: one round per interval in the whole deployment, however many replicas run."""

import logging
import os
import socket
import threading
from datetime import timedelta

from nexus_allocator.clients.hub import HubClient
from nexus_allocator.domain.policy import Policy
from nexus_allocator.services import forecasts
from nexus_allocator.services.memberships import stop_leavers
from nexus_allocator.services.metering import Clock, Terms, run_round
from nexus_allocator.services.request_moves import turn_all
from nexus_allocator.store import meter
from nexus_allocator.store.session import Database

log = logging.getLogger(__name__)

# Rounds come a little faster than the interval, so that two never lie further apart than it.
CADENCE = 0.8


class MeterLoop:
    """A background thread that claims each round by a lease in the database and then runs it."""

    def __init__(
        self, database: Database, hub: HubClient, *, terms: Terms, policy: Policy, clock: Clock
    ) -> None:
        self.database, self.hub, self.terms, self.policy, self.clock = database, hub, terms, policy, clock
        self.holder = f"{socket.gethostname()}/{os.getpid()}/{id(self):x}"
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="meter", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 15.0) -> None:
        """End after the round under way and hand the lease back."""
        self._ending.set()
        self._thread.join(timeout_s)
        with self.database.session_scope() as session:
            meter.release(session, meter.METER, holder=self.holder, now=self.clock())

    def turn(self) -> bool:
        """Run one round, and move what the clock moves, when the lease is free; say whether it was."""
        now = self.clock()
        with self.database.session_scope() as session:
            until = now + self.terms.interval * CADENCE
            ours = meter.claim(session, meter.METER, holder=self.holder, until=until, now=now)
        if ours:
            result = run_round(self.database, self.hub, terms=self.terms, clock=self.clock)
            if result.trouble:
                log.warning("the hub's answer was not whole (%s); nothing was ended", result.trouble)
            turn_all(self.database, policy=self.policy, now=now)
            stop_leavers(self.database, self.hub, now=now)
            with self.database.session_scope() as session:
                forecasts.keep_days(session, now=now)
        return ours

    def _run(self) -> None:
        pause = min(self.terms.interval / 20, timedelta(seconds=5)).total_seconds()
        while not self._ending.wait(pause):
            try:
                self.turn()
            except Exception:
                # A thread's edge: the meter outlives a database that restarts; the next turn tries again.
                log.exception("a round of the meter failed")
