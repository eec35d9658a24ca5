"""An event with credits per person or shared, that the member joins, launches on, and that ends."""

from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from tests.support.allocator import GRACE_MINUTES
from tests.support.machine.ground import NUMBERS
from tests.support.machine.offline import Offline
from tests.support.machine.team import SMALL_MICRO

from nexus_allocator.domain.credits import hold_micro
from nexus_allocator.domain.errors import (
    AllocationExpired,
    AlreadyJoined,
    QuotaExceeded,
    ShareExceeded,
    Suspended,
)
from nexus_allocator.domain.states import LIVE
from nexus_allocator.services import events
from nexus_allocator.services.events import EventRow

EVENT_MICRO = 1_000_000


class Workshop(Offline):
    """One event at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.event: EventRow | None = None
        self.event_holds: list[UUID] = []
        self.furthest = self.clock()

    @precondition(lambda self: self.event is None and not self.is_suspended)
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
        if self.is_suspended:
            with pytest.raises(Suspended):
                self.world.launch(self.name, **wish)
        elif self.clock() >= self.event.ends_at:
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
