"""A year of the Nexus in a real Chromium, from the first request to a renewal, and to a lapse.

What people do they do in a browser with the keyboard alone, at the service's own application (pages, API,
meter) over HTTP, with a clock that the test sets. The hub is a small one: it signs people in, and its side
of a launch, a start and a stop goes through the service's API as the real hub's does. Nothing of the service
is faked; the meter's rounds are called, because its thread would wait for real minutes.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect
from tests.support.browser import choose, chromium, fill_by_keyboard, tab_to, type_date
from tests.support.portal import JUSTIFICATION
from tests.support.year import ADMINISTRATORS, PATIENCE_MS, Year, a_year

pytestmark = pytest.mark.browser

CRITERIA = ("Scientific merit", "Need for the Nexus", "Method and feasibility", "Benefit to others")
TEAM = "cosmic-shear"
# What stands before a button on the longest page, a round trip included.
TABS = 150
# The moment after the last day of both Research awards.
ENDS = datetime(2028, 3, 15, tzinfo=UTC)
TEAM_CASE = (
    "Injected signals over a thousand square degrees, with the pipeline run again for each: forty Large "
    "hours a month, shared by two people who measure shears independently."
)


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Year]:
    folder: Path = tmp_path_factory.mktemp("year")
    with chromium() as browser, a_year(folder, browser) as year:
        people = {"ada": "Ada Astronomer", "tomo": "Tomo Teammate", "lea": "Lea Lapsing",
                  "rae": "Rae Reviewer", "ray": "Ray Reviewer"}  # fmt: skip
        for name, label in people.items():
            year.signs_in_at_the_hub(name, label)
        year.signs_in_at_the_hub("alex", "Alex Administrator", ADMINISTRATORS)
        for name in ("tomo", "lea", "rae", "ray"):
            year.accepts(name)
        yield year


def told(page: Page, text: str | re.Pattern[str]) -> None:
    expect(page.get_by_role("main")).to_contain_text(text, timeout=PATIENCE_MS)


def press(page: Page, name: str, *, within: str | None = None) -> None:
    place = page.get_by_role("region", name=within) if within else page.get_by_role("main")
    enter(page, place.get_by_role("button", name=name).first)


def enter(page: Page, target: Locator) -> None:
    """Press Enter on a link or a form's button, and wait for the page that it leads to."""
    tab_to(page, target, presses=TABS)
    with page.expect_navigation(timeout=PATIENCE_MS):
        page.keyboard.press("Enter")


def fill(page: Page, target: Locator, text: str) -> None:
    typed = type_date if target.get_attribute("type") == "date" else fill_by_keyboard
    typed(page, target, text, presses=TABS)


def ask(page: Page, tier: str, case: str, **fields: str) -> None:
    choose(page, page.get_by_role("radio", name=tier), presses=TABS)
    fill(page, page.get_by_label("What is it for?"), case)
    for label, text in fields.items():
        fill(page, page.get_by_label(label.replace("_", " ")), text)
    press(page, "Send the request")


def approve(year: Year, person: str, *, credits_given: str, last_day: str, note: str = "") -> None:
    page = year.at("alex", "admin/requests")
    enter(page, page.get_by_role("row", name=person).get_by_role("link", name="Decide"))
    fill(page, page.get_by_label("Credits to grant"), credits_given)
    fill(page, page.get_by_label("Ends on"), last_day)
    fill(page, page.get_by_label("A note to the person"), note)
    press(page, "Approve")
    told(page, "Awarded")


def review(year: Year, name: str, *, score: str, for_applicant: str) -> Page:
    page = year.at(name, "panel")
    enter(page, page.get_by_role("link", name="Shear by injection"))
    told(page, "You see what others say once you have given your own review.")
    for criterion in (
        "Scientific merit",
        "Need for the Nexus",
        "Method and feasibility",
        "Benefit to others",
    ):
        choose(page, page.get_by_role("group", name=criterion).get_by_role("radio", name=score), presses=TABS)
    fill(page, page.get_by_label("For the panel only"), f"{name} has read it twice.")
    fill(page, page.get_by_label("For the applicant"), for_applicant)
    press(page, "Give the review")
    told(page, "Your review was kept.")
    return page


def test_research_is_asked_for_and_awarded_in_part(year: Year) -> None:
    year.at("ada")
    page = year.at("ada", "agreement")
    press(page, "I accept")
    told(page, "You accepted this version")
    page = year.at("ada", "requests")
    ask(
        page,
        "Research",
        JUSTIFICATION,
        Title="Shapes of the pilot field",
        or_exposures_of_all_detectors="900",
    )
    told(page, "Research for Your own account Waiting")
    approve(year, "Ada Astronomer", credits_given="120", last_day="2028-03-14", note="A pilot first.")
    page = year.at("ada", "requests")
    told(page, "Awarded: 120 credits.")
    told(page, "Awarded in part")
    page = year.at("lea", "requests")
    ask(page, "Research", JUSTIFICATION)
    approve(year, "Lea Lapsing", credits_given="500", last_day="2028-03-14")


def test_a_team_s_request_goes_through_a_panel_of_two_to_an_offer_that_is_accepted(year: Year) -> None:
    year.passes(days=20)
    page = year.at("alex", "admin/panel")
    for label, text in {"Name": "Spring 2027", "First day": "2027-04-01", "Last day": "2027-04-30",
                        "Reviews due": "2027-05-15", "Credits it may award": "20000"}.items():  # fmt: skip
        fill(page, page.get_by_label(label, exact=label == "Name"), text)
    press(page, "Make the round")
    told(page, "The round was made.")
    for name in ("rae", "ray"):
        fill(page, page.get_by_label("Appoint"), name)
        press(page, "Appoint", within="Reviewers")
        told(page, "Appointed: the person was told")
    page = year.at("ada", "requests")
    ask(page, "Team", TEAM_CASE, Title="Shear by injection", Name_of_the_new_team="Cosmic Shear",
        Who_works_with_you="tomo", or_exposures_of_all_detectors="3600")  # fmt: skip
    told(year.at("rae"), "“Shear by injection” came into the round Spring 2027")
    review(year, "rae", score="5 Outstanding", for_applicant="Convincing.")
    year.passes(days=6)
    page = review(year, "ray", score="3 Good", for_applicant="Say how you choose the fields.")
    told(page, "rae has read it twice.")
    page = year.at("alex", "admin/panel")
    expect(page.get_by_role("row", name="Shear by injection")).to_contain_text("6 days")
    enter(page, page.get_by_role("link", name="Shear by injection"))
    told(page, re.compile(r"Together\s*4\.0 \(3 to 5\)"))
    told(page, "20,000.0 of 20,000 credits")
    fill(page, page.get_by_label("Credits to grant"), "60")
    fill(page, page.get_by_label("Ends on"), "2028-04-30")
    fill(page, page.get_by_label("A note to the person"), "One field, then come again.")
    press(page, "Offer these terms")
    told(page, "Offered other terms")
    page = year.at("ada", "requests")
    told(page, "An offer: 60 credits")
    told(page, "Say how you choose the fields.")
    press(page, "Accept the offer")
    told(page, "Accepted and awarded")


def test_members_join_and_launch_on_the_team_within_their_caps(year: Year) -> None:
    page = year.at("tomo")
    press(page, "Join")
    told(page, "You are in the team.")
    page = year.at("ada", f"teams/{TEAM}")
    enter(page, page.get_by_role("link", name="Tomo Teammate"))
    choose(page, page.get_by_role("radio", name="Cap"), presses=TABS)
    fill(page, page.get_by_label("Credits", exact=True), "20")
    press(page, "Change the part")
    told(page, "The part was changed")
    refused = year.launch("tomo", account=TEAM, size="large", hours=24)
    assert (refused.status_code, refused.json()["error"]) == (402, "share_exceeded")
    # A Large server costs 1.2 credits an hour, ten minutes to save included: 19.4 of Tomo's 20.
    assert year.launch("tomo", account=TEAM, size="large", hours=16).status_code == 201
    told(year.at("tomo"), "Running servers")
    year.passes(hours=16)
    year.stops("tomo")
    told(
        year.at("ada", f"teams/{TEAM}"),
        re.compile(r"Tomo Teammate\s*Member\s*–\s*Cap of 20\s*19\.20\s*0\.80"),
    )


def test_an_allocation_runs_down_warns_and_a_server_is_stopped_with_its_reason_shown(year: Year) -> None:
    assert year.launch("ada", account=TEAM, size="large", hours=24).status_code == 201
    year.passes(hours=22)
    told(year.at("ada"), re.compile(r"75 % of the award is used: 14\.\d\d of 60\.00 credits are left"))
    year.passes(hours=2)
    year.stops("ada")
    assert year.launch("ada", account=TEAM, size="large", hours=9).status_code == 201
    year.passes(hours=7)
    told(year.at("ada"), "90 % of the award is used")
    year.operator_takes(TEAM, 4)
    year.passes(minutes=1)
    page = year.at("ada")
    told(page, "The credits of this account are used up. Save your work now")
    assert "ada" in year.hub.servers, "there is time to save"
    year.passes(minutes=11)
    assert "ada" not in year.hub.servers
    told(year.at("ada"), "The account ran out of credits.")
    refused = year.launch("ada", account=TEAM, size="small", hours=1)
    assert (refused.status_code, refused.json()["error"]) == (402, "quota_exceeded")


def test_a_renewal_asks_for_results_and_is_granted(year: Year) -> None:
    year.until(ENDS - timedelta(days=30))
    told(year.at("ada"), "The Research allocation of Your own account ends on 2028-03-15, in 30 days.")
    page = year.at("ada", "requests?account=ada")
    ask(page, "Research", JUSTIFICATION)
    told(page, "Please say what came of the allocation so far")
    fill(page, page.get_by_label("Papers, talks, theses"), "One on the pilot field, submitted in January.")
    fill(page, page.get_by_label("DOIs"), "10.3847/1538-3881/ab1234")
    press(page, "Send the request")
    told(page, "Your request was sent")
    page = year.at("alex", "admin/requests")
    enter(page, page.get_by_role("row", name="Ada Astronomer").get_by_role("link", name="Decide"))
    told(page, "One on the pilot field, submitted in January.")
    approve(year, "Ada Astronomer", credits_given="500", last_day="2029-03-14")
    told(year.at("ada", "requests"), "Renewed")


def test_another_that_nobody_renews_lapses_through_grace_to_entry(year: Year) -> None:
    told(year.at("lea"), "The Research allocation of Your own account ends on 2028-03-15, in 30 days.")
    for days in (14, 7, 1):
        year.until(ENDS - timedelta(days=days))
        told(year.at("lea"), f"ends on 2028-03-15, in {days} day")
    year.until(ENDS + timedelta(days=5))
    told(year.at("lea"), "Until 2028-04-14 the smallest server can be started to read and download")
    refused = year.launch("lea", account="lea", size="medium", hours=1)
    assert (refused.status_code, refused.json()["error"]) == (402, "read_only_now")
    reading = year.launch("lea", account="lea", size="small", hours=1)
    assert (reading.json()["read_only"], reading.json()["rate_micro_per_hour"]) == (True, 0)
    year.stops("lea")
    year.until(ENDS + timedelta(days=31))
    page = year.at("lea")
    told(page, "has lapsed with what was left of its credits. You have an Entry allocation again.")
    told(page, re.compile(r"Your own account\s*Entry"))
    assert year.launch("lea", account="lea", size="medium", hours=1).status_code == 422
    assert year.launch("lea", account="lea", size="small", hours=1).json()["read_only"] is False
    year.stops("lea")
    page = year.at("ada")
    told(page, "15 March 2029")
    assert year.launch("ada", account="ada", size="medium", hours=1).status_code == 201
    year.stops("ada")
