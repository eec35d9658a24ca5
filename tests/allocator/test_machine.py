"""Any order of launches, stops, crashes, lost messages, transfers and clock steps leaves the sums right.

No hold leaks, every chain verifies, and no server takes an account below zero, or a member of a team above
their cap, by more than the meter was away for, and the cap of offline leases.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
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
from nexus_allocator.domain.errors import (
    AllocationExpired,
    AlreadyJoined,
    NotBetweenTeamAndMember,
    QuotaExceeded,
    ShareExceeded,
    TransferTooLarge,
    UnknownAccount,
)
from nexus_allocator.domain.leases import Lease, LeaseRefused
from nexus_allocator.domain.states import LIVE, HoldState, ShareKind, TierSlug
from nexus_allocator.domain.stops import Evidence
from nexus_allocator.hub.offline import OfflineBook
from nexus_allocator.services import enforcement, events, leases, pool
from nexus_allocator.services.audit import audit
from nexus_allocator.services.events import EventRow
from nexus_allocator.services.metering import run_round
from nexus_allocator.store.session import Database
from nexus_allocator.store.tables import Hold

# A short run that is the same each time for `make test`; `make bench` draws long ones anew.
SHORT = 10
EXAMPLES = int(os.environ.get("MACHINE_EXAMPLES", SHORT))
GRANT = 3.0
# Four processors and 16 GiB by the first rate card.
MEDIUM_MICRO = 300_000
# Two and 4 GiB, and what an event gives.
SMALL_MICRO, EVENT_MICRO = 125_000, 1_000_000
# Six hours of a Small server, the packaged policy's total for leases.
LEASE_CAP_MICRO = 750_000
NUMBERS: Iterator[int] = count()


@dataclass
class Process:
    """What really happened to one server, as a bystander with a watch recorded it."""

    hold_id: UUID
    began: datetime | None = None
    ended: datetime | None = None
    last_shown: datetime | None = None
    latest: datetime | None = None
    unmetered_s: float = 0.0


class Allocator(RuleBasedStateMachine):
    """One account of three credits, three servers, and a hub that is now and then away.

    Its person has an account of their own, and offline leases on it while the service is away from the hub.
    """

    database: Database
    hub: FakeHub
    clock: Clock
    lease: Lease | None
    leases: list[UUID]

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.database, self.clock)
        self.name = f"m{next(NUMBERS)}"
        self.world.astronomer(self.name)
        self.mate = f"{self.name}-lead"
        self.world.astronomer(self.mate)
        self.account = f"{self.name}-team"
        self.world.team(self.account, self.mate, self.name, tier=TierSlug.SPECIAL)
        self.is_member = True
        self.cap: int | None = None
        self.ceiling: int | None = None
        self.kept_for_the_lead = 0
        self.world.grant(self.account, GRANT)
        self.granted = round(GRANT * 1e6)
        self.taken = 0
        # Little enough of their own that leases can use it up.
        self.world.correct(self.name, -23.5)
        self.own = self.world.figures(self.name).balance
        self.book, self.lease, self.leases = OfflineBook(), None, []
        self.metered_at = self.clock()
        self.event: EventRow | None = None
        self.event_holds: list[UUID] = []
        self.furthest = self.clock()
        self.servers: dict[str, Process] = {}
        self.latest: dict[str, Process] = {}
        self.history: list[Process] = []
        self.hub.servers.clear()
        self.hub.status = 200

    server_names = st.sampled_from(["a", "b", "c"])

    @rule(name=server_names, hours=st.integers(1, 24).map(lambda steps: steps / 4))
    def launch(self, name: str, hours: float) -> None:
        if name in self.servers and self.servers[name].began:
            return
        available = self.world.figures(self.account).available + self.freed_by_a_launch(name)
        wish = {"account": self.account, "server_name": name, "size": "medium", "hours": hours}
        needed = hold_micro(MEDIUM_MICRO, round(hours * 3600) + GRACE_MINUTES * 60)
        if not self.is_member:
            with pytest.raises(UnknownAccount):
                self.world.launch(self.name, **wish)
            return
        room = self.room(available, name)
        if available >= needed > room:
            with pytest.raises(ShareExceeded) as small:
                self.world.launch(self.name, **wish)
            assert small.value.facts["available_micro"] == room
            return
        if needed > available:
            with pytest.raises(QuotaExceeded) as refusal:
                self.world.launch(self.name, **wish)
            assert refusal.value.facts["available_micro"] == available
            return
        admitted = self.world.launch(self.name, **wish)
        assert self.world.hold(admitted.hold_id).amount_micro == needed
        self.servers[name] = self.latest[name] = Process(admitted.hold_id)
        self.history.append(self.servers[name])

    def counted(self) -> int:
        """What the member's servers used, or hold while they live: each counts against the cap."""
        holds = [self.world.hold(process.hold_id) for process in self.history]
        return sum(
            max(hold.amount_micro, hold.usage_micro) if hold.state in LIVE else hold.usage_micro
            for hold in holds
        )

    def room(self, available: int, name: str) -> int:
        """What the member may set aside: not what is kept for the lead, and no more than the cap leaves."""
        room = available - min(self.kept_for_the_lead, max(0, available))
        if self.cap is None:
            return room
        return min(room, max(0, self.cap - self.counted() + self.freed_by_a_launch(name)))

    @precondition(lambda self: self.is_member)
    @rule(credits=st.sampled_from([None, 0.25, 1.0, 2.5]))
    def the_member_is_capped(self, credits: float | None) -> None:  # noqa: A002 - the word people use
        if credits is None:
            self.world.unshare(self.account, self.name)
            self.cap = self.ceiling = None
            return
        self.world.share(self.account, self.name, credits)
        self.cap = round(credits * 1e6)
        self.ceiling = max(self.cap, self.counted())

    @rule(credits=st.sampled_from([0.5, 4.0]), keep=st.booleans())
    def the_lead_has_a_fair_share(self, credits: float, keep: bool) -> None:  # noqa: A002
        if keep:
            self.world.share(self.account, self.mate, credits, ShareKind.FAIR)
        else:
            self.world.unshare(self.account, self.mate)
        self.kept_for_the_lead = round(credits * 1e6) if keep else 0

    @rule()
    def the_member_goes_or_comes_back(self) -> None:
        if self.is_member:
            stopped = self.world.remove(self.name, self.account, by=self.mate)
            live = {name for name, each in self.latest.items() if self.world.hold(each.hold_id).state in LIVE}
            assert {server.server_name for server in stopped} == live
            self.cap = self.ceiling = None
        else:
            self.world.answers(self.name, self.world.invite(self.account, self.name, by=self.mate))
        self.is_member = not self.is_member

    def freed_by_a_launch(self, name: str) -> int:
        """A launch settles what is left of the server's run before: never started, or ended untold."""
        if name not in self.latest:
            return 0
        earlier = self.world.hold(self.latest[name].hold_id)
        return max(earlier.amount_micro - earlier.usage_micro, 0) if earlier.state in LIVE else 0

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
        offer = found.offer.as_state() if found.offer else None
        self.book.heard({"offer": offer, "collected": list(map(str, found.collected))})
        self.show_lease()

    @precondition(lambda self: self.lease is None)
    @rule(hours=st.integers(1, 8).map(lambda steps: steps / 4))
    def launch_without_the_service(self, hours: float) -> None:
        wish = {"account": self.name, "size": "small", "hours": hours}
        try:
            self.lease = self.book.grant(wish, [], server_name="lease", now=self.clock())
        except LeaseRefused:
            return
        self.book.has_started(str(self.lease.id), self.clock())
        self.leases.append(self.lease.id)
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
            self.hub.runs(self.name, self.lease.id, self.lease.at, "lease")
        else:
            self.hub.has_stopped(self.name, "lease")
        state = self.hub.servers[self.name, "lease"]["state"]
        state["offline"] = json.loads(json.dumps(self.book.as_state()))

    def lease_holds(self) -> list[Hold]:
        """The holds of the leases that the service has collected."""
        with self.database.reading_scope() as session:
            return [hold for lease_id in self.leases if (hold := session.get(Hold, lease_id))]

    @rule(hub_is_up=st.booleans())
    def meter(self, hub_is_up: bool) -> None:
        self.hub.status = 200 if hub_is_up else 503
        self.hub.stops.clear()
        with self.hub.client() as client:
            if hub_is_up:
                leases.collect(self.database, client.every_server(), now=self.clock())
            run_round(self.database, client, terms=TERMS, clock=self.clock)
            policy = self.world.policy
            enforcement.enforce(self.database, client, terms=policy.enforcement, now=self.clock())
            pool.measure(self.database, policy.pool, now=self.clock())
        self.hub.status = 200
        if not hub_is_up:
            return
        for name, process in list(self.servers.items()):
            if (self.name, name) not in self.hub.servers:
                continue
            process.last_shown = self.clock()
            # Over by at most the time since the last whole round; what the clock skipped counts as such.
            process.unmetered_s = max(process.unmetered_s, self.away_s())
            if self.world.hold(process.hold_id).until <= self.clock():
                assert (self.name, name) in self.hub.stops
            # For its planned hours, or for want of credits.
            if (self.name, name) in self.hub.stops:
                process.ended = self.clock()
                del self.servers[name], self.hub.servers[self.name, name]
        self.metered_at = self.clock()

    def away_s(self) -> float:
        return abs((self.clock() - self.metered_at).total_seconds())

    @precondition(lambda self: self.alive())
    @rule(data=st.data(), told=st.booleans(), alive=st.booleans())
    def end(self, data: st.DataObject, told: bool, alive: bool) -> None:
        name = data.draw(st.sampled_from(self.alive()))
        process = self.servers[name]
        process.ended = self.clock()
        process.unmetered_s = max(process.unmetered_s, self.away_s())
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

    @rule(of_the_team=st.booleans(), days_ago=st.sampled_from([1, 31]))
    def an_allocation_ends(self, of_the_team: bool, days_ago: int) -> None:
        """Entry is renewed by itself, the team's lapses after its grace; what is held goes on paying."""
        account = self.account if of_the_team else self.name
        free = max(0, self.world.figures(account).available)
        # No term ends twice at one moment, though here the clock may stand still or go back.
        self.world.ends(account, self.clock() - timedelta(days=days_ago, microseconds=next(NUMBERS)))
        self.world.turn()
        self.world.turn()
        if not of_the_team:
            self.own += round(25e6) - free
            return
        lapsed = free if days_ago == 31 else 0
        self.granted -= lapsed
        self.world.ends(self.account, self.clock() + timedelta(days=365))
        self.world.grant(self.account, GRANT)
        self.granted += round(GRANT * 1e6)

    @precondition(lambda self: self.event is None)
    @rule(shared=st.booleans(), hours=st.integers(1, 4))
    def an_event_is_made_and_joined(self, shared: bool, hours: int) -> None:
        money = {"pool_micro" if shared else "per_person_micro": EVENT_MICRO}
        kinds = {"pool_micro": None, "per_person_micro": None} | money
        until = self.clock() + timedelta(hours=hours)
        self.event = self.world.event(f"{self.name} event {next(NUMBERS)}", ends_at=until, **kinds)
        self.event_holds, self.furthest = [], self.clock()
        self.world.joins(self.name, self.event.code)
        with pytest.raises(AlreadyJoined):
            self.world.joins(self.name, self.event.code)

    @precondition(lambda self: self.event is not None)
    @rule(hours=st.integers(1, 6))
    def launch_on_the_event(self, hours: int) -> None:
        """A server with a life of its own, metered by the hub's news of its start and its stop alone."""
        assert self.event is not None
        wish = {"account": self.event.slug, "server_name": "event", "hours": hours}
        earlier = [self.world.hold(each) for each in self.event_holds[-1:]]
        freed = sum(max(each.amount_micro - each.usage_micro, 0) for each in earlier if each.state in LIVE)
        needed = hold_micro(SMALL_MICRO, hours * 3600 + GRACE_MINUTES * 60)
        if self.clock() >= self.event.ends_at:
            with pytest.raises(AllocationExpired):
                self.world.launch(self.name, **wish)
        elif needed > self.world.figures(self.event.slug).available + freed:
            with pytest.raises((QuotaExceeded, ShareExceeded)):
                self.world.launch(self.name, **wish)
        else:
            self.event_holds.append(self.world.launch(self.name, **wish).hold_id)

    @precondition(lambda self: self.event_holds)
    @rule(stops=st.booleans())
    def the_event_s_server_is_heard_of(self, stops: bool) -> None:
        hold = self.world.hold(self.event_holds[-1])
        if hold.process_started_at is None:
            self.world.started(hold.id)
        if stops:
            ended = min(self.clock(), hold.until)
            self.world.stopped(hold.id, stopped_at=ended, alive_at_stop=True)

    @precondition(lambda self: self.event is not None)
    @rule(early=st.booleans())
    def the_event_ends(self, early: bool) -> None:
        """What is neither used nor held goes back at once; what is held pays on, then its rest goes back."""
        assert self.event is not None
        if early and self.clock() < self.event.ends_at:
            with self.database.session_scope() as session:
                events.end(session, self.event.id, actor="operator", reason="for the test", now=self.clock())
            with self.database.reading_scope() as session:
                self.event = events.row_of(session, self.event.id)
        self.world.turn()
        self.world.turn()
        live = [each for each in map(self.world.hold, self.event_holds) if each.state in LIVE]
        figures = self.world.figures(self.event.slug)
        if self.clock() >= self.event.ends_at:
            assert figures.available == 0
            if not live:
                assert figures.balance == 0
                self.event = None

    @rule(amount=st.sampled_from([-0.5, 0.25]))
    def correct(self, amount: float) -> None:
        self.world.correct(self.account, amount)
        self.granted += round(amount * 1e6)
        self.taken += max(0, round(-amount * 1e6))

    @rule(amount=st.sampled_from([0.125, 0.5, 2.0]), to_member=st.booleans())
    def transfer(self, amount: float, to_member: bool) -> None:
        source, target = (self.account, self.name) if to_member else (self.name, self.account)
        micro, available = round(amount * 1e6), self.world.figures(source).available
        if not self.is_member:
            with pytest.raises(NotBetweenTeamAndMember):
                self.world.transfer(source, target, amount)
            return
        if micro > available:
            with pytest.raises(TransferTooLarge):
                self.world.transfer(source, target, amount)
            return
        self.world.transfer(source, target, amount)
        self.granted += -micro if to_member else micro
        self.own += micro if to_member else -micro

    @rule(seconds=st.integers(1, 900))
    def the_clock_is_set_back(self, seconds: int) -> None:
        """As when a wrong clock is mended: what was seen stays seen, and nothing is charged twice."""
        self.clock.forward(seconds=-seconds)

    def the_audit_finds_nothing_amiss(self) -> None:
        with self.database.reading_scope() as session:
            report = audit(session, meter_silence=timedelta(days=3650), now=self.clock())
        # Accounts that corrections took below zero are told of; here that is meant.
        assert {drift.kind for drift in report.drifts} <= {"overspent"}

    @invariant()
    def the_sums_agree(self) -> None:
        holds = [self.world.hold(process.hold_id) for process in self.history]
        figures = self.world.figures(self.account)
        assert figures.balance == self.granted - sum(hold.posted_micro for hold in holds)
        live = [hold for hold in holds if hold.state in LIVE]
        assert figures.held == sum(
            max(hold.amount_micro, hold.usage_micro) - hold.posted_micro for hold in live
        )
        assert self.world.figures(self.name).balance == self.own - sum(
            hold.posted_micro for hold in self.lease_holds()
        )

    @invariant()
    def an_event_spends_no_more_than_it_was_given_and_gives_back_no_more_than_is_left(self) -> None:
        if self.event is None:
            return
        posted = sum(self.world.hold(each).posted_micro for each in self.event_holds)
        figures = self.world.figures(self.event.slug)
        assert 0 <= figures.available <= figures.balance <= EVENT_MICRO - posted
        self.furthest = max(self.furthest, self.clock())
        # What ended once stays so, though the clock is set back.
        if self.furthest < self.event.ends_at:
            assert figures.balance == EVENT_MICRO - posted

    @invariant()
    def leases_cost_no_more_than_their_cap_and_no_hours_that_were_not_granted(self) -> None:
        for hold in self.lease_holds():
            assert 0 <= hold.posted_micro <= hold.usage_micro <= hold.amount_micro
        assert self.world.figures(self.name).available >= -LEASE_CAP_MICRO

    @invariant()
    def no_server_costs_more_than_was_held_but_for_the_time_the_meter_was_away(self) -> None:
        over = 0
        for process in self.history:
            hold = self.world.hold(process.hold_id)
            beyond = max(0, hold.usage_micro - hold.amount_micro)
            away_s = max(process.unmetered_s, self.away_s() if process.ended is None else 0)
            assert beyond <= charge_micro(MEDIUM_MICRO, away_s)
            over += beyond
        assert self.world.figures(self.account).available >= -over - self.taken

    @invariant()
    def no_order_of_moves_takes_a_member_above_their_cap_but_for_the_time_the_meter_was_away(self) -> None:
        if self.ceiling is None:
            return
        holds = [self.world.hold(process.hold_id) for process in self.history]
        beyond = sum(max(0, hold.usage_micro - hold.amount_micro) for hold in holds)
        assert self.counted() <= self.ceiling + beyond

    @invariant()
    def nobody_pays_for_time_the_process_did_not_live_or_nobody_saw(self) -> None:
        for process in self.history:
            hold = self.world.hold(process.hold_id)
            lived_s = 0.0
            if process.began:
                # By the furthest moment any clock showed while it lived.
                shown = max(process.latest or process.began, process.ended or self.clock())
                process.latest = shown
                lived_s = (shown - process.began).total_seconds()
            assert (
                0 <= hold.posted_micro <= hold.usage_micro <= charge_micro(hold.rate_micro_per_hour, lived_s)
            )
            if process.began and process.last_shown and hold.state != HoldState.PLACED:
                # A clock set back before the start makes the hold look younger than it is: never older.
                seen_s = (process.last_shown - max(process.began, hold.placed_at)).total_seconds()
                assert hold.usage_micro >= charge_micro(MEDIUM_MICRO, seen_s)

    def teardown(self) -> None:
        """Everything ends and the hub answers: no hold stays open, and the audit finds every chain whole."""
        self.clock.forward(hours=1)
        if self.lease:
            self.end_lease(min(self.clock(), self.lease.until), reason=None)
        with self.hub.client() as client:
            leases.collect(self.database, client.every_server(), now=self.clock())
        assert len(self.lease_holds()) == len(self.leases), "every lease is collected"
        self.hub.servers.clear()
        with self.hub.client() as client:
            run_round(self.database, client, terms=TERMS, clock=self.clock)
        assert self.world.figures(self.account).held == self.world.figures(self.name).held == 0
        rows = {row.hub_name: row for row in self.world.team_page(self.account, self.mate).members}
        assert (rows[self.name].taken_micro if self.name in rows else 0) == self.counted()
        self.the_audit_finds_nothing_amiss()


def test_sums_hold_under_any_order_of_events(database: Database, hub: FakeHub) -> None:
    bound: Callable[[], Allocator] = type(
        "Bound", (Allocator,), {"database": database, "hub": hub, "clock": Clock(START)}
    )
    run_state_machine_as_test(
        bound,
        settings=settings(
            max_examples=EXAMPLES, stateful_step_count=25 if EXAMPLES == SHORT else 60, deadline=None,
            derandomize=EXAMPLES == SHORT, database=None, suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
    print(f"machine: {EXAMPLES} runs")
