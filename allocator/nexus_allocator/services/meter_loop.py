"""The meter's thread: one round per interval in the whole deployment, however many replicas run."""

import logging
import os
import socket
import threading
from datetime import datetime, timedelta

from nexus_allocator.clients.hub import HubClient
from nexus_allocator.domain.errors import HubUnavailable
from nexus_allocator.domain.policy import Policy
from nexus_allocator.services import (
    endings,
    enterings,
    events,
    forecasts,
    invitations,
    leases,
    offers,
    pool,
)
from nexus_allocator.services.enforcement import enforce
from nexus_allocator.services.identities import finish_merges
from nexus_allocator.services.memberships import stop_leavers
from nexus_allocator.services.metering import Clock, Terms, run_round
from nexus_allocator.services.request_moves import turn_all
from nexus_allocator.store import meter
from nexus_allocator.store.session import Database

log = logging.getLogger(__name__)

# Rounds come a little faster than the interval, so that two never lie further apart than it.
CADENCE = 0.8
# A whole list of a hub's people is long; leases of servers that have ended can wait so long.
SWEEP = timedelta(hours=1)
# So many intervals without a round mean that the service or its database was away.
GAP = 3


class MeterLoop:
    """A background thread that claims each round by a lease in the database and then runs it."""

    def __init__(
        self, database: Database, hub: HubClient, *, terms: Terms, policy: Policy, clock: Clock
    ) -> None:
        self.database, self.hub, self.terms, self.policy, self.clock = database, hub, terms, policy, clock
        self.holder = f"{socket.gethostname()}/{os.getpid()}/{id(self):x}"
        self._swept_at: datetime | None = None
        self._turned_at: datetime | None = None
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
            self._sweep(now)
            result = run_round(self.database, self.hub, terms=self.terms, clock=self.clock)
            if result.trouble:
                log.warning("the hub's answer was not whole (%s); nothing was ended", result.trouble)
            enforced = enforce(self.database, self.hub, terms=self.policy.enforcement, now=self.clock())
            if enforced.trouble:
                log.warning("servers without credits were not stopped yet (%s)", enforced.trouble)
            pool.measure(self.database, self.policy.pool, now=self.clock())
            turn_all(self.database, policy=self.policy, now=now)
            offers.turn_all(self.database, now=now)
            invitations.turn_all(self.database, now=now)
            events.turn_all(self.database, now=now)
            endings.turn_all(self.database, policy=self.policy, now=now)
            stop_leavers(self.database, self.hub, now=now)
            finish_merges(self.database, now=now)
            scopes = self.database.reading_scope, self.database.session_scope
            enterings.end_due(*scopes, self.hub, now=now)
            with self.database.session_scope() as session:
                forecasts.keep_days(session, now=now)
        return ours

    def _sweep(self, now: datetime) -> None:
        """Collect leases whose servers have ended: at the first turn, after a gap, and now and then."""
        swept, turned = self._swept_at, self._turned_at
        self._turned_at = now
        if swept and turned and now - swept < SWEEP and now - turned < GAP * self.terms.interval:
            return
        try:
            leases.collect(self.database, self.hub.every_server(), now=now)
            self._swept_at = now
        except HubUnavailable as error:
            self._swept_at = None
            log.warning("offline leases were not looked for (%s)", error.facts["problem"])

    def _run(self) -> None:
        pause = min(self.terms.interval / 20, timedelta(seconds=5)).total_seconds()
        while not self._ending.wait(pause):
            try:
                self.turn()
            except Exception:
                # A thread's edge: the meter outlives a database that restarts; the next turn tries again.
                log.exception("a round of the meter failed")
