"""The member's three servers: launched, started, seen, ended, with news that is told, lost or repeated."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from tests.support.allocator import GRACE_MINUTES
from tests.support.machine.ground import GRANT, NUMBERS, Charged
from tests.support.machine.team import Team

from nexus_allocator.domain.credits import charge_micro, hold_micro
from nexus_allocator.domain.errors import QuotaExceeded, ShareExceeded, Suspended, UnknownAccount
from nexus_allocator.domain.states import HoldState

# Four processors and 16 GiB by the first rate card.
MEDIUM_MICRO = 300_000


@dataclass
class Process:
    """What really happened to one server, as a bystander with a watch recorded it."""

    hold_id: UUID
    began: datetime | None = None
    ended: datetime | None = None
    last_shown: datetime | None = None
    latest: datetime | None = None
    unmetered_s: float = 0.0


class Servers(Team):
    """The hub runs what it was told to start; the meter sees it, or does not."""

    def __init__(self) -> None:
        super().__init__()
        self.servers: dict[str, Process] = {}
        self.latest: dict[str, Process] = {}
        self.history: list[Process] = []

    @rule(name=st.sampled_from(["a", "b", "c"]), hours=st.integers(1, 24).map(lambda steps: steps / 4))
    def launch(self, name: str, hours: float) -> None:
        if name in self.servers and self.servers[name].began:
            return
        freed = self.freed(self.latest[name].hold_id if name in self.latest else None)
        available = self.world.figures(self.account).available + sum(freed.values())
        needed = hold_micro(MEDIUM_MICRO, round(hours * 3600) + GRACE_MINUTES * 60)
        wish = {"account": self.account, "server_name": name, "size": "medium", "hours": hours}
        if self.is_suspended or not self.is_member:
            with pytest.raises(Suspended if self.is_suspended else UnknownAccount):
                self.world.launch(self.name, **wish)
            return
        room = self.room(self.name, available, freed)
        if needed > min(room, available):
            with pytest.raises(QuotaExceeded if needed > available else ShareExceeded) as refusal:
                self.world.launch(self.name, **wish)
            left = available if needed > available else room
            assert refusal.value.facts["available_micro"] == left
            return
        admitted = self.world.launch(self.name, **wish)
        assert self.world.hold(admitted.hold_id).amount_micro == needed
        self.servers[name] = self.latest[name] = Process(admitted.hold_id)
        self.history.append(self.servers[name])
        self.charged.append(Charged(admitted.hold_id, self.name, self.group_of(self.name)))

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

    @precondition(lambda self: self.alive())
    @rule(data=st.data(), told=st.booleans(), alive=st.booleans())
    def end(self, data: st.DataObject, told: bool, alive: bool) -> None:
        process = self.gone(data.draw(st.sampled_from(self.alive())))
        if told:
            self.world.stopped(
                process.hold_id, process_started_at=process.began, stopped_at=process.ended,
                alive_at_stop=alive,
            )  # fmt: skip
            process.last_shown = process.ended

    def gone(self, name: str) -> Process:
        process = self.servers.pop(name)
        process.ended = self.clock()
        process.unmetered_s = max(process.unmetered_s, self.away_s())
        del self.hub.servers[self.name, name]
        return process

    def heard_from_the_hub(self) -> None:
        super().heard_from_the_hub()
        for name in self.alive():
            process = self.servers[name]
            process.last_shown = self.clock()
            # Over by at most the time since the last whole round; what the clock skipped counts as such.
            process.unmetered_s = max(process.unmetered_s, self.away_s())
            asked = (self.name, name) in self.hub.stops
            assert asked or self.world.hold(process.hold_id).until > self.clock()
            assert asked or not self.is_suspended, "no server of a suspended person lives on"
            assert asked or self.is_member, "nor one of who left"
            if asked:
                self.gone(name)

    @precondition(lambda self: self.history)
    @rule(data=st.data())
    def old_news_is_repeated(self, data: st.DataObject) -> None:
        process = data.draw(st.sampled_from(self.history))
        if process.began:
            self.world.started(process.hold_id, process.began)
        if process.ended and process.last_shown == process.ended:
            self.world.stopped(
                process.hold_id, process_started_at=process.began, stopped_at=process.ended,
                alive_at_stop=True,
            )  # fmt: skip

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
        self.granted -= free if days_ago == 31 else 0
        self.world.ends(self.account, self.clock() + timedelta(days=365))
        self.world.grant(self.account, GRANT)
        self.granted += round(GRANT * 1e6)

    def most_beyond(self, hold_id: UUID) -> int:
        for process in self.history:
            if process.hold_id == hold_id:
                away_s = max(process.unmetered_s, self.away_s() if process.ended is None else 0)
                return charge_micro(MEDIUM_MICRO, away_s)
        return super().most_beyond(hold_id)

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
