"""People, names, numbers, agreement, groups, teams."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from tests.support.allocator import ISSUER, START, FakeHub, World

from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.errors import (
    AgreementOutdated,
    BadDate,
    LaunchesHeld,
    NameTaken,
    NotAllowed,
    Suspended,
    UnknownAccount,
    UnknownPerson,
    UnknownTeam,
)
from nexus_allocator.domain.states import Role, TierSlug
from nexus_allocator.domain.wording import sentence
from nexus_allocator.services import demo, launches, maintenance, people, suspensions, teams
from nexus_allocator.services.memberships import stop_leavers
from nexus_allocator.store import accounts
from nexus_allocator.store import people as people_rows


def groups(world: World, name: str) -> list[str]:
    with world.database.reading_scope() as session:
        return people.groups(session, hub_name=name)


def page(world: World, name: str = "astronomer") -> launches.LaunchPage:
    with world.database.reading_scope() as session:
        return launches.launch_page(session, policy=world.policy, hub_name=name, now=world.clock())


def test_the_first_sign_in_makes_the_person_and_nothing_else(world: World) -> None:
    world.signed_in("astronomer")
    assert page(world).accounts == []
    assert not page(world).accepted
    with world.database.reading_scope() as session:
        assert accounts.by_slug(session, "astronomer") is None


def test_a_second_sign_in_is_the_same_person_even_under_a_new_name(world: World) -> None:
    first = world.signed_in("astronomer")
    with world.database.session_scope() as session:
        again = people.sign_in(
            session, issuer=ISSUER, subject="astronomer", preferred_username="renamed", display_name="R",
            email="r@example.org", is_administrator=True, now=world.clock(),
        )  # fmt: skip
        assert (again.id, again.hub_name, again.is_administrator) == (first, "astronomer", True)


def test_two_issuers_same_subject_are_two_people_with_two_names_and_numbers(world: World) -> None:
    world.signed_in("astronomer")
    with world.database.session_scope() as session:
        other = people.sign_in(
            session, issuer="https://other.test", subject="astronomer", preferred_username="astronomer",
            display_name="Other", email=None, is_administrator=False, now=world.clock(),
        )  # fmt: skip
        assert (other.hub_name, other.uid) == ("astronomer-2", 20_001)


def test_a_reserved_name_is_given_to_nobody(world: World) -> None:
    world.signed_in("root")
    with world.database.reading_scope() as session:
        assert people_rows.by_hub_name(session, "root") is None
        assert people_rows.by_hub_name(session, "root-2") is not None


def test_people_who_sign_in_at_once_get_different_names_and_numbers(world: World) -> None:
    def sign_in(number: int) -> tuple[str, int]:
        with world.database.session_scope() as session:
            person = people.sign_in(
                session, issuer=ISSUER, subject=f"s{number % 6}", preferred_username="ada",
                display_name="Ada", email=None, is_administrator=False, now=START,
            )  # fmt: skip
            return person.hub_name, person.uid

    with ThreadPoolExecutor(6) as pool:
        given = set(pool.map(sign_in, range(12)))
    assert len(given) == len({name for name, _ in given}) == len({uid for _, uid in given}) == 6


def test_acceptance_makes_home_account_and_entry_grant_once(world: World) -> None:
    person_id = world.astronomer()
    world.accepts("astronomer")
    (account,) = page(world).accounts
    assert (account.slug, account.tier) == ("astronomer", TierSlug.ENTRY)
    assert account.standing.balance_micro == 25 * MICRO
    assert [size.slug for size in account.sizes] == ["small"]
    with world.database.reading_scope() as session:
        assert people_rows.home(session, person_id) is not None


def test_an_outdated_agreement_is_refused_and_a_new_one_must_be_accepted_again(world: World) -> None:
    world.astronomer()
    world.policy = replace(world.policy, agreement=replace(world.policy.agreement, version="2027-1"))
    assert not page(world).accepted
    with pytest.raises(AgreementOutdated):
        world.accepts("astronomer", "2026-1")
    world.accepts("astronomer", "2027-1")
    assert page(world).accepted
    assert world.figures("astronomer").balance == 25 * MICRO


def test_groups_tell_tiers_teams_and_administrators(world: World) -> None:
    world.astronomer()
    world.administrator()
    world.team("wide-field", "astronomer")
    assert groups(world, "astronomer") == ["team-wide-field", "tier-entry", "tier-team"]
    assert groups(world, "admin") == ["nexus-administrators"]


def test_nobody_is_an_unknown_person(world: World) -> None:
    with pytest.raises(UnknownPerson):
        groups(world, "nobody")


def test_a_team_s_name_is_never_given_twice_nor_to_a_person(world: World) -> None:
    world.team("ada")
    with pytest.raises(NameTaken):
        world.team("ada")
    world.signed_in("ada")
    with world.database.reading_scope() as session:
        assert people_rows.by_hub_name(session, "ada-2") is not None


def test_members_may_charge_the_team_and_see_its_gid(world: World) -> None:
    world.astronomer()
    world.team("wide-field", "astronomer")
    admitted = world.launch(account="wide-field", size="large")
    assert (admitted.supplemental_gids, admitted.teams) == ([40_000], ["wide-field"])
    assert (admitted.uid, admitted.gid, admitted.umask) == (20_000, 20_000, "0027")


def test_others_may_not_charge_a_team_s_or_a_person_s_account(world: World) -> None:
    world.astronomer()
    world.astronomer("stranger")
    world.team("wide-field", "astronomer")
    for account in ("wide-field", "astronomer", "no-such-account"):
        with pytest.raises(UnknownAccount):
            world.launch("stranger", account=account)


def test_an_unknown_team_is_named(world: World) -> None:
    world.signed_in("astronomer")
    with pytest.raises(UnknownTeam), world.database.session_scope() as session:
        teams.add_member(session, team="none", hub_name="astronomer", role=Role.MEMBER, now=START)


def test_a_suspended_person_launches_nothing_until_reinstated(world: World) -> None:
    world.astronomer()
    with world.database.session_scope() as session:
        suspensions.suspend(session, hub_name="astronomer", reason="A lost key.", actor="test", now=START)
    with pytest.raises(Suspended) as refusal:
        world.launch()
    assert sentence(refusal.value).endswith("Reason given: A lost key.")
    with world.database.session_scope() as session:
        suspensions.reinstate(session, hub_name="astronomer", actor="test", now=START)
    world.launch()


def test_a_suspension_stops_servers_at_once_with_its_reason_and_keeps_the_account(
    world: World, hub: FakeHub
) -> None:
    world.astronomer()
    admitted = world.launch(hours=8)
    hub.runs("astronomer", admitted.hold_id, world.started(admitted.hold_id))
    with world.database.session_scope() as session:
        servers = suspensions.suspend(
            session, hub_name="astronomer", reason="A lost key.", actor="admin", now=world.clock()
        )
    assert [server.hub_name for server in servers] == ["astronomer"]
    with hub.client() as client:
        # As after a crash between the commit and the call.
        assert stop_leavers(world.database, client, now=world.clock()) == servers
    assert hub.stops == [("astronomer", "")]
    world.clock.forward(minutes=1)
    world.stopped(admitted.hold_id, stopped_at=world.clock(), alive_at_stop=True)
    hold = world.hold(admitted.hold_id)
    assert (hold.stop_reason, hold.stop_actor, hold.stop_note) == ("suspended", "admin", "A lost key.")
    assert world.figures("astronomer").held == 0
    with hub.client() as client:
        assert stop_leavers(world.database, client, now=world.clock()) == []


def test_nobody_suspends_themselves_or_without_being_an_administrator(world: World) -> None:
    admin, person = world.administrator(), world.astronomer()
    for who, whom in ((admin, "admin"), (person, "admin")):
        with pytest.raises(NotAllowed), world.database.session_scope() as session:
            suspensions.suspend_as_administrator(
                session, administrator_id=who, hub_name=whom, reason="Because.", now=START
            )


def test_launches_are_held_for_maintenance_with_a_message_until_then_or_until_lifted(world: World) -> None:
    world.astronomer()
    running = world.launch()

    def hold(until: datetime | None) -> None:
        with world.database.session_scope() as session:
            maintenance.hold(session, message="New disks at noon.", until=until, actor="t", now=world.clock())

    hold(START + timedelta(hours=1))
    with pytest.raises(LaunchesHeld) as refusal:
        world.launch(server_name="b")
    assert sentence(refusal.value) == "No new servers just now: New disks at noon."
    with world.database.reading_scope() as session:
        page = launches.launch_page(session, policy=world.policy, hub_name="astronomer", now=world.clock())
    assert page.held is not None
    assert page.held.message == "New disks at noon."
    assert world.hold(running.hold_id).stop_reason is None
    world.clock.forward(hours=1)
    world.launch()
    hold(None)
    hold(None)
    with pytest.raises(LaunchesHeld):
        world.launch()
    with world.database.session_scope() as session:
        maintenance.lift(session, actor="t", now=world.clock())
    world.launch()
    with pytest.raises(BadDate):
        hold(world.clock())


def test_the_demo_is_made_once_and_its_people_find_their_team_at_their_first_sign_in(world: World) -> None:
    for made in (True, False):
        with world.database.session_scope() as session:
            assert demo.seed(session, policy=world.policy, issuer=ISSUER, now=START) is made
    world.signed_in("teammate")
    assert not page(world, "teammate").accepted
    world.accepts("teammate")
    assert [account.slug for account in page(world, "teammate").accounts] == ["teammate", "wide-field-demo"]


def test_the_launch_page_shows_the_pace_and_its_date(world: World) -> None:
    world.astronomer()
    admitted = world.launch(hours=24)
    began = world.started(admitted.hold_id)
    world.clock.forward(hours=20)
    world.seen(admitted.hold_id, began)
    standing = page(world).accounts[0].standing
    assert standing.balance_micro == 25 * MICRO - 2_500_000
    assert standing.available_micro == 25 * MICRO - world.hold(admitted.hold_id).amount_micro
    assert standing.balance_micro - standing.held_micro == standing.available_micro
    assert standing.burn.credits_per_day == 2.5
    assert standing.burn.runs_out_on == world.clock() + timedelta(days=9)
