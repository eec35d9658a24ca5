"""How the team divides its credits: caps of the member and of a sub-group, a fair share kept for the lead."""

from datetime import datetime
from uuid import UUID

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from tests.support.allocator import GRACE_MINUTES
from tests.support.machine.ground import NUMBERS, Charged, Ground

from nexus_allocator.domain.credits import hold_micro
from nexus_allocator.domain.errors import (
    NotBetweenTeamAndMember,
    QuotaExceeded,
    ShareExceeded,
    TransferTooLarge,
)
from nexus_allocator.domain.shares import IDLE_AFTER
from nexus_allocator.domain.states import LIVE, ShareKind

# Two processors and 4 GiB by the first rate card.
SMALL_MICRO = 125_000
COLLEAGUES = "colleague"
PARTS = st.sampled_from([None, 0.25, 1.0, 2.5])


class Team(Ground):
    """A colleague launches, too, by the news of start and stop alone, and shares a sub-group's cap."""

    def __init__(self) -> None:
        super().__init__()
        self.cap: int | None = None
        self.ceiling: int | None = None
        self.fair: tuple[int, datetime] | None = None
        self.group: UUID | None = None
        self.in_group: set[str] = set()
        self.group_cap: int | None = None
        self.group_ceiling: int | None = None

    def group_of(self, who: str) -> UUID | None:
        return self.group if who in self.in_group else None

    def room(self, who: str, available: int, freed: dict[UUID | None, int]) -> int:
        """What somebody may set aside: not what is kept for the lead, no more than the caps leave.

        ``freed`` is what a launch settles of the server's run before, by the sub-group it counted for.
        """
        room = available - min(self.kept_for_the_lead(), max(0, available))
        if who == self.name and self.cap is not None:
            room = min(room, max(0, self.cap - self.counted(who) + sum(freed.values())))
        group = self.group_of(who)
        if group is not None and self.group_cap is not None:
            room = min(room, max(0, self.group_cap - self.counted(group=group) + freed.get(group, 0)))
        return room

    def kept_for_the_lead(self) -> int:
        if self.fair is None or self.clock() - self.fair[1] >= IDLE_AFTER:
            return 0
        return self.fair[0]

    def freed(self, hold_id: UUID | None) -> dict[UUID | None, int]:
        """What a launch under the same server's name settles: a run that never started or ended untold."""
        if hold_id is None:
            return {}
        hold = self.world.hold(hold_id)
        left = max(hold.amount_micro - hold.usage_micro, 0) if hold.state in LIVE else 0
        return {hold.subgroup_id: left}

    @precondition(lambda self: self.is_member)
    @rule(part=PARTS)
    def the_member_is_capped(self, part: float | None) -> None:
        if part is None:
            self.world.unshare(self.account, self.name)
            self.cap = self.ceiling = None
            return
        self.world.share(self.account, self.name, part)
        self.cap = round(part * 1e6)
        self.ceiling = max(self.cap, self.counted(self.name))

    @rule(part=st.sampled_from([0.5, 4.0]), keep=st.booleans())
    def the_lead_has_a_fair_share(self, part: float, keep: bool) -> None:
        if keep:
            self.world.share(self.account, self.mate, part, ShareKind.FAIR)
        else:
            self.world.unshare(self.account, self.mate)
        self.fair = (round(part * 1e6), self.clock()) if keep else None

    @precondition(lambda self: self.group is None)
    @rule(with_the_member=st.booleans(), part=PARTS)
    def a_sub_group_is_made(self, with_the_member: bool, part: float | None) -> None:
        self.in_group = {self.colleague} | ({self.name} if with_the_member and self.is_member else set())
        self.group = self.world.group(self.account, f"Group {next(NUMBERS)}", *sorted(self.in_group))
        self.cap_the_group(part)

    @precondition(lambda self: self.group is not None)
    @rule(part=PARTS)
    def the_sub_group_is_capped(self, part: float | None) -> None:
        self.cap_the_group(part)

    def cap_the_group(self, part: float | None) -> None:
        assert self.group is not None
        if part is None:
            self.world.unshare(self.account, self.group)
            self.group_cap = self.group_ceiling = None
            return
        self.world.share(self.account, self.group, part)
        self.group_cap = round(part * 1e6)
        self.group_ceiling = max(self.group_cap, self.counted(group=self.group))

    @precondition(lambda self: self.group is not None and self.is_member)
    @rule()
    def the_member_changes_the_sub_group(self) -> None:
        """What runs goes on counting where it did."""
        self.in_group ^= {self.name}
        self.world.regroup(self.account, self.name, self.group_of(self.name))

    @precondition(lambda self: self.group is not None)
    @rule()
    def the_sub_group_ends(self) -> None:
        assert self.group is not None
        self.world.end_group(self.account, self.group)
        self.group, self.in_group = None, set()
        self.group_cap = self.group_ceiling = None

    @rule(hours=st.integers(1, 6))
    def the_colleague_launches(self, hours: int) -> None:
        mine = [each.hold_id for each in self.charged if each.who == self.colleague]
        freed = self.freed(mine[-1] if mine else None)
        available = self.world.figures(self.account).available + sum(freed.values())
        needed = hold_micro(SMALL_MICRO, hours * 3600 + GRACE_MINUTES * 60)
        wish = {"account": self.account, "server_name": COLLEAGUES, "hours": hours}
        if needed > available:
            with pytest.raises(QuotaExceeded):
                self.world.launch(self.colleague, **wish)
        elif needed > self.room(self.colleague, available, freed):
            with pytest.raises(ShareExceeded):
                self.world.launch(self.colleague, **wish)
        else:
            made = self.world.launch(self.colleague, **wish)
            self.charged.append(Charged(made.hold_id, self.colleague, self.group_of(self.colleague)))

    @precondition(lambda self: any(each.who == self.colleague for each in self.charged))
    @rule(stops=st.booleans())
    def the_colleague_s_server_is_heard_of(self, stops: bool) -> None:
        hold = self.holds(self.colleague)[-1]
        if hold.process_started_at is None:
            self.world.started(hold.id, min(self.clock(), hold.until))
        if stops:
            self.world.stopped(hold.id, stopped_at=min(self.clock(), hold.until), alive_at_stop=True)

    def most_beyond(self, hold_id: UUID) -> int:
        if any(each.hold_id == hold_id and each.who == self.colleague for each in self.charged):
            return 0
        return super().most_beyond(hold_id)

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

    @precondition(lambda self: not self.is_suspended)
    @rule()
    def the_member_goes_or_comes_back(self) -> None:
        if self.is_member:
            live = {hold.server_name for hold in self.holds(self.name) if hold.state in LIVE}
            stopped = self.world.remove(self.name, self.account, by=self.mate)
            assert {server.server_name for server in stopped} == live
            self.cap = self.ceiling = None
            self.in_group -= {self.name}
        else:
            self.world.answers(self.name, self.world.invite(self.account, self.name, by=self.mate))
        self.is_member = not self.is_member

    @invariant()
    def no_order_of_moves_takes_a_part_above_its_cap_but_for_the_time_nobody_could_meter(self) -> None:
        for ceiling, who, group in (
            (self.ceiling, self.name, None),
            (self.group_ceiling, None, self.group),
        ):
            if ceiling is not None:
                holds = self.holds(who, group)
                beyond = sum(max(0, hold.usage_micro - hold.amount_micro) for hold in holds)
                assert self.counted(who, group) <= ceiling + beyond
