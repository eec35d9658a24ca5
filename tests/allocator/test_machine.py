"""Any order of launches, stops, crashes, lost messages, transfers and clock steps leaves the sums right.

No hold leaks, every chain verifies, and no server or cluster takes an account below zero, or a part of a team
above its cap, by more than the meter was away for, and the cap of offline leases. What the suspended run does
not live on, and reading in the days of grace costs the account nothing. Its parts: tests/support/machine.
"""

import os
from collections.abc import Callable

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.support.allocator import START, TERMS, Clock, FakeHub
from tests.support.machine.care import Care

from nexus_allocator.services import clusters, leases
from nexus_allocator.services.metering import run_round
from nexus_allocator.store.session import Database

# A short run that is the same each time for `make test`; `make bench` draws long ones anew.
SHORT = 10
EXAMPLES = int(os.environ.get("MACHINE_EXAMPLES", SHORT))
STEPS = 30 if EXAMPLES == SHORT else 60


class Allocator(Care):
    """All parts together."""

    def teardown(self) -> None:
        """Everything ends and the hub answers: no hold stays open, and the audit finds every chain whole."""
        self.clock.forward(hours=1)
        if self.lease:
            self.end_lease(min(self.clock(), self.lease.until), reason=None)
        leases.collect(self.database, self.client.every_server(), now=self.clock())
        assert len(self.lease_holds()) == len(self.leases), "every lease is collected"
        self.hub.servers.clear()
        run_round(self.database, self.client, terms=TERMS, clock=self.clock)
        assert clusters.report(self.database, [], terms=TERMS, now=self.clock()) == []
        for account in (self.account, self.name, self.reader):
            assert self.world.figures(account).held == 0
        rows = {row.hub_name: row for row in self.world.team_page(self.account, self.mate).members}
        for name in (self.name, self.colleague):
            assert (rows[name].taken_micro if name in rows else 0) == self.counted(name)
        self.the_audit_finds_nothing_amiss()


def test_sums_hold_under_any_order_of_events(database: Database, hub: FakeHub) -> None:
    with hub.client() as client:
        bound: Callable[[], Allocator] = type(
            "Bound", (Allocator,), {"database": database, "hub": hub, "client": client, "clock": Clock(START)}
        )
        run_state_machine_as_test(
            bound,
            settings=settings(
                max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None,
                derandomize=EXAMPLES == SHORT, database=None, suppress_health_check=list(HealthCheck),
            ),
        )  # fmt: skip
    print(f"machine: {EXAMPLES} runs of {STEPS} steps")
