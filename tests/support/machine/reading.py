"""Days of grace: somebody whose Research has ended reads and downloads, and the platform pays."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from tests.support.allocator import GRACE_MINUTES
from tests.support.machine.clusters import Clusters
from tests.support.machine.ground import NUMBERS

from nexus_allocator.domain.errors import ReadOnlyNow
from nexus_allocator.domain.states import LIVE, HoldState, TierSlug
from nexus_allocator.services.holds import reading_of

# Of the packaged policy's Research.
GRACE_S, GRACE_DAYS = 10 * 3600, 30
ENTRY_MICRO = 25_000_000


class Reading(Clusters):
    """A fourth person, alone; their server is the hub's as any other's."""

    def __init__(self) -> None:
        super().__init__()
        self.reader = f"{self.name}-reader"
        self.world.astronomer(self.reader)
        self.ended_at: datetime | None = None
        self.left_micro = 0
        self.read: list[UUID] = []

    def used_s(self) -> float:
        """What the grace's hours were used for: what ran, and what is planned of what runs."""
        return sum(
            reading_of(hold).seconds
            if hold.state == HoldState.SETTLED
            else (hold.planned_minutes + hold.grace_minutes) * 60
            for hold in map(self.world.hold, self.read)
        )

    @precondition(lambda self: self.ended_at is None)
    @rule()
    def research_ends(self) -> None:
        # No term ends twice at one moment, though here the clock may stand still or go back.
        self.ended_at = self.clock() - timedelta(minutes=1, microseconds=next(NUMBERS))
        self.world.ends(self.reader, self.ended_at, tier=TierSlug.RESEARCH)
        self.world.turn()
        self.left_micro, self.read = self.world.figures(self.reader).balance, []

    def in_grace(self) -> bool:
        return self.ended_at is not None and (
            self.ended_at <= self.clock() < self.ended_at + timedelta(days=GRACE_DAYS)
        )

    @precondition(lambda self: self.in_grace())
    @rule(size=st.sampled_from(["small", "small", "medium"]), hours=st.integers(1, 24).map(lambda n: n / 2))
    def launch_to_read(self, size: str, hours: float) -> None:
        live = [each for each in self.read if self.world.hold(each).state in LIVE]
        left = int(GRACE_S / 60 - self.used_s() / 60)
        if live or size != "small" or hours * 60 > left:
            if not live:
                with pytest.raises(ReadOnlyNow) as refusal:
                    self.world.launch(self.reader, size=size, hours=hours)
                assert refusal.value.facts["hours_left"] == max(0, left) / 60
            with pytest.raises(ReadOnlyNow):
                self.world.launch(self.reader, size=size, hours=hours, server_name="second")
            return
        admitted = self.world.launch(self.reader, size=size, hours=hours)
        assert (admitted.read_only, admitted.rate_micro_per_hour, admitted.teams) == (True, 0, [])
        self.read.append(admitted.hold_id)

    @precondition(lambda self: self.read)
    @rule()
    def the_reader_s_server_starts(self) -> None:
        hold = self.world.hold(self.read[-1])
        if hold.state == HoldState.PLACED:
            self.hub.runs(self.reader, hold.id, self.world.started(hold.id))

    @precondition(lambda self: (self.reader, "") in self.hub.servers)
    @rule(told=st.booleans())
    def the_reader_s_server_ends(self, told: bool) -> None:
        del self.hub.servers[self.reader, ""]
        if told:
            self.world.stopped(self.read[-1], stopped_at=self.clock(), alive_at_stop=True)

    def heard_from_the_hub(self) -> None:
        super().heard_from_the_hub()
        if (self.reader, "") in self.hub.stops:
            self.hub.servers.pop((self.reader, ""), None)

    @precondition(lambda self: self.ended_at is not None and not self.reading())
    @rule()
    def the_grace_is_over(self) -> None:
        """What was left lapses, and the person has Entry again."""
        self.world.ends(self.reader, self.clock() - timedelta(days=31, microseconds=next(NUMBERS)))
        self.world.turn()
        self.ended_at = None
        assert self.world.allocation(self.reader).tier is TierSlug.ENTRY
        assert self.world.figures(self.reader).balance == ENTRY_MICRO

    def reading(self) -> list[UUID]:
        return [each for each in self.read if self.world.hold(each).state in LIVE]

    @invariant()
    def grace_costs_the_account_nothing_and_the_platform_no_more_than_its_hours(self) -> None:
        holds = [self.world.hold(each) for each in self.read]
        assert all(hold.read_only for hold in holds)
        assert not any(hold.amount_micro or hold.usage_micro or hold.posted_micro for hold in holds)
        assert len(self.reading()) <= 1
        if self.in_grace():
            figures = self.world.figures(self.reader)
            assert (figures.balance, figures.held) == (self.left_micro, 0)
        # The last one's time to save, and what it ran on while the meter was away.
        away_s = max(self.longest_away_s, self.away_s())
        assert self.used_s() <= GRACE_S + GRACE_MINUTES * 60 + away_s
