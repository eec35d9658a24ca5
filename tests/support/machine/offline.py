"""Offline leases while the service is away from the hub, and a hub that crashes with them in hand."""

import json
from datetime import datetime

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from tests.support.allocator import GRACE_MINUTES, TERMS
from tests.support.machine.servers import Servers

from nexus_allocator.domain.leases import Lease, LeaseRefused
from nexus_allocator.domain.stops import Evidence
from nexus_allocator.hub.offline import OfflineBook
from nexus_allocator.services import leases
from nexus_allocator.services.metering import run_round
from nexus_allocator.store.tables import Hold

# Six hours of a Small server, the packaged policy's total for leases.
LEASE_CAP_MICRO = 750_000
SERVER = "lease"


class Offline(Servers):
    """What the spawner keeps of its leases is in the hub's database, and outlives the hub's process."""

    def __init__(self) -> None:
        super().__init__()
        self.book, self.lease = OfflineBook(), None
        self.leases: list[Lease] = []

    lease: Lease | None

    def passed(self) -> None:
        super().passed()
        if self.lease and self.clock() >= self.lease.until:
            # The hub ends it itself, at most a poll later.
            self.end_lease(self.lease.until, reason="planned-hours")

    @rule()
    def visit(self) -> None:
        """The launch page, with the service there: a fresh offer, and what was collected is forgotten."""
        with self.database.reading_scope() as session:
            found = leases.offline_of(
                session, policy=self.world.policy, hub_name=self.name, grace_minutes=GRACE_MINUTES,
                now=self.clock(),
            )  # fmt: skip
        assert not (self.is_suspended and found.offer), "nothing is offered to who is suspended"
        offer = found.offer.as_state() if found.offer else None
        self.book.heard({"offer": offer, "collected": list(map(str, found.collected))})
        self.show_lease()

    @precondition(lambda self: self.lease is None)
    @rule(hours=st.integers(1, 8).map(lambda steps: steps / 4))
    def launch_without_the_service(self, hours: float) -> None:
        """The hub can't know of a suspension then: the cap holds all the same, and the meter stops it."""
        wish = {"account": self.name, "size": "small", "hours": hours}
        try:
            self.lease = self.book.grant(wish, [], server_name=SERVER, now=self.clock())
        except LeaseRefused:
            return
        self.book.has_started(str(self.lease.id), self.clock())
        self.leases.append(self.lease)
        self.show_lease()

    @precondition(lambda self: self.lease is not None)
    @rule(seen=st.booleans())
    def stop_the_lease(self, seen: bool) -> None:
        self.end_lease(self.clock() if seen else None, reason=None)

    def end_lease(self, at: datetime | None, *, reason: str | None) -> None:
        assert self.lease is not None
        evidence = Evidence(stopped_at=at, alive_at_stop=at is not None)
        self.book.has_ended(str(self.lease.id), evidence, started=self.lease.at, reason=reason)
        self.lease = None
        self.show_lease()

    def show_lease(self) -> None:
        """The hub's own list says what the spawner's state says."""
        if self.lease:
            self.hub.runs(self.name, self.lease.id, self.lease.at, SERVER)
        else:
            self.hub.has_stopped(self.name, SERVER)
        state = self.hub.servers[self.name, SERVER]["state"]
        state["offline"] = json.loads(json.dumps(self.book.as_state()))

    def heard_from_the_hub(self) -> None:
        super().heard_from_the_hub()
        asked = (self.name, SERVER) in self.hub.stops
        assert asked or not (self.lease and self.is_suspended), "no lease of a suspended person lives on"
        if self.lease and asked:
            self.end_lease(self.clock(), reason=None)

    @rule(die=st.booleans())
    def the_hub_crashes(self, die: bool) -> None:
        """While it looks for its servers after the crash it vouches for none of them, and none is ended."""
        mine = [key for key, shown in self.hub.servers.items() if not shown["stopped"]]
        running = {self.servers[name].hold_id for name in self.alive()}
        states = {hold_id: self.world.hold(hold_id).state for hold_id in running}
        kept = self.hub.servers.get((self.name, SERVER), {}).get("state", {})
        self.book = OfflineBook.from_state(kept.get("offline"))
        for key in mine:
            self.hub.checks(*key)
        run_round(self.database, self.client, terms=TERMS, clock=self.clock)
        assert {hold_id: self.world.hold(hold_id).state for hold_id in running} == states
        for key in mine:
            self.hub.servers[key] |= {"ready": True, "pending": None}
        if die:
            for name in self.alive():
                self.gone(name)
            if self.lease:
                self.end_lease(None, reason=None)

    def lease_holds(self) -> list[Hold]:
        """The holds of the leases that the service has collected."""
        with self.database.reading_scope() as session:
            return [hold for lease in self.leases if (hold := session.get(Hold, lease.id))]

    @invariant()
    def leases_cost_no_more_than_their_cap_and_no_hours_that_were_not_granted(self) -> None:
        holds = self.lease_holds()
        for hold in holds:
            assert 0 <= hold.posted_micro <= hold.usage_micro <= hold.amount_micro
        figures = self.world.figures(self.name)
        assert figures.available >= -LEASE_CAP_MICRO
        assert figures.balance == self.own - sum(hold.posted_micro for hold in holds)
