"""What a person sees of their accounts, servers and usage, and what they can do to their servers."""

import re
from datetime import timedelta

import pytest
from tests.support.fake_hub import FakeHub
from tests.support.portal import NOW, PortalUnderTest, Visitor, text_of

from nexus_allocator.domain.states import StopReason
from nexus_allocator.domain.stops import Evidence
from nexus_allocator.store import holds


def test_somebody_new_is_shown_the_way_to_the_agreement(
    portal: PortalUnderTest, hub: FakeHub, browser: Visitor
) -> None:
    portal.person("newcomer", "Nia Newcomer")
    hub.at_the_keyboard = "newcomer"
    page = browser.sign_in()
    assert page.status_code == 200
    assert "You have no allocation yet" in text_of(page.text)
    assert f'href="{hub.url}/hub/spawn"' in page.text


def test_a_fresh_account_shows_its_whole_grant_and_says_that_nothing_was_spent(astronomer: Visitor) -> None:
    said = text_of(astronomer.open().text)
    assert "Your own account Entry Personal account Available 25.00 credits" in said
    assert "Balance 25.00 of 25" in said
    assert "Ends on 14 March 2028" in said
    assert "Nothing was spent yet, so there is no pace to reckon with." in said
    assert "No server of yours is running" in said
    assert "You have not run a server yet" in said
    assert "Wide Field Demo Team Team account Available 5,000.0 credits" in said


def test_a_running_server_shows_what_it_is_what_it_costs_and_what_it_holds(
    astronomer: Visitor, populated: PortalUnderTest
) -> None:
    began = populated.clock()
    hold_id = populated.launch("astronomer", hours=2)
    populated.clock.forward(minutes=48)
    populated.seen(hold_id, started_at=began)
    page = astronomer.open().text
    said = text_of(page)
    assert "Default server Running" in said
    assert "Small, 0.125 credits per hour, charged to Your own account." in said
    # 48 minutes of 0.125 credits an hour; two hours and ten minutes of it are set aside.
    assert "Used so far: 0.100 credits (read 15 March 2027, 15:18 UTC )" in said
    assert "Available 24.72 credits" in said
    assert "Held for running servers 0.17 credits" in said
    assert "Balance 24.90 of 25" in said
    assert '<time datetime="2027-03-15T14:30:00Z">15 March 2027, 14:30 UTC</time>' in page


def test_a_starting_server_is_told_apart_from_a_running_one(
    astronomer: Visitor, populated: PortalUnderTest
) -> None:
    populated.launch("astronomer", hours=2, started=False)
    said = text_of(astronomer.open().text)
    assert "Default server Starting" in said
    assert "Keep alive" not in said


def test_usage_and_the_pace_appear_after_a_server_stopped(
    astronomer: Visitor, populated: PortalUnderTest
) -> None:
    populated.ran("astronomer", hours=8)
    said = text_of(astronomer.open().text)
    assert "8 h 00 min 1.000 You stopped it." in said
    assert "Balance 24.00 of 25" in said
    assert "The last server that stopped (on 15 March 2027, 22:30 UTC ): You stopped it." in said


def test_the_run_out_date_is_said_in_words(astronomer: Visitor, populated: PortalUnderTest) -> None:
    for _ in range(5):
        populated.ran("astronomer", hours=16)
        populated.clock.forward(hours=8)
    populated.clock.forward(days=3)
    astronomer.client.cookies.clear()
    said = text_of(astronomer.sign_in().text)
    pace = re.search(
        r"At the pace of the last 8 days \(([\d.]+) credits a day, between .+? in the long run\) "
        r"the credits run out on (.+?) ?; in eight of ten cases between (.+?) and (.+?)\.",
        said,
    )
    assert pace, said
    # Five servers of 16 h at 0.125, posted on five of eight days: 10 / 8 a day, and the 15 credits that
    # are left last twelve days from 23 March on.
    assert (pace.group(1), pace.group(2).strip()) == ("1.25", "4 April 2027")
    page = text_of(astronomer.open("accounts/astronomer").text)
    assert "Fast: faster in one of ten cases" in page
    assert "As now 1.250 4 April 2027" in page


def test_the_chart_has_a_title_a_description_and_a_table_with_the_same_figures(
    astronomer: Visitor, populated: PortalUnderTest
) -> None:
    populated.ran("astronomer", hours=4)
    page = astronomer.open("accounts/astronomer").text
    assert '<title id="chart-astronomer-title">Your own account: credits spent per day</title>' in page
    described = re.search(r'<desc id="chart-astronomer-desc">(.*?)</desc>', page)
    assert described
    assert (
        "0.500 credits were spent from 14 February 2027 to 15 March 2027, on 1 of 30 days"
        in described.group(1)
    )
    table = re.search(r"<summary>The same figures as a table.*?</table>", page, re.S)
    assert table
    assert "15 March 2027 0.500" in text_of(table.group(0))


@pytest.mark.parametrize(
    ("reason", "actor", "sentence"),
    [
        (StopReason.IDLE, "culler", "It was idle for too long."),
        (StopReason.QUOTA, "nexus", "The account ran out of credits."),
        (StopReason.PLANNED_HOURS, "nexus", "Its planned hours and the time to save were over."),
    ],
)
def test_the_last_stop_is_told_in_a_sentence(
    *, astronomer: Visitor, populated: PortalUnderTest, reason: str, actor: str, sentence: str
) -> None:
    hold_id = populated.launch("astronomer")
    populated.clock.forward(minutes=20)
    populated.intend("astronomer", reason, actor)
    populated.stopped(hold_id, Evidence(stopped_at=populated.clock(), alive_at_stop=True))
    assert sentence in text_of(astronomer.open().text)


def test_a_killed_server_names_its_signal(astronomer: Visitor, populated: PortalUnderTest) -> None:
    hold_id = populated.launch("astronomer")
    populated.clock.forward(minutes=20)
    populated.stopped(hold_id, Evidence(stopped_at=populated.clock(), alive_at_stop=False, exit_signal=9))
    assert "ended by signal 9" in text_of(astronomer.open().text)


def test_stop_records_who_and_why_before_the_hub_is_asked(
    astronomer: Visitor, populated: PortalUnderTest, hub: FakeHub
) -> None:
    hold_id = populated.launch("astronomer", server="survey")
    known: list[str] = []

    def recorded() -> None:
        with populated.database.reading_scope() as session:
            intent = holds.latest_intent(session, hold_id, since=NOW - timedelta(hours=1))
            known.append(f"{intent.reason} by {intent.actor}" if intent else "nothing")

    hub.on_stop.append(recorded)
    astronomer.open()
    page = astronomer.follow(astronomer.post("servers/survey/stop"))
    assert hub.stopped == ["astronomer/servers/survey"]
    assert known == ["own-hand by astronomer"]
    said = text_of(page.text)
    assert "The server is being stopped" in said
    assert "Server “survey” Stopping" in said
    assert "being stopped" not in text_of(astronomer.open().text), "the notice is shown once"


def test_the_default_server_is_stopped_by_its_own_address(
    astronomer: Visitor, populated: PortalUnderTest, hub: FakeHub
) -> None:
    populated.launch("astronomer")
    astronomer.open()
    assert astronomer.post("servers/-/stop").status_code == 303
    assert hub.stopped == ["astronomer/server"]


def test_a_server_may_be_called_anything_the_hub_allows(
    astronomer: Visitor, populated: PortalUnderTest, hub: FakeHub
) -> None:
    populated.launch("astronomer", server="a/b & ü")
    page = astronomer.open().text
    [action] = re.findall(r'action="/services/nexus/(servers/[^"]+/stop)"', page)
    assert astronomer.post(action).headers["Location"] == "/services/nexus/"
    assert hub.stopped == ["astronomer/servers/a%2Fb%20%26%20%C3%BC"]


def test_stopping_twice_is_no_error(astronomer: Visitor, populated: PortalUnderTest, hub: FakeHub) -> None:
    hold_id = populated.launch("astronomer")
    astronomer.open()
    assert astronomer.post("servers/-/stop").status_code == 303
    populated.stopped(hold_id, Evidence(stopped_at=populated.clock(), alive_at_stop=True))
    page = astronomer.follow(astronomer.post("servers/-/stop"))
    assert "That server had stopped already" in text_of(page.text)
    assert hub.stopped == ["astronomer/server"]


def test_somebody_elses_server_can_not_be_stopped(
    astronomer: Visitor, populated: PortalUnderTest, hub: FakeHub
) -> None:
    populated.launch("teammate", server="mosaics", account="wide-field-demo")
    populated.launch("astronomer")
    astronomer.open()
    astronomer.post("servers/mosaics/stop")
    assert hub.stopped == []
    assert astronomer.post("admin/servers/teammate/mosaics/stop", reason="I want it").status_code == 403
    assert hub.stopped == []


def test_a_stop_the_hub_does_not_take_waits_for_it(
    astronomer: Visitor, populated: PortalUnderTest, hub: FakeHub
) -> None:
    populated.launch("astronomer")
    hub.stop_status = 500
    astronomer.open()
    page = astronomer.follow(astronomer.post("servers/-/stop"))
    assert "being stopped" in text_of(page.text)
    assert hub.stopped == ["astronomer/server"]
    hub.stop_status = 202
    astronomer.post("servers/-/stop")
    assert hub.stopped == ["astronomer/server"] * 2


def test_a_server_can_be_kept_alive_until_its_planned_end_and_let_go(
    astronomer: Visitor, populated: PortalUnderTest
) -> None:
    populated.launch("astronomer", hours=2)
    astronomer.open()
    page = astronomer.follow(astronomer.post("servers/-/keep-alive", keep="yes"))
    # Two planned hours and ten minutes to save.
    assert "Kept alive until 15 March 2027, 16:40 UTC" in text_of(page.text)
    page = astronomer.follow(astronomer.post("servers/-/keep-alive", keep="no"))
    assert "Kept alive until" not in text_of(page.text)


def test_a_server_that_does_not_run_can_not_be_kept_alive(
    astronomer: Visitor, populated: PortalUnderTest
) -> None:
    astronomer.open("requests")
    answer = astronomer.post("servers/-/keep-alive", keep="yes")
    assert answer.status_code == 404
    assert "no running server" in text_of(answer.text)


def test_keep_alive_says_yes_or_no(astronomer: Visitor, populated: PortalUnderTest) -> None:
    populated.launch("astronomer")
    astronomer.open()
    answer = astronomer.post("servers/-/keep-alive", keep="for ever")
    assert answer.status_code == 422
    assert "can't be read: keep" in text_of(answer.text)


def test_a_team_account_shows_who_used_it_to_its_members(
    astronomer: Visitor, populated: PortalUnderTest
) -> None:
    populated.ran("teammate", account="wide-field-demo", size="large", hours=2)
    said = text_of(astronomer.open("accounts/wide-field-demo").text)
    assert "Tomo Teammate Default server, Large 2 h 00 min 2.400 Tomo Teammate stopped it." in said
    assert "Grant Team allocation +5,000.000" in said


def test_another_persons_account_is_as_unknown_as_none(astronomer: Visitor) -> None:
    for slug in ("teammate", "nobody"):
        answer = astronomer.open(f"accounts/{slug}")
        assert answer.status_code == 404
        assert f"There is no account {slug}" in text_of(answer.text)


def test_the_policy_page_is_there_when_the_hub_is_not(astronomer: Visitor, hub: FakeHub) -> None:
    assert "Ada Astronomer" in text_of(astronomer.open("policy").text)
    hub.is_down = True
    del astronomer.client.cookies["jupyterhub-session-id"]
    said = text_of(astronomer.open("policy").text)
    assert "What each tier gives" in said
    assert "Ada Astronomer" not in said


def test_credits_are_shown_as_square_degrees_too(astronomer: Visitor, populated: PortalUnderTest) -> None:
    def left() -> float:
        said = text_of(astronomer.open("accounts/astronomer").text)
        found = re.search(r"about ([\d,.]+) sq deg of L1→L2 left", said)
        assert found, said
        return float(found[1].replace(",", ""))

    before = left()
    populated.launch("astronomer", hours=24)
    # Small at 0.125 credits for 24 h and 10 min: of 25 credits 21.979 are left, shown in two digits.
    assert left() / before == pytest.approx(0.879, abs=0.1)


def test_an_ended_allocation_says_so(astronomer: Visitor, populated: PortalUnderTest) -> None:
    populated.clock.forward(days=366)
    astronomer.client.cookies.clear()
    said = text_of(astronomer.sign_in().text)
    assert "This allocation ended on 14 March 2028 ; servers can no longer be charged to it." in said


def test_the_policy_page_tells_anybody_of_sizes_rates_and_tiers(browser: Visitor) -> None:
    answer = browser.open("policy")
    assert answer.status_code == 200
    said = text_of(answer.text)
    for fact in (
        "Small 2 vCPU 4 GiB 0.125",
        "Medium 4 vCPU 16 GiB 0.3",
        "Large 16 vCPU 64 GiB 1.2",
        "Policy version 6, rate card version 2. Sign in to see your own allocations.",
        "GB that leaves the Nexus 0.09",
        "The defaults come from the mission’s own examples",
        "filter the whole survey catalogue a dozen times",
        "Credits 25 500 5,000 as awarded",
        "Home 10 GB 100 GB 100 GB as awarded",
        "Scratch 50 GB 1 TB 10 TB as awarded",
        "Notices before the end none: it begins anew by itself 30, 14, 7 and 1 days",
        "Read-only after the end – 30 days, 10 h of a server 30 days, no server",
        "One exposure of 18 detectors covers 0.281 square degrees.",
        "tests/bench/fpa.py",
        "You may plan from 0.25 h to 24 h",
    ):
        assert fact in said


def test_an_accounts_chart_reaches_back_as_far_as_asked(
    astronomer: Visitor, populated: PortalUnderTest
) -> None:
    populated.ran("astronomer", hours=4)
    populated.clock.forward(days=60)
    astronomer.client.cookies.clear()
    month = text_of(astronomer.sign_in("accounts/astronomer").text)
    assert "Nothing was spent in the last 30 days." in month
    quarter = text_of(astronomer.open("accounts/astronomer", days="90").text)
    assert "15 March 2027 0.500" in quarter
    assert astronomer.open("accounts/astronomer", days="91").status_code == 422


def test_the_statement_downloads_as_csv_for_who_may_see_the_account(astronomer: Visitor) -> None:
    answer = astronomer.open("accounts/astronomer/statement.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["content-disposition"]
    assert answer.text.splitlines()[0] == "account,day,what,credits"
    assert "grant,25.000000" in answer.text
    assert "at,kind,credits" in astronomer.open("accounts/astronomer/entries.csv", first="2027-03-01").text
    for path in ("statement", "entries"):
        assert astronomer.open(f"accounts/teammate/{path}.csv").status_code == 404
    assert astronomer.open("accounts/astronomer/statement.csv", first="tomorrow").status_code == 422
    for first, last in (
        ("0001-01-01", "0001-01-02"),
        ("9999-12-01", "9999-12-31"),
        ("2027-03-02", "2027-03-01"),
    ):
        odd = astronomer.open("accounts/astronomer/statement.csv", first=first, last=last)
        assert odd.status_code == (200 if first.startswith("0001") else 422)
    assert astronomer.open("accounts/astronomer/statement.csv", last="0001-01-02").status_code == 200
