"""How an allocation ends: told ahead, read-only for a while, lapsed at last; Entry begins anew by itself."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from tests.allocator.test_requests import award, submit
from tests.support.allocator import START, World

from nexus_allocator.domain import requests as rules
from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.endings import notice_due
from nexus_allocator.domain.errors import (
    AgreementChanged,
    AgreementRequired,
    AllocationExpired,
    BadResults,
    ReadOnlyNow,
    SizeNotAllowed,
)
from nexus_allocator.services import agreements, launches, requests, statements
from nexus_allocator.store import requests as request_rows

YEAR = timedelta(days=365)


@pytest.fixture
def research(world: World) -> World:
    """Ann has a Research allocation of 500 credits until a year from the start, beside 25 of Entry."""
    admin = world.administrator()
    world.astronomer("ann")
    award(world, submit(world, "ann"), admin)
    return world


def ask_again(world: World, account: str = "ann", tier: str = "research", **told: Any) -> UUID:
    return submit(world, "ann", account=account, tier=tier, **told)


def at(world: World, moment: datetime) -> World:
    world.clock.at = moment
    world.turn()
    return world


def test_a_notice_is_due_once_and_only_the_nearest_of_those_missed() -> None:
    ends, days = START + YEAR, (30, 14, 7, 1)

    def due(before: float, told: int | None) -> int | None:
        return notice_due(days, expires_at=ends, told_days=told, now=ends - timedelta(days=before))

    assert [due(31, None), due(30, None), due(20, 30), due(14, 30), due(13, 14)] == [None, 30, None, 14, None]
    assert due(0.5, None) == 1
    assert due(0.5, 1) is None
    assert due(0, 30) is None, "the end itself is told in other words"


def test_each_notice_is_given_once_to_who_owns_the_allocation(research: World) -> None:
    for days in (40, 30, 29, 14, 7, 7, 1):
        at(research, START + YEAR - timedelta(days=days))
    told = research.told("ann")
    assert [text.split(", in ")[1].split(".")[0] for text in told] == [
        "1 day",
        "7 days",
        "14 days",
        "30 days",
    ]
    assert told[0].startswith("The Research allocation of Your own account ends on 2027-03-02")
    at(research, START + YEAR)
    assert (
        "Until 2027-04-01 the smallest server can be started to read and download" in research.told("ann")[0]
    )
    assert research.turn() == 0


def test_entry_begins_anew_by_itself_and_what_was_left_lapses(world: World) -> None:
    world.astronomer("ann")
    world.clock.at = START + YEAR - timedelta(minutes=30)
    running = world.launch("ann", hours=2)
    began = world.started(running.hold_id)
    assert at(world, START + YEAR).turn() == 0
    held = world.hold(running.hold_id).amount_micro
    figures = world.figures("ann")
    assert (figures.available, figures.held) == (25 * MICRO, held), (
        "what is held goes on paying for its server"
    )
    assert world.allocation("ann").expires_at == START + 2 * YEAR
    assert world.told("ann") == [
        "The Entry allocation of Your own account began anew, and ends on 2028-03-01."
    ]
    world.clock.forward(hours=1)
    world.seen(running.hold_id, began)
    assert world.hold(running.hold_id).stop_reason is None
    with world.database.reading_scope() as session:
        day = (START + YEAR).date()
        found = statements.of_account(session, slug="ann", first=day, last=day)
    assert [line.amount_micro for line in found.lines if line.resource == "lapse"] == [-(25 * MICRO - held)]


def test_a_launch_after_the_end_of_entry_renews_it_when_nobody_has_yet(world: World) -> None:
    world.astronomer("ann")
    world.clock.at = START + 2 * YEAR
    assert world.launch("ann").rate_micro_per_hour > 0
    assert world.allocation("ann").expires_at == START + 3 * YEAR


def test_in_the_days_of_grace_one_small_server_reads_and_the_platform_pays(research: World) -> None:
    at(research, START + YEAR)
    before = research.figures("ann").balance
    for wish in ({"size": "medium"}, {"hours": 10.25}):
        with pytest.raises(ReadOnlyNow):
            research.launch("ann", **wish)
    admitted = research.launch("ann", hours=8)
    assert (admitted.read_only, admitted.rate_micro_per_hour, admitted.teams) == (True, 0, [])
    with pytest.raises(ReadOnlyNow):
        research.launch("ann", server_name="second", hours=1)
    research.started(admitted.hold_id)
    research.clock.forward(hours=6)
    research.stopped(admitted.hold_id, stopped_at=research.clock(), alive_at_stop=True)
    assert research.figures("ann").balance == before
    with pytest.raises(ReadOnlyNow) as refusal:
        research.launch("ann", hours=4.25)
    assert refusal.value.facts["hours_left"] == 4
    assert research.launch("ann", hours=4).read_only


def test_the_launch_page_offers_what_the_days_of_grace_leave(research: World) -> None:
    at(research, START + YEAR)
    with research.database.reading_scope() as session:
        page = launches.launch_page(session, policy=research.policy, hub_name="ann", now=research.clock())
    [choice] = page.accounts
    assert [size.slug for size in choice.sizes] == ["small"]
    assert choice.reading is not None
    assert choice.reading.minutes_left == 600


def test_a_server_that_runs_at_the_end_goes_on_through_grace_and_lapse(research: World) -> None:
    research.clock.at = START + YEAR - timedelta(hours=1)
    admitted = research.launch("ann", size="medium", hours=24)
    began = research.started(admitted.hold_id)
    at(research, START + YEAR)
    research.ends("ann", START + YEAR - timedelta(days=31))
    research.turn()
    assert research.allocation("ann").tier == "entry"
    research.clock.forward(hours=10)
    research.seen(admitted.hold_id, began)
    hold = research.hold(admitted.hold_id)
    assert (hold.stop_reason, hold.usage_micro) == (None, 11 * 300_000)
    assert research.figures("ann").available == 25 * MICRO, "Entry's credits stand beside what is held"
    with pytest.raises(SizeNotAllowed):
        research.launch("ann", size="medium", server_name="b")


def test_after_the_days_of_grace_a_person_has_entry_again_and_the_rest_has_lapsed(research: World) -> None:
    at(research, START + YEAR + timedelta(days=29))
    assert research.figures("ann").balance == 525 * MICRO, "kept, for a renewal may still come"
    at(research, START + YEAR + timedelta(days=30))
    assert research.figures("ann").balance == 25 * MICRO
    assert research.allocation("ann").tier == "entry"
    assert "You have an Entry allocation again." in research.told("ann")[0]
    assert not research.launch("ann").read_only


def test_a_renewal_tells_results_and_keeps_what_was_left(research: World) -> None:
    with research.database.reading_scope() as session:
        admin = request_rows.of_person(session, request_person(session))[0].decided_by
    assert admin is not None
    at(research, START + YEAR - timedelta(days=10))
    with pytest.raises(BadResults):
        ask_again(research)
    request_id = ask_again(research, papers="One on shear.", dois="https://doi.org/10.3847/1538-3881/ab1234")
    award(research, request_id, admin)
    assert research.figures("ann").balance == 1025 * MICRO
    assert research.allocation("ann").expires_at == START + 2 * YEAR - timedelta(days=10)
    at(research, START + YEAR + timedelta(days=40))
    assert research.allocation("ann").tier == "research"
    assert not research.launch("ann", size="medium").read_only


def request_person(session: Any) -> UUID:
    return requests.person_called(session, "ann").id


@pytest.mark.parametrize(
    ("papers", "dois"),
    [("", ""), ("x", ""), ("a\x00b c", ""), ("One.", "ab1234"), ("One.", "10.1/x"), ("x" * 2001, "")],
)
def test_results_that_say_nothing_or_name_no_doi_are_refused(papers: str, dois: str) -> None:
    with pytest.raises(BadResults):
        rules.results(papers, "", dois)


def test_dois_are_kept_bare_and_once() -> None:
    told = rules.results("One.", "", "doi:10.1000/xyz, https://doi.org/10.1000/xyz 10.1000/abc")
    assert told.dois == ("10.1000/xyz", "10.1000/abc")


def test_a_team_s_allocation_lapses_with_nothing_in_its_place_until_it_is_renewed(world: World) -> None:
    admin = world.administrator()
    world.astronomer("ann")
    award(world, submit(world, "ann", tier="team", team_label="Survey"), admin)
    world.share("survey", "ann", 3)
    held = world.launch("ann", account="survey", size="large", hours=2)
    world.stopped(held.hold_id)
    at(world, START + YEAR)
    assert any("nothing can be charged to it" in text for text in world.told("ann"))
    with pytest.raises(AllocationExpired):
        world.launch("ann", account="survey")
    at(world, START + YEAR + timedelta(days=30))
    assert world.figures("survey").balance == 0
    assert world.turn() == 0
    request_id = ask_again(world, "survey", "team", papers="None yet: the data came late.")
    award(world, request_id, admin)
    assert world.figures("survey").balance == 5000 * MICRO
    assert world.team_page("survey", "ann").counted_from == world.clock()
    assert world.launch("ann", account="survey", size="large", hours=2)


def test_a_new_version_of_the_agreement_is_accepted_anew_before_anything_starts(world: World) -> None:
    world.astronomer("ann")
    world.policy = replace(world.policy, agreement=replace(world.policy.agreement, version="2027-1"))
    with pytest.raises(AgreementRequired):
        world.launch("ann")

    def standing() -> agreements.Standing:
        with world.database.reading_scope() as session:
            return agreements.standing(session, world.policy.agreement, hub_name="ann")

    assert standing().changed
    world.clock.forward(days=1)
    world.accepts("ann")
    assert (standing().accepted_at, standing().earlier) == (world.clock(), (("2026-1", START),))
    assert world.launch("ann")
    assert world.figures("ann").balance == 25 * MICRO, "accepting again grants nothing again"


def test_the_words_of_an_agreement_are_kept_and_can_not_change_under_its_version(world: World) -> None:
    agreement = world.policy.agreement
    for _ in range(2):
        with world.database.session_scope() as session:
            agreements.keep(session, agreement, now=START)
    with pytest.raises(AgreementChanged), world.database.session_scope() as session:
        agreements.keep(session, replace(agreement, text_html="<p>All is ours.</p>"), now=START)
