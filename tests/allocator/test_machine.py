"""Any order of launches, starts, stops, crashes and lost messages leaves the sums right and leaks no hold."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.support.allocator import GRACE_MINUTES, START, TERMS, Clock, FakeHub, World

from nexus_allocator.domain.credits import charge_micro, hold_micro
from nexus_allocator.domain.errors import QuotaExceeded
from nexus_allocator.domain.states import LIVE, HoldState, TierSlug
from nexus_allocator.services.metering import run_round
from nexus_allocator.store.session import Database

GRANT = 3.0
# Four processors and 16 GiB by the first rate card.
MEDIUM_MICRO = 300_000
NUMBERS: Iterator[int] = count()


@dataclass
class Process:
    """What really happened to one server, as a bystander with a watch recorded it."""

    hold_id: UUID
    began: datetime | None = None
    ended: datetime | None = None
    last_shown: datetime | None = None


class Allocator(RuleBasedStateMachine):
    """One account of three credits, three servers, and a hub that is now and then away."""

    database: Database
    hub: FakeHub
    clock: Clock

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.database, self.clock)
        self.name = f"m{next(NUMBERS)}"
        self.world.astronomer(self.name)
        self.world.team(f"{self.name}-team", self.name, tier=TierSlug.SPECIAL)
        self.account = f"{self.name}-team"
        self.world.grant(self.account, GRANT)
        self.granted = round(GRANT * 1e6)
        self.servers: dict[str, Process] = {}
        self.history: list[Process] = []
        self.hub.servers.clear()
        self.hub.status = 200

    server_names = st.sampled_from(["a", "b", "c"])

    @rule(name=server_names, hours=st.integers(1, 24).map(lambda steps: steps / 4))
    def launch(self, name: str, hours: float) -> None:
        if name in self.servers and self.servers[name].began:
            return
        # A hold placed for the same server and never started is given back by the launch that replaces it.
        freed = 0
        if name in self.servers:
            earlier = self.world.hold(self.servers[name].hold_id)
            freed = earlier.amount_micro if earlier.state in LIVE else 0
        available = self.world.figures(self.account).available + freed
        wish = {"account": self.account, "server_name": name, "size": "medium", "hours": hours}
        needed = hold_micro(MEDIUM_MICRO, round(hours * 3600) + GRACE_MINUTES * 60)
        if needed > available:
            with pytest.raises(QuotaExceeded) as refusal:
                self.world.launch(self.name, **wish)
            assert refusal.value.facts["available_micro"] == available
            return
        admitted = self.world.launch(self.name, **wish)
        assert self.world.hold(admitted.hold_id).amount_micro == needed
        self.servers[name] = Process(admitted.hold_id)
        self.history.append(self.servers[name])

    def placed(self) -> list[str]:
        states = {name: self.world.hold(process.hold_id).state for name, process in self.servers.items()}
        return [name for name, state in states.items() if state == HoldState.PLACED]

    def alive(self) -> list[str]:
        return [name for name, process in self.servers.items() if process.began]

    @precondition(lambda self: any(process.began is None for process in self.servers.values()))
    @rule(data=st.data(), told=st.booleans())
    def start(self, data: st.DataObject, told: bool) -> None:
        names = [name for name in self.placed() if name not in self.alive()]
        if not names:
            return
        name = data.draw(st.sampled_from(names))
        process = self.servers[name]
        process.began = self.clock()
        self.hub.runs(self.name, process.hold_id, process.began, name)
        if told:
            self.world.started(process.hold_id, process.began)
            process.last_shown = self.clock()

    @rule(seconds=st.integers(1, 4000))
    def time_passes(self, seconds: int) -> None:
        self.clock.forward(seconds=seconds)

    @rule(hub_is_up=st.booleans())
    def meter(self, hub_is_up: bool) -> None:
        self.hub.status = 200 if hub_is_up else 503
        with self.hub.client() as client:
            run_round(self.database, client, terms=TERMS, clock=self.clock)
        self.hub.status = 200
        for name, process in self.servers.items():
            if hub_is_up and (self.name, name) in self.hub.servers:
                process.last_shown = self.clock()

    @precondition(lambda self: self.alive())
    @rule(data=st.data(), told=st.booleans(), alive=st.booleans())
    def end(self, data: st.DataObject, told: bool, alive: bool) -> None:
        name = data.draw(st.sampled_from(self.alive()))
        process = self.servers[name]
        process.ended = self.clock()
        del self.servers[name], self.hub.servers[self.name, name]
        if told:
            self.world.stopped(process.hold_id, stopped_at=process.ended, alive_at_stop=alive)
            process.last_shown = process.ended

    @precondition(lambda self: self.history)
    @rule(data=st.data())
    def old_news_is_repeated(self, data: st.DataObject) -> None:
        process = data.draw(st.sampled_from(self.history))
        if process.began:
            self.world.started(process.hold_id, process.began)
        if process.ended and process.last_shown == process.ended:
            self.world.stopped(process.hold_id, stopped_at=process.ended, alive_at_stop=True)

    @rule(amount=st.sampled_from([-0.5, 0.25]))
    def correct(self, amount: float) -> None:
        self.world.correct(self.account, amount)
        self.granted += round(amount * 1e6)

    @invariant()
    def the_sums_agree(self) -> None:
        holds = [self.world.hold(process.hold_id) for process in self.history]
        figures = self.world.figures(self.account)
        assert figures.balance == self.granted - sum(hold.posted_micro for hold in holds)
        live = [hold for hold in holds if hold.state in LIVE]
        assert figures.held == sum(
            max(hold.amount_micro, hold.usage_micro) - hold.posted_micro for hold in live
        )

    @invariant()
    def nobody_pays_for_time_the_process_did_not_live_or_nobody_saw(self) -> None:
        for process in self.history:
            hold = self.world.hold(process.hold_id)
            lived_s = 0.0
            if process.began:
                lived_s = ((process.ended or self.clock()) - process.began).total_seconds()
            assert (
                0 <= hold.posted_micro <= hold.usage_micro <= charge_micro(hold.rate_micro_per_hour, lived_s)
            )
            if process.began and process.last_shown and hold.state != HoldState.PLACED:
                seen_s = (process.last_shown - process.began).total_seconds()
                assert hold.usage_micro >= charge_micro(MEDIUM_MICRO, seen_s)

    def teardown(self) -> None:
        """Everything ends and the hub answers: no hold stays open."""
        self.clock.forward(hours=1)
        self.hub.servers.clear()
        with self.hub.client() as client:
            run_round(self.database, client, terms=TERMS, clock=self.clock)
        assert self.world.figures(self.account).held == 0


def test_sums_hold_under_any_order_of_events(database: Database, hub: FakeHub) -> None:
    bound: Callable[[], Allocator] = type(
        "Bound", (Allocator,), {"database": database, "hub": hub, "clock": Clock(START)}
    )
    run_state_machine_as_test(
        bound,
        settings=settings(
            max_examples=10, stateful_step_count=25, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
