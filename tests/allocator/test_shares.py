"""How a team's credits are divided: caps hold, fair shares are kept while they are used, sums stay one."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.allocator import START, World

from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.errors import (
    BadAmount,
    QuotaExceeded,
    ShareExceeded,
    TeamRoleNeeded,
    UnknownMember,
    UnknownSubgroup,
)
from nexus_allocator.domain.shares import Part, Taken, part, room_micro
from nexus_allocator.domain.states import ShareKind
from nexus_allocator.domain.wording import sentence
from nexus_allocator.services import launches, shares
from nexus_allocator.store import accounts

CAP, FAIR = ShareKind.CAP, ShareKind.FAIR


def fair(amount: int, taken: int = 0, *, idle: bool = False) -> Part:
    return Part(FAIR, amount, taken, is_idle=idle)


def test_a_cap_leaves_what_was_not_taken_of_it_and_no_more_than_the_account_has() -> None:
    cap = Part(CAP, 100, 30)
    assert room_micro(1000, own=[cap], others=[Part(CAP, 900, 0)]) == 70
    assert room_micro(50, own=[cap], others=[]) == 50
    assert room_micro(1000, own=[Part(CAP, 100, 130)], others=[]) == 0


def test_a_fair_share_is_kept_for_its_holder_unless_it_lies_idle() -> None:
    assert room_micro(1000, own=[], others=[fair(400, 100)]) == 700
    assert room_micro(1000, own=[], others=[fair(400, 100, idle=True)]) == 1000
    assert room_micro(1000, own=[fair(600)], others=[fair(400)]) == 600
    assert room_micro(1000, own=[fair(100, 100)], others=[fair(400)]) == 600, "beyond one's own, of the rest"


def test_fair_shares_of_more_than_there_is_are_kept_in_proportion() -> None:
    assert room_micro(100, own=[fair(800)], others=[fair(800)]) == 50
    assert room_micro(100, own=[fair(300)], others=[fair(100)]) == 75
    assert room_micro(0, own=[fair(300)], others=[fair(100)]) == 0
    assert room_micro(-5, own=[], others=[fair(100)]) == -5


parts = st.builds(
    Part, st.sampled_from(ShareKind), st.integers(0, 10**15), st.integers(0, 10**15), st.booleans()
)


@given(st.integers(-(10**15), 10**15), st.lists(parts, max_size=3), st.lists(parts, max_size=6))
def test_nobody_has_more_room_than_the_account_and_somebody_always_has_some(
    available: int, own: list[Part], others: list[Part]
) -> None:
    room = room_micro(available, own=own, others=others)
    assert room <= max(available, 0)
    mine = sum(each.left_micro for each in own if each.kind is FAIR)
    if available > 0 and mine and not any(each.kind is CAP for each in own):
        claimed = mine + sum(each.left_micro for each in others if each.kind is FAIR and not each.is_idle)
        assert room >= min(mine, mine * available // claimed), "a holder's own share is always theirs"


def test_a_share_is_idle_after_two_weeks_without_a_server_and_not_before() -> None:
    at = START + timedelta(days=14)
    assert part(FAIR, 5, Taken(), set_at=START, now=at).is_idle
    assert not part(FAIR, 5, Taken(), set_at=START + timedelta(seconds=1), now=at).is_idle
    assert not part(FAIR, 5, Taken(1, at), set_at=START, now=at).is_idle
    assert part(FAIR, 5, Taken(1, START), set_at=START, now=at).is_idle


@pytest.fixture
def team(world: World) -> World:
    """Ann leads, Mia and Tom are in the survey team of 5000 credits."""
    for name in ("ann", "mia", "tom"):
        world.astronomer(name)
    world.team("survey", "ann", "mia", "tom")
    return world


def run(world: World, name: str, *, hours: float, size: str = "large") -> int:
    """Run a server on the team's credits from now on; return what it cost."""
    admitted = world.launch(name, account="survey", size=size, hours=hours)
    world.started(admitted.hold_id)
    world.clock.forward(hours=hours)
    world.stopped(admitted.hold_id, stopped_at=world.clock(), alive_at_stop=True)
    return world.hold(admitted.hold_id).posted_micro


def room(world: World, name: str) -> int | None:
    return world.team_page("survey", name).room_micro


def test_a_member_s_cap_is_enforced_at_launch_and_the_team_s_account_pays(team: World) -> None:
    # A large server costs 1.2 credits an hour, a medium one 0.3.
    team.share("survey", "mia", 3)
    assert run(team, "mia", hours=2) == 2_400_000
    assert team.figures("survey").balance == 5000 * MICRO - 2_400_000
    assert room(team, "mia") == 600_000
    with pytest.raises(ShareExceeded) as refusal:
        team.launch("mia", account="survey", size="large", hours=1)
    assert sentence(refusal.value) == (
        "This server needs 1.40 credits, and your part of Survey has 0.60 left; "
        "a Medium server for 1 h would fit."
    )
    held = team.launch("mia", account="survey", size="medium", hours=1)
    assert team.hold(held.hold_id).amount_micro == 350_000
    assert room(team, "mia") == 250_000, "what is held counts as taken"
    assert room(team, "tom") is None
    assert team.launch("tom", account="survey", size="large", hours=24)
    taken = {row.hub_name: row.taken_micro for row in team.team_page("survey", "ann").members}
    assert (taken["mia"], taken["ann"]) == (2_750_000, 0)


def test_a_cap_below_what_was_taken_refuses_launches_and_stops_nothing(team: World) -> None:
    admitted = team.launch("mia", account="survey", hours=10)
    team.started(admitted.hold_id)
    team.share("survey", "mia", 0.5)
    assert room(team, "mia") == 0
    with pytest.raises(ShareExceeded):
        team.launch("mia", account="survey", server_name="b", hours=0.25)
    assert team.hold(admitted.hold_id).stop_reason is None
    team.unshare("survey", "mia")
    assert room(team, "mia") is None


def test_a_sub_group_s_members_share_one_cap(team: World) -> None:
    group = team.group("survey", "Grism", "mia", "tom")
    team.share("survey", group, 3)
    run(team, "mia", hours=2)
    assert (room(team, "tom"), room(team, "mia"), room(team, "ann")) == (600_000, 600_000, None)
    with pytest.raises(ShareExceeded):
        team.launch("tom", account="survey", size="large", hours=1)
    team.share("survey", "tom", 0.2)
    assert room(team, "tom") == 200_000, "both caps hold"


def test_who_changes_the_sub_group_takes_nothing_along(team: World) -> None:
    group = team.group("survey", "Grism", "mia")
    team.share("survey", group, 3)
    run(team, "mia", hours=2)
    with team.database.session_scope() as session:
        shares.group(session, team="survey", member="mia", subgroup_id=None, by="ann", now=team.clock())
    assert room(team, "mia") is None
    [row] = team.team_page("survey", "ann").groups
    assert row.part is not None
    assert (row.members, row.part.taken_micro) == (0, 2_400_000)
    with team.database.session_scope() as session:
        shares.end_subgroup(session, team="survey", subgroup_id=group, by="ann", now=team.clock())
    assert team.team_page("survey", "ann").groups == ()
    with pytest.raises(UnknownSubgroup):
        team.share("survey", group, 3)


def test_a_fair_share_is_kept_from_the_others_until_it_lies_idle(team: World) -> None:
    team.correct("survey", -4990)
    team.share("survey", "mia", 8, FAIR)
    with pytest.raises(ShareExceeded) as refusal:
        team.launch("tom", account="survey", size="large", hours=2)
    assert refusal.value.facts["available_micro"] == 2 * MICRO
    run(team, "mia", hours=4)
    assert room(team, "tom") == 2 * MICRO, "what Mia uses comes out of her own"
    assert room(team, "mia") == 10 * MICRO - 4_800_000, "beyond her share, of what is free"
    team.clock.forward(days=14)
    assert room(team, "tom") == 10 * MICRO - 4_800_000
    with pytest.raises(QuotaExceeded):
        team.launch("tom", account="survey", size="large", hours=24)


def test_a_fair_share_rests_while_the_member_s_sub_group_has_one(team: World) -> None:
    team.correct("survey", -4990)
    group = team.group("survey", "Grism", "mia")
    team.share("survey", "mia", 5, FAIR)
    team.share("survey", group, 6, FAIR)
    assert room(team, "tom") == 4 * MICRO
    row = team.team_page("survey", "ann").member("mia")
    assert row.rests
    assert row.part is not None


def test_a_running_server_keeps_a_fair_share_from_lying_idle(team: World) -> None:
    team.share("survey", "mia", 8, FAIR)
    admitted = team.launch("mia", account="survey", hours=1)
    team.started(admitted.hold_id)
    team.clock.forward(days=20)
    row = team.team_page("survey", "ann").member("mia")
    assert row.part is not None
    assert not row.part.is_idle


def test_the_launch_page_shows_a_member_s_own_part(team: World) -> None:
    team.share("survey", "mia", 3)
    with team.database.reading_scope() as session:
        page = launches.launch_page(session, policy=team.policy, hub_name="mia", now=team.clock())
    available = {choice.slug: choice.standing.available_micro for choice in page.accounts}
    assert available == {"mia": 25 * MICRO, "survey": 3 * MICRO}


def test_only_who_leads_divides_and_only_among_members(team: World) -> None:
    team.astronomer("zoe")
    with pytest.raises(TeamRoleNeeded), team.database.session_scope() as session:
        shares.set_share(
            session, team="survey", holder=shares.Holder("mia"), kind=CAP, amount_micro=1, by="mia", now=START
        )
    with pytest.raises(UnknownMember):
        team.share("survey", "zoe", 1)
    for amount in (-1, 2e9):
        with pytest.raises(BadAmount):
            team.share("survey", "mia", amount)


def test_counting_anew_gives_every_holder_their_whole_part_again(team: World) -> None:
    team.share("survey", "mia", 3)
    run(team, "mia", hours=2)
    page = team.team_page("survey", "ann")
    with team.database.session_scope() as session:
        found = accounts.team_by_slug(session, "survey")
        assert found is not None
        shares.count_anew(session, found.id, now=team.clock())
    assert page.counted_from == START
    assert room(team, "mia") == 3 * MICRO


def test_who_left_and_came_back_has_no_part_and_took_what_they_took(team: World) -> None:
    team.share("survey", "mia", 3)
    run(team, "mia", hours=2)
    team.leaves("mia", "survey")
    team.answers("mia", team.invite("survey", "mia", by="ann"))
    assert room(team, "mia") is None
    team.share("survey", "mia", 3)
    assert room(team, "mia") == 600_000
