"""A team's own server: an account of the hub that nobody signs in to, and that the team's members share."""

import os
import re
from collections.abc import Iterator

import httpx
import psutil
import pytest
from tests.support.fake_allocator import DEFAULTS, TEAM, TEAM_GID
from tests.support.hub import (
    PLAIN,
    SMALL,
    HubUnderTest,
    Visitor,
    as_posted,
    form_action,
    hidden_fields,
    running_hub,
    until,
)
from tests.support.nexus import ROOT

from nexus_allocator.embedded.surroundings import notebook_servers

SUPPORT = ROOT / "tests" / "support"
OWN = {**SMALL, "account": TEAM}
PAGE = f"/hub/nexus/team/{TEAM}"


STARTER = "starts-servers-0123456789"


@pytest.fixture(scope="module")
def shared_hub() -> Iterator[HubUnderTest]:
    with running_hub(config=SUPPORT / "starter_config.py", NEXUS_STARTER_TOKEN=STARTER) as hub:
        yield hub


def as_starter(hub: HubUnderTest, account: str, options: dict[str, str]) -> httpx.Response:
    """Start the server of an account as a service of the hub that may."""
    return PLAIN.post(
        f"{hub.settings.hub_url}/hub/api/users/{account}/server",
        headers={"Authorization": f"token {STARTER}"},
        json=as_posted(options),
        timeout=60,
    )


@pytest.fixture
def member(hub: HubUnderTest) -> Visitor:
    return hub.sign_in("astronomer")


@pytest.fixture
def started(hub: HubUnderTest, member: Visitor) -> psutil.Process:
    """The team's server, started by a member by the page's own way."""
    assert start(member).status_code == 200
    hub.wait_until_ready(TEAM)
    return psutil.Process(hub.pid(TEAM))


def start(visitor: Visitor) -> httpx.Response:
    page = visitor.get(PAGE)
    assert f'href="/hub/spawn/{TEAM}"' in page.text, page.text
    return visitor.launch_by_form(OWN, visitor.get(f"/hub/spawn/{TEAM}"))


def entered(visitor: Visitor) -> int:
    """Open the team's server, saying yes where the hub asks whether it may know who this is."""
    page = visitor.get(f"/user/{TEAM}/lab")
    if "/oauth2/authorize" in str(page.url) and page.status_code == 200:
        page = visitor.http.post(page.url.join(form_action(page)), data=hidden_fields(page))
    return page.status_code


def test_a_member_starts_it_on_the_team_s_credits_though_its_account_never_signed_in(
    hub: HubUnderTest, started: psutil.Process
) -> None:
    asked = hub.calls("POST", "/admissions")[-1]["body"]
    assert (asked["hub_name"], asked["started_by"], asked["account"]) == (TEAM, "astronomer", TEAM)
    folder = hub.settings.folder("teams") / TEAM
    environment = started.environ()
    assert environment["HOME"] == str(folder / ".nexus-server")
    assert started.cwd() == str(folder)
    assert not (hub.settings.folder("homes") / TEAM).exists()
    assert "--YDocExtension.disable_rtc=False" in started.cmdline()
    assert f"--SQLiteYStore.db_path={folder}/.nexus-server/history.db" in started.cmdline()
    assert list(notebook_servers(hub.settings)) == [started.pid], "as the parent finds what is left running"
    if os.geteuid() == 0:
        assert (started.uids().real, started.gids().real) == (TEAM_GID, TEAM_GID)


def test_another_member_enters_it_and_stops_it_and_the_reason_names_who(
    hub: HubUnderTest, started: psutil.Process
) -> None:
    teammate = hub.sign_in("teammate")
    assert entered(teammate) == 403, "not before the hub has asked who is in the team"
    assert f'href="{PAGE}"' in teammate.get(f"/user/{TEAM}/lab").text
    page = teammate.get(PAGE)
    assert entered(teammate) == 200
    assert "Running" in page.text
    assert re.search(r"<dt>Ends by</dt><dd>\d+ [A-Z][a-z]+ 20\d\d, \d\d:\d\d UTC</dd>", page.text), page.text
    teammate.http.post(page.url.join(form_action(page)), data=hidden_fields(page))
    until(lambda: not hub.active(), "stopped")
    told = hub.calls("POST", f"/servers/{TEAM}/-/stop-intent")[-1]["body"]
    assert told == {"reason": "team-hand", "actor": "teammate"}
    assert not started.is_running()


def test_who_is_not_in_the_team_neither_sees_nor_enters_nor_starts_it(
    hub: HubUnderTest, started: psutil.Process
) -> None:
    hub.control(outsiders=["teammate"])
    outsider = hub.sign_in("teammate")
    page = outsider.get(PAGE)
    assert (page.status_code, "There is no team wide-field-demo in which you are" in page.text) == (404, True)
    assert entered(outsider) == 403
    assert outsider.api("DELETE", f"/users/{TEAM}/server").status_code in (403, 404)
    assert outsider.launch_by_api(OWN, TEAM).status_code in (403, 404)
    assert started.is_running()


def test_its_pages_name_who_looks_at_them_and_not_the_team(hub: HubUnderTest, member: Visitor) -> None:
    assert member.get(PAGE).status_code == 200
    assert f'href="{PAGE}"' in member.get("/hub/home").text
    stopped = member.get(f"/hub/user/{TEAM}/lab")
    assert "<h1>The team’s server is not running</h1>" in stopped.text
    form = member.get(f"/hub/spawn/{TEAM}")
    assert "<h1>Start the team’s server</h1>" in form.text
    starting = member.launch_by_form(OWN, form)
    assert "<h1>The team’s server is starting</h1>" in starting.text
    for page in (stopped, form, starting):
        assert "<span>astronomer</span>" in page.text
    hub.wait_until_ready(TEAM)


def test_a_member_who_comes_by_a_link_first_is_led_to_its_page(hub: HubUnderTest) -> None:
    hub.control(outsiders=["teammate"])
    hub.sign_in("teammate")
    hub.control(**DEFAULTS)
    page = hub.sign_in("teammate").get(f"/user/{TEAM}/lab/tree/survey.ipynb")
    assert (page.url.path, page.status_code) == (PAGE, 200)


def test_who_left_may_not_start_it_whatever_the_hub_remembers(hub: HubUnderTest, member: Visitor) -> None:
    page = member.get(PAGE) and member.get(f"/hub/spawn/{TEAM}")
    hub.control(outsiders=["astronomer"])
    answer = member.launch_by_form(OWN, page)
    # By the hub, where it has just asked who is in the team, else by the service.
    assert answer.status_code == 404
    assert hub.active() == []


def test_it_may_be_charged_to_the_team_alone_and_not_started_while_the_service_is_away(
    hub: HubUnderTest, member: Visitor
) -> None:
    page = member.get(PAGE) and member.get(f"/hub/spawn/{TEAM}")
    assert 'value="astronomer"' not in page.text
    hub.control(failing=True)
    answer = member.launch_by_form(OWN, page)
    assert "nothing was charged" in answer.text
    assert hub.active() == []


def test_a_refusal_is_told_with_its_sums_above_the_member_s_form(hub: HubUnderTest, member: Visitor) -> None:
    page = member.get(PAGE) and member.get(f"/hub/spawn/{TEAM}")
    hub.control(team_available_micro=100_000)
    refused = member.launch_by_form(OWN, page)
    assert (refused.status_code, "0.1 left; nothing would fit." in refused.text) == (402, True)
    assert 'name="hours"' in refused.text, "the form, not an outage"
    assert hub.active() == []


def test_an_account_that_is_no_team_any_more_has_no_server(hub: HubUnderTest, member: Visitor) -> None:
    page = member.get(PAGE) and member.get(f"/hub/spawn/{TEAM}")
    hub.control(suspended=[TEAM])
    assert "it is suspended, or no team" in member.launch_by_form(OWN, page).text
    assert hub.active() == []


def test_a_service_starts_the_server_of_somebody_who_is_not_signed_in(hub: HubUnderTest) -> None:
    person = hub.sign_in("astronomer")
    person.sign_out()
    answer = as_starter(hub, "astronomer", SMALL)
    assert answer.status_code in (201, 202), answer.text
    hub.wait_until_ready()
    assert hub.calls("POST", "/admissions")[-1]["body"]["started_by"] is None


def test_a_service_starts_nothing_for_the_suspended(hub: HubUnderTest) -> None:
    hub.sign_in("astronomer")
    hub.control(suspended=["astronomer"])
    assert as_starter(hub, "astronomer", SMALL).status_code == 403
    hub.control(**DEFAULTS)
    assert hub.active() == []
