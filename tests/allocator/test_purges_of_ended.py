"""Purges of what nobody has a right to keep any more: homes, team folders and scratch after their end."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.allocator.test_requests import submit
from tests.allocator.test_scratch import takes
from tests.support.allocator import World
from tests.support.purge_store import SCRATCH, Store

from nexus_allocator.domain.errors import PlaceNotEnded
from nexus_allocator.domain.places import Place, PlaceKind
from nexus_allocator.domain.purges import PurgeState
from nexus_allocator.domain.states import TierSlug
from nexus_allocator.policy import load_policy
from nexus_allocator.services import endings, place_ends, purge_work, storage, suspensions

# A day's turn costs a test some 50 ms; these are the waits with the fewest.
DAYS = {"grace_days": 2, "window_days": 2}
HOME, TEAM = Place(PlaceKind.HOME, "astronomer"), Place(PlaceKind.TEAM, "stars")
Opened = Callable[[str, Place], Store]


@pytest.fixture
def opened(tmp_path: Path, world: World) -> Opened:
    """A store with one place, of a person or a team of two, and one rule switched on."""

    def of(rule: str, place: Place) -> Store:
        store = Store(tmp_path, world, rule=rule, places=(place,), days=DAYS)
        for name in ("astronomer", "teammate"):
            world.astronomer(name)
        world.team("stars", "astronomer", "teammate")
        store.write("old", "runs/older", place=place)
        # What was written today, by the machine's clock, is unused for longer than any rule asks.
        world.clock.forward(days=100)
        return store

    return of


def ended_team(opened: Opened, *, days_ago: int) -> Store:
    """A team whose allocation's days of grace ended so many days ago."""
    store = opened("ended-teams", TEAM)
    grace = store.work.policy.tiers[TierSlug.TEAM].grace
    store.world.ends("stars", store.world.clock() - grace - timedelta(days=days_ago))
    return store


def acts(store: Store, days: int) -> list[str]:
    return [each.what for each in store.days_pass(days) if each.files]


def announced(store: Store) -> Store:
    assert acts(store, 2) == ["dry run", "plan and announce"]
    return store


def renews(world: World) -> None:
    world.ends("stars", world.clock() + timedelta(days=365))


def signs_in_again(world: World) -> None:
    world.signed_in("astronomer")


def is_suspended(world: World) -> None:
    with world.database.session_scope() as session:
        suspensions.suspend(session, hub_name="astronomer", reason="Gone", actor="test", now=world.clock())


def is_reinstated(world: World) -> None:
    with world.database.session_scope() as session:
        suspensions.reinstate(session, hub_name="astronomer", actor="test", now=world.clock())


def term_ends(world: World) -> None:
    """The Entry term ends and begins anew by itself."""
    world.ends("astronomer", world.clock())
    assert endings.turn_all(world.database, policy=world.policy, now=world.clock()) == 1


def test_a_teams_folder_goes_in_steps_once_its_allocation_and_the_stated_time_are_over(
    opened: Opened,
) -> None:
    store = ended_team(opened, days_ago=59)
    store.is_on = False
    assert acts(store, 1) == ["dry run"]
    store.is_on = True
    assert acts(store, 1) == ["plan and announce"]
    assert store.files(TEAM) == {"old", "runs/older"}
    for member in ("astronomer", "teammate"):
        assert any("2 files (0.0 GB) in teams/stars" in each for each in store.world.told(member))
    assert acts(store, 2) == ["quarantine"]
    assert store.files(TEAM) == set()
    assert acts(store, 2) == ["delete"]
    assert store.plans()[0].state is PurgeState.DELETED


def test_nothing_is_looked_at_before_the_end_and_the_stated_time(opened: Opened) -> None:
    store = ended_team(opened, days_ago=57)
    assert store.days_pass(2) == []
    rule = store.work.policy.purge_rule("ended-teams")
    assert purge_work.rehearse(store.work, rule, TEAM, now=store.world.clock()).files == 0
    with pytest.raises(PlaceNotEnded):
        purge_work.plan(store.work, rule, TEAM, now=store.world.clock())


def test_a_team_that_is_awarded_anew_keeps_what_was_planned_and_is_told(opened: Opened) -> None:
    store = announced(ended_team(opened, days_ago=70))
    renews(store.world)
    (plan,) = store.plans()
    with pytest.raises(PlaceNotEnded):
        purge_work.take(store.work, plan.id.hex, now=store.world.clock())
    assert acts(store, 1) == ["call off"]
    assert store.plans()[0].state is PurgeState.CANCELLED
    for member in ("astronomer", "teammate"):
        assert any("called off" in each for each in store.world.told(member))
    assert store.days_pass(3) == []
    assert store.files(TEAM) == {"old", "runs/older"}


def test_a_team_that_is_awarded_anew_has_back_what_waits_though_its_rule_is_off(opened: Opened) -> None:
    store = announced(ended_team(opened, days_ago=70))
    store.days_pass(2)
    assert store.files(TEAM) == set()
    renews(store.world)
    store.is_on = False
    with pytest.raises(PlaceNotEnded):
        purge_work.delete(store.work, store.plans()[0].id.hex, now=store.world.clock())
    assert acts(store, 1) == ["put back"]
    assert store.files(TEAM) == {"old", "runs/older"}
    assert store.plans()[0].state is PurgeState.KEPT
    assert any("back where" in each for each in store.world.told("teammate"))


def test_an_award_in_the_middle_of_the_taking_stops_it_and_ends_the_plan(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = announced(ended_team(opened, days_ago=70))
    store.days_pass(1)
    store.world.clock.forward(days=1)
    with monkeypatch.context() as patched:
        # The award comes once the files' batch was begun: the run asks before each one.
        asked = iter((True, False))
        patched.setattr(purge_work, "has_ended", lambda *_, **__: next(asked))
        plan = store.plans()[0].id.hex
        purge_work.look(store.work, plan, now=store.world.clock())
        assert purge_work.take(store.work, plan, now=store.world.clock()).done == 0
    renews(store.world)
    assert acts(store, 1) == ["call off"]
    assert store.files(TEAM) == {"old", "runs/older"}


def test_while_a_teams_renewal_is_being_decided_its_folder_is_left(opened: Opened) -> None:
    store = ended_team(opened, days_ago=70)
    store.world.ends("stars", store.world.allocation("stars").expires_at, tier=TierSlug.RESEARCH)
    submit(store.world, account="stars", tier="team")
    assert store.days_pass(2) == []


@pytest.mark.parametrize("ends", [is_suspended, term_ends])
def test_a_home_goes_once_its_persons_access_is_over_for_the_stated_time(
    opened: Opened, ends: Callable[[World], None]
) -> None:
    store = opened("ended-homes", HOME)
    store.world.ends("astronomer", store.world.clock() + timedelta(days=900))
    assert store.days_pass(1) == []
    ends(store.world)
    store.world.clock.forward(days=88)
    assert store.days_pass(1) == []
    announced(store)
    assert any("homes/astronomer" in each for each in store.world.told("astronomer"))
    assert acts(store, 2) == ["quarantine"]
    assert store.files(HOME) == set()


@pytest.mark.parametrize(("ends", "comes_back"), [(is_suspended, is_reinstated), (term_ends, signs_in_again)])
def test_who_comes_back_keeps_their_home(
    opened: Opened, ends: Callable[[World], None], comes_back: Callable[[World], None]
) -> None:
    store = opened("ended-homes", HOME)
    ends(store.world)
    store.world.clock.forward(days=90)
    announced(store)
    comes_back(store.world)
    assert acts(store, 1) == ["call off"]
    assert store.files(HOME) == {"old", "runs/older"}


def test_an_exempt_folder_of_an_ended_home_stays(opened: Opened) -> None:
    store = opened("ended-homes", HOME)
    is_suspended(store.world)
    with store.world.database.session_scope() as session:
        storage.exempt(
            session, HOME, (b"runs",), until=store.world.clock() + timedelta(days=400), reason="Evidence",
            by="test", now=store.world.clock(),
        )  # fmt: skip
    store.world.clock.forward(days=90)
    announced(store)
    assert acts(store, 2) == ["quarantine"]
    assert store.files(HOME) == {"runs/older"}


def test_a_scratch_goes_after_its_lease_and_stays_when_it_is_renewed(opened: Opened) -> None:
    store = opened("ended-scratch", SCRATCH)
    rule = store.work.policy.purge_rule("ended-scratch")
    now = store.world.clock()
    assert not purge_work.has_ended(store.work, rule, SCRATCH, now=now), "nobody took it: no lease could end"
    store.world.ends("astronomer", now + timedelta(days=365))
    takes(store.world, 5, 30)
    store.world.clock.forward(days=43)
    assert not purge_work.has_ended(store.work, rule, SCRATCH, now=store.world.clock())
    assert acts(store, 2).count("plan and announce") == 1
    takes(store.world, 5, 30)
    assert acts(store, 1) == ["call off"]


def test_a_new_person_and_who_was_erased_have_no_end_in_sight(world: World) -> None:
    world.astronomer()
    with world.database.session_scope() as session:
        assert place_ends.ended_at(session, HOME, policy=world.policy) is None
    is_suspended(world)
    with world.database.session_scope() as session:
        assert place_ends.ended_at(session, HOME, policy=world.policy) == world.clock()
        owner_id, _ = storage.owner(session, HOME)
        assert owner_id is not None
        person = place_ends.people.by_id(session, owner_id)
        assert person is not None
        person.erased_at = world.clock()
        assert place_ends.ended_at(session, HOME, policy=world.policy) is None


def test_homes_and_team_folders_are_not_taken_sooner_than_a_month_after_their_end() -> None:
    def hasty(document: dict[str, Any]) -> dict[str, Any]:
        for rule in document["purges"]:
            if rule["places"] == "homes":
                rule["ended_days"] = 29
        return document

    with pytest.raises(ValidationError, match="at least 30"):
        load_policy(change=hasty)
    assert "90 days after its person's access" in str(load_policy().purge_rule("ended-homes"))
