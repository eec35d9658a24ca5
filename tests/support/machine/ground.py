"""What every part of the machine stands on: a team's account, its member, a clock, a hub and the sums."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.support.allocator import TERMS, Clock, FakeHub, World

from nexus_allocator.clients.hub import HubClient
from nexus_allocator.domain.outbox import Channel
from nexus_allocator.domain.states import LIVE, TierSlug
from nexus_allocator.services import enforcement, leases, pool
from nexus_allocator.services.audit import audit
from nexus_allocator.services.delivery import deliver
from nexus_allocator.services.hub_calls import HubCarrier
from nexus_allocator.services.memberships import stop_leavers
from nexus_allocator.services.metering import run_round
from nexus_allocator.store.session import Database
from nexus_allocator.store.tables import Hold

GRANT = 3.0
NUMBERS: Iterator[int] = count()
RNG = random.Random(5)  # noqa: S311 - spreads the outbox's attempts


@dataclass(frozen=True)
class Charged:
    """A hold on the team's account: whose it is, and for which sub-group it counts."""

    hold_id: UUID
    who: str
    group: UUID | None


class Ground(RuleBasedStateMachine):
    """One team of three people, whose account has three credits, and a hub that is now and then away."""

    database: Database
    hub: FakeHub
    client: HubClient
    clock: Clock

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.database, self.clock)
        self.hub.servers.clear()
        self.hub.status = 200
        self.name = f"m{next(NUMBERS)}"
        self.mate, self.colleague = f"{self.name}-lead", f"{self.name}-colleague"
        for name in (self.name, self.mate, self.colleague):
            self.world.astronomer(name)
        self.account = f"{self.name}-team"
        self.world.team(self.account, self.mate, self.name, self.colleague, tier=TierSlug.SPECIAL)
        self.world.grant(self.account, GRANT)
        self.granted, self.taken = round(GRANT * 1e6), 0
        # Little enough of their own that offline leases can use it up.
        self.world.correct(self.name, -23.5)
        self.own = self.world.figures(self.name).balance
        self.is_member, self.is_suspended = True, False
        self.charged: list[Charged] = []
        self.metered_at, self.longest_away_s = self.clock(), 0.0

    # -- the clock, and the meter

    @rule(seconds=st.integers(1, 4000))
    def time_passes(self, seconds: int) -> None:
        self.clock.forward(seconds=seconds)
        self.passed()

    @rule(hours=st.sampled_from([3, 30]))
    def the_clock_jumps(self, hours: int) -> None:
        """As on a machine that slept: no timer went off meanwhile."""
        self.clock.forward(hours=hours)
        self.passed()

    @rule(seconds=st.integers(1, 900))
    def the_clock_is_set_back(self, seconds: int) -> None:
        """As when a wrong clock is mended: what was seen stays seen, and nothing is charged twice."""
        self.clock.forward(seconds=-seconds)

    @rule(hub_is_up=st.booleans())
    def meter(self, hub_is_up: bool) -> None:
        self.hub.status = 200 if hub_is_up else 503
        self.hub.stops.clear()
        if hub_is_up:
            leases.collect(self.database, self.client.every_server(), now=self.clock())
        run_round(self.database, self.client, terms=TERMS, clock=self.clock)
        policy = self.world.policy
        enforcement.enforce(self.database, self.client, terms=policy.enforcement, now=self.clock())
        pool.measure(self.database, policy.pool, now=self.clock())
        stop_leavers(self.database, self.client, now=self.clock())
        carriers = {Channel.HUB: HubCarrier(self.client)}
        deliver(self.database, carriers, clock=self.clock, rng=RNG, is_patient=False)
        self.hub.status = 200
        if hub_is_up:
            self.heard_from_the_hub()
            self.longest_away_s = max(self.longest_away_s, self.away_s())
            self.metered_at = self.clock()

    def passed(self) -> None:
        """The clock went on; parts add what goes by it."""

    def heard_from_the_hub(self) -> None:
        """A round of the meter is over in which the hub answered; parts let end what was asked to stop."""

    def away_s(self) -> float:
        return abs((self.clock() - self.metered_at).total_seconds())

    # -- what stands on the team's account

    def holds(self, who: str | None = None, group: UUID | None = None) -> list[Hold]:
        wanted = [each for each in self.charged if who in (None, each.who) and group in (None, each.group)]
        return [self.world.hold(each.hold_id) for each in wanted]

    def counted(self, who: str | None = None, group: UUID | None = None) -> int:
        """What a member's or sub-group's servers and clusters used, or hold while they live."""
        return sum(
            max(hold.amount_micro, hold.usage_micro) if hold.state in LIVE else hold.usage_micro
            for hold in self.holds(who, group)
        )

    def most_beyond(self, hold_id: UUID) -> int:
        """By how much a hold may be overdrawn for what nobody could meter; parts know theirs."""
        raise KeyError(hold_id)

    @rule(amount=st.sampled_from([-0.5, 0.25]))
    def correct(self, amount: float) -> None:
        self.world.correct(self.account, amount)
        self.corrected(amount)

    def corrected(self, amount: float) -> None:
        self.granted += round(amount * 1e6)
        self.taken += max(0, round(-amount * 1e6))

    @invariant()
    def the_sums_agree(self) -> None:
        holds, figures = self.holds(), self.world.figures(self.account)
        assert figures.balance == self.granted - sum(hold.posted_micro for hold in holds)
        assert figures.held == sum(
            max(hold.amount_micro, hold.usage_micro) - hold.posted_micro
            for hold in holds
            if hold.state in LIVE
        )

    @invariant()
    def nothing_costs_more_than_was_held_but_for_the_time_nobody_could_meter(self) -> None:
        over = 0
        for hold in self.holds():
            beyond = max(0, hold.usage_micro - hold.amount_micro)
            assert beyond <= self.most_beyond(hold.id)
            over += beyond
        assert self.world.figures(self.account).available >= -over - self.taken

    def the_audit_finds_nothing_amiss(self) -> None:
        with self.database.reading_scope() as session:
            report = audit(session, meter_silence=timedelta(days=3650), now=self.clock())
        # Accounts that corrections took below zero are told of; here that is meant.
        assert {drift.kind for drift in report.drifts} <= {"overspent"}
