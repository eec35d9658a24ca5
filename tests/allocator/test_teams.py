"""Who is in a team: made by an award, joined by invitation, led by one, left without leaving costs behind."""

import random
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError
from tests.allocator.test_requests import award, submit
from tests.support.allocator import START, FakeHub, World

from nexus_allocator.domain import teams as rules
from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.errors import (
    AlreadyInvited,
    AlreadyMember,
    BadAddress,
    BadName,
    BadReason,
    InvitationOver,
    LeadStays,
    NotAllowed,
    TeamRoleNeeded,
    TooManyTeams,
    UnknownAccount,
    UnknownInvitation,
    UnknownMember,
    UnknownPerson,
    UnknownTeam,
)
from nexus_allocator.domain.outbox import Channel
from nexus_allocator.domain.records import Act
from nexus_allocator.domain.rights import TEAM_ACTIONS, Action, roles_for
from nexus_allocator.domain.states import Role, StopReason, TeamMoveKind, TierSlug
from nexus_allocator.domain.wording import sentence
from nexus_allocator.services import invitations, memberships, record_reading, teams
from nexus_allocator.services.delivery import deliver
from nexus_allocator.services.hub_calls import HubCarrier
from nexus_allocator.services.memberships import stop_leavers
from nexus_allocator.store import accounts
from nexus_allocator.store.records import Wanted


@pytest.fixture
def team(world: World) -> World:
    """Ann leads the survey team, Max manages it, Mia is in it; Zoe is not."""
    for name in ("ann", "max", "mia", "zoe"):
        world.astronomer(name)
    world.team("survey", "ann", "max", "mia")
    change_role(world, "max", Role.MANAGER)
    return world


def change_role(world: World, member: str, role: Role, by: str | None = None) -> None:
    with world.database.session_scope() as session:
        memberships.change_role(session, team="survey", member=member, role=role, by=by, now=world.clock())


def hand_over(world: World, to: str, by: str | None) -> None:
    with world.database.session_scope() as session:
        memberships.hand_over(session, team="survey", to=to, by=by, now=world.clock())


def withdraw(world: World, invitation_id: UUID, by: str) -> None:
    with world.database.session_scope() as session:
        invitations.withdraw(session, invitation_id, by=by, now=world.clock())


def roles(world: World, team: str = "survey", viewer: str = "ann") -> dict[str, Role | None]:
    return {row.hub_name: row.role for row in world.team_page(team, viewer).members}


def happened(world: World, team: str = "survey", viewer: str = "ann") -> list[TeamMoveKind]:
    return [move.kind for move in world.team_page(team, viewer).moves]


def test_a_team_award_makes_the_team_and_invites_whom_the_request_names(world: World) -> None:
    admin = world.administrator()
    world.astronomer("ann")
    world.astronomer("mia")
    request_id = submit(
        world, "ann", tier="team", team_label="Lensing & More!", members=("mia", "nobody-yet", "ann")
    )
    awarded = award(world, request_id, admin, credits_micro=1200 * MICRO)
    page = world.team_page("lensing-more", "ann")
    assert (page.label, page.role, page.account.tier) == ("Lensing & More!", Role.LEAD, "team")
    assert world.figures("lensing-more").balance == 1200 * MICRO, "what was awarded, not what the tier states"
    assert world.figures("ann").balance == 25 * MICRO, "the own account is as before"
    assert awarded.ends_at == START + timedelta(days=365)
    assert [row.whom for row in page.invitations] == ["Mia"]
    again = submit(world, "ann", tier="team", team_label="Lensing & More!")
    award(world, again, admin)
    assert world.figures("lensing-more-2").balance == 5000 * MICRO


def test_a_request_for_a_new_team_needs_its_name_when_it_is_sent(world: World) -> None:
    world.astronomer("ann")
    for label in ("", "  ", "x" * 81, "a\nb"):
        with pytest.raises(BadName):
            submit(world, "ann", tier="team", team_label=label)


def test_who_asked_for_a_team_and_was_given_research_has_it_on_their_own_account(world: World) -> None:
    admin = world.administrator()
    world.astronomer("ann")
    request_id = submit(world, "ann", tier="team", team_label="Lensing")
    award(world, request_id, admin, tier="research", credits_micro=100 * MICRO)
    assert world.figures("ann").balance == 125 * MICRO
    with pytest.raises(UnknownTeam):
        world.team_page("lensing", "ann")


def test_an_invitation_by_name_is_accepted_by_that_person_only(team: World) -> None:
    invitation_id = team.invite("survey", "zoe", by="ann")
    for stranger in ("mia", "ann"):
        with pytest.raises(UnknownInvitation):
            team.answers(stranger, invitation_id)
    team.answers("zoe", invitation_id)
    assert roles(team)["zoe"] is Role.MEMBER
    assert team.told("ann") == ["zoe joined Survey."]
    assert team.launch("zoe", account="survey").account == "survey"
    with pytest.raises(InvitationOver):
        team.answers("zoe", invitation_id)


def test_an_invitation_by_mail_waits_for_who_signs_in_with_that_address(team: World) -> None:
    invitation_id = team.invite("survey", " New.Person@Example.ORG ", by="max")
    with pytest.raises(AlreadyInvited):
        team.invite("survey", "new.person@example.org", by="ann")
    with pytest.raises(UnknownInvitation):
        team.answers("zoe", invitation_id)
    team.signed_in("new.person")
    team.answers("new-person", invitation_id)
    assert roles(team)["new-person"] is Role.MEMBER


def test_an_invitation_expires_after_two_weeks_and_may_be_made_anew(team: World) -> None:
    invitation_id = team.invite("survey", "zoe", by="ann")
    team.clock.forward(days=14)
    with pytest.raises(InvitationOver) as over:
        team.answers("zoe", invitation_id)
    assert over.value.facts["ended"] == "expired on 2026-03-16"
    assert team.team_page("survey", "ann").invitations == ()
    for _ in range(2):
        team.turn()
    assert team.told("ann") == [
        "Your invitation of zoe to Survey was not answered by 2026-03-16 and is over."
    ]
    with pytest.raises(InvitationOver) as over:
        team.answers("zoe", invitation_id)
    assert over.value.facts["ended"] == "expired on 2026-03-16"
    with team.database.reading_scope() as session:
        (row,) = record_reading.page(session, Wanted(act=Act.INVITATION_EXPIRED)).rows
    assert (row.person, row.after["state"]) == ("zoe", "expired")
    team.answers("zoe", team.invite("survey", "zoe", by="ann"))
    assert "zoe" in roles(team)


def test_an_invitation_may_be_declined_or_taken_back(team: World) -> None:
    team.answers("zoe", team.invite("survey", "zoe", by="ann"), yes=False)
    assert team.told("ann") == ["zoe declined the invitation to Survey."]
    second = team.invite("survey", "zoe", by="ann")
    with pytest.raises(TeamRoleNeeded):
        withdraw(team, second, "mia")
    withdraw(team, second, "max")
    for late in (lambda: team.answers("zoe", second), lambda: withdraw(team, second, "max")):
        with pytest.raises(InvitationOver):
            late()
    assert happened(team)[:2] == ["invitation-withdrawn", "invited"]


def test_what_can_not_be_invited_is_refused_with_the_reason(team: World) -> None:
    with pytest.raises(AlreadyMember):
        team.invite("survey", "mia", by="ann")
    with pytest.raises(UnknownPerson):
        team.invite("survey", "nobody", by="ann")
    with pytest.raises(NotAllowed):
        team.invite("survey", "zoe", by="ann", role=Role.LEAD)
    with pytest.raises(UnknownInvitation):
        team.answers("zoe", uuid4())
    for words in ("", "a@b", "a b@c.de", "a@b@c.de", "A Person", "x" * 250 + "@e.org", "=cmd@x.org\n"):
        with pytest.raises(BadAddress):
            rules.address(words.replace("\n", "\nx"))


@pytest.mark.parametrize("act", sorted(TEAM_ACTIONS))
def test_each_act_is_for_the_roles_the_table_names(act: Action) -> None:
    may = set(roles_for(act))
    assert Role.LEAD in may
    assert (Role.MEMBER in may) == (act in (Action.TEAM_SEE, Action.TEAM_LEAVE))
    also_managers = {Action.TEAM_SEE, Action.TEAM_LEAVE, Action.TEAM_INVITE, Action.TEAM_REMOVE_MEMBER,
                     Action.TEAM_DIVIDE}  # fmt: skip
    assert (Role.MANAGER in may) == (act in also_managers)


def test_members_and_managers_do_no_more_than_their_role(team: World) -> None:
    team.answers("zoe", team.invite("survey", "zoe", role=Role.MANAGER, by="ann"))
    refused = [
        lambda: team.invite("survey", "other@example.org", by="mia"),
        lambda: team.invite("survey", "other@example.org", by="max", role=Role.MANAGER),
        lambda: change_role(team, "mia", Role.MANAGER, by="max"),
        lambda: team.remove("zoe", "survey", by="max"),
        lambda: team.remove("max", "survey", by="mia"),
        lambda: hand_over(team, "max", by="max"),
    ]
    for act in refused:
        with pytest.raises(TeamRoleNeeded):
            act()
    team.remove("mia", "survey", by="max")
    team.remove("zoe", "survey", by="ann")
    assert roles(team) == {"ann": Role.LEAD, "max": Role.MANAGER}


def test_others_are_told_that_there_is_no_such_team_and_administrators_may_help(team: World) -> None:
    team.administrator()
    for look in (
        lambda: team.team_page("survey", "zoe"),
        lambda: team.invite("survey", "zoe", by="zoe"),
        lambda: team.leaves("zoe", "survey"),
        lambda: team.invite("nowhere", "zoe", by="admin"),
    ):
        with pytest.raises(UnknownTeam):
            look()
    hand_over(team, "mia", by="admin")
    assert roles(team, viewer="admin")["mia"] is Role.LEAD


def test_a_team_has_one_lead_who_hands_it_over_before_leaving(team: World) -> None:
    for parting in (lambda: team.leaves("ann", "survey"), lambda: team.remove("ann", "survey")):
        with pytest.raises(LeadStays):
            parting()
    with pytest.raises(LeadStays):
        change_role(team, "ann", Role.MEMBER)
    with pytest.raises(UnknownMember):
        hand_over(team, "zoe", by="ann")
    hand_over(team, "mia", by="ann")
    assert roles(team) == {"mia": Role.LEAD, "ann": Role.MANAGER, "max": Role.MANAGER}
    assert "You lead Survey now" in team.told("mia")[0]
    with pytest.raises(TeamRoleNeeded):
        hand_over(team, "ann", by="ann")
    team.leaves("ann", "survey")
    assert "ann" not in roles(team, viewer="mia")
    assert "ann left Survey." in team.told("mia")


def test_a_leaver_s_servers_on_the_team_s_credits_are_stopped_with_the_reason_kept(
    team: World, hub: FakeHub
) -> None:
    shared = team.launch("mia", account="survey", server_name="big", size="large")
    own = team.launch("mia")
    for admitted, name in ((shared, "big"), (own, "")):
        began = team.started(admitted.hold_id)
        hub.runs("mia", admitted.hold_id, began, name)
    team.clock.forward(hours=1)
    team.seen(shared.hold_id, began)
    servers = team.leaves("mia", "survey")
    assert [(server.hub_name, server.server_name) for server in servers] == [("mia", "big")]
    with pytest.raises(UnknownAccount):
        team.launch("mia", account="survey", server_name="other")
    with hub.client() as client:
        # As after a crash between the commit and the call: the service's own round asks.
        assert stop_leavers(team.database, client, now=team.clock()) == servers
    assert hub.stops == [("mia", "big")]
    team.stopped(shared.hold_id, stopped_at=team.clock(), alive_at_stop=True)
    hold = team.hold(shared.hold_id)
    assert (hold.stop_reason, hold.stop_actor) == (StopReason.LEFT_TEAM, "mia")
    assert team.figures("survey").balance == 5000 * MICRO - hold.posted_micro
    assert team.hold(own.hold_id).stop_reason is None
    assert "1 server of yours that ran on its credits was stopped" in team.told("mia")[0]
    [gone] = [row for row in team.team_page("survey", "ann").members if row.is_former]
    assert (gone.hub_name, gone.taken_micro) == ("mia", hold.posted_micro)
    with hub.client() as client:
        assert stop_leavers(team.database, client, now=team.clock()) == []


def test_a_leaver_s_server_on_own_credits_has_ten_minutes_and_then_no_longer_the_folder(
    team: World, hub: FakeHub
) -> None:
    with team.database.session_scope() as session:
        accounts.lock(session, [team.allocation("zoe").id])[
            team.allocation("zoe").id
        ].tier = TierSlug.RESEARCH
    before = team.launch("zoe")
    began = team.started(before.hold_id)
    invited = team.invite("survey", "zoe")
    team.clock.forward(minutes=1)
    team.answers("zoe", invited)
    team.clock.forward(minutes=1)
    own = team.launch("zoe", server_name="own")
    other = team.launch("zoe", server_name="other", account="survey")
    for admitted, name in ((before, ""), (own, "own"), (other, "other")):
        hub.runs("zoe", admitted.hold_id, team.started(admitted.hold_id) if name else began, name)
    servers = team.leaves("zoe", "survey")
    assert [server.server_name for server in servers] == ["other"]
    assert "1 server of yours that ran on its credits was stopped. 1 other" in team.told("zoe")[0]

    def sent() -> list[tuple[str, str]]:
        with hub.client() as client:
            carriers = {Channel.HUB: HubCarrier(client)}
            rng = random.Random(1)  # noqa: S311 - spreads attempts, hides nothing
            deliver(team.database, carriers, clock=team.clock, rng=rng)
        return hub.stops

    assert sent() == [("zoe", "other")]
    team.clock.forward(minutes=9)
    assert sent() == [("zoe", "other")]
    team.clock.forward(minutes=1)
    assert sent() == [("zoe", "other"), ("zoe", "own")]
    with hub.client() as client:
        # One that outlives its stop is asked for again; that from before zoe joined never had the folder.
        stop_leavers(team.database, client, now=team.clock())
    assert sorted(hub.stops[2:]) == [("zoe", "other"), ("zoe", "own")]
    team.stopped(own.hold_id, stopped_at=team.clock(), alive_at_stop=True)
    assert team.hold(own.hold_id).stop_reason == StopReason.ACCESS_ENDED


def test_a_seventeenth_team_is_refused_because_the_network_s_files_know_sixteen(team: World) -> None:
    for number in range(16):
        team.team(f"team-{number}", "zoe")
    invited = team.invite("survey", "zoe")
    with pytest.raises(TooManyTeams) as refused:
        team.answers("zoe", invited)
    assert "is in 16 teams" in sentence(refused.value)
    assert len(team.launch("zoe").supplemental_gids) == 16
    team.remove("mia", "survey", by="ann")
    # A seat that somebody has may still change.
    with team.database.session_scope() as session:
        teams.add_member(session, team="team-0", hub_name="zoe", role=Role.LEAD, now=team.clock())


def test_a_server_that_outlives_its_first_stop_is_stopped_again_and_still_says_why(
    team: World, hub: FakeHub
) -> None:
    admitted = team.launch("mia", account="survey", hours=8)
    hub.runs("mia", admitted.hold_id, team.started(admitted.hold_id))
    team.remove("mia", "survey", by="ann")
    hub.status = 503
    team.clock.forward(hours=2)
    with hub.client() as client:
        stop_leavers(team.database, client, now=team.clock())
        assert hub.stops == [("mia", "")]
        hub.status = 200
        stop_leavers(team.database, client, now=team.clock())
    team.stopped(admitted.hold_id, stopped_at=team.clock(), alive_at_stop=True)
    assert team.hold(admitted.hold_id).stop_reason == StopReason.LEFT_TEAM
    assert "Reason given: for the test" in team.told("mia")[0]


def test_a_removal_needs_a_reason(team: World) -> None:
    with pytest.raises(BadReason), team.database.session_scope() as session:
        memberships.remove(session, team="survey", member="mia", reason=" ", by="ann", now=START)
    assert "mia" in roles(team)


def test_what_happened_in_a_team_can_not_be_changed_even_in_the_database(team: World) -> None:
    assert happened(team)[-1] is TeamMoveKind.MADE
    for statement in ("UPDATE team_move SET kind = 'left'", "DELETE FROM team_move"):
        with pytest.raises(DatabaseError), team.database.session_scope() as session:
            session.execute(text(statement))
