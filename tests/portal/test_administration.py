"""What administrators look through, and that nobody else does."""

import pytest
from tests.support.fake_hub import FakeHub
from tests.support.portal import PortalUnderTest, Visitor, text_of

from nexus_allocator.domain.stops import Evidence
from nexus_allocator.services import suspensions

PAGES = [
    "admin",
    "admin/requests",
    "admin/people",
    "admin/people/admin",
    "admin/accounts",
    "admin/servers",
    "admin/forecast",
    "admin/maintenance",
]


@pytest.mark.parametrize("path", PAGES)
def test_administration_is_for_administrators_only(astronomer: Visitor, path: str) -> None:
    answer = astronomer.open(path)
    assert answer.status_code == 403
    assert "for administrators" in text_of(answer.text)


def test_nobody_else_decides_requests(astronomer: Visitor, populated: PortalUnderTest) -> None:
    request_id = populated.ask("astronomer", "research")
    astronomer.open()
    astronomer.open("requests")
    populated.launch("astronomer")
    astronomer.open()
    for path in ("approve", "deny"):
        answer = astronomer.post(f"admin/requests/{request_id}/{path}", amount="1", reason="because")
        assert answer.status_code == 403
    assert "Waiting" in text_of(astronomer.open("requests").text)


def test_only_administrators_see_the_way_there(astronomer: Visitor, hub: FakeHub, address: str) -> None:
    assert "Administration" not in text_of(astronomer.open().text)
    hub.at_the_keyboard = "admin"
    with Visitor(address) as alex:
        assert "Administration" in text_of(alex.sign_in().text)


def test_people_are_found_by_name_and_by_nothing_else(administrator: Visitor) -> None:
    everybody = text_of(administrator.open("admin/people").text)
    for name in ("Ada Astronomer", "Tomo Teammate", "Alex Administrator"):
        assert name in everybody
    found = text_of(administrator.open("admin/people", q="TOMO").text)
    assert "Tomo Teammate" in found
    assert "Ada Astronomer" not in found
    for nothing in ("%", "_", "' OR 1=1 --", "<b>"):
        page = administrator.open("admin/people", q=nothing)
        assert page.status_code == 200
        assert "Nobody matches" in text_of(page.text), nothing
        assert "<b>" not in page.text


def test_people_come_in_pages(administrator: Visitor, populated: PortalUnderTest) -> None:
    for number in range(30):
        populated.person(f"guest-{number:02}", f"Guest {number:02}")
    first = administrator.open("admin/people", q="guest").text
    assert "Page 1 of 2, 30 in all" in text_of(first)
    assert "Guest 24" in first
    assert "Guest 25" not in first
    second = administrator.open("admin/people", q="guest", page_number="2").text
    assert "Guest 25" in second
    assert "Page 2 of 2" in text_of(second)


@pytest.mark.parametrize("query", [{"page_number": "0"}, {"page_number": "x"}, {"q": "x" * 101}])
def test_a_wrong_search_is_told_apart_from_an_empty_one(
    administrator: Visitor, query: dict[str, str]
) -> None:
    assert administrator.open("admin/people", **query).status_code == 422


def test_accounts_show_their_sums_and_owners(administrator: Visitor, populated: PortalUnderTest) -> None:
    populated.ran("astronomer", hours=8)
    populated.launch("teammate", account="wide-field-demo", size="large", hours=1)
    said = text_of(administrator.open("admin/accounts").text)
    assert "Ada Astronomer Entry 25 24.00 0.00 14 March 2028" in said
    # A Large server for one hour and ten minutes: 1.4 credits are set aside.
    assert "Wide Field Demo Team Team 5,000 5,000.0 1.40 14 March 2028" in said
    found = text_of(administrator.open("admin/accounts", q="ada").text)
    assert "1 account matching “ada”" in found


def test_an_administrator_opens_any_account(administrator: Visitor) -> None:
    page = administrator.open("accounts/astronomer")
    assert page.status_code == 200
    assert "Ada Astronomer Entry tier" in text_of(page.text)


def test_running_servers_are_listed_with_what_they_cost(
    administrator: Visitor, populated: PortalUnderTest
) -> None:
    assert "No server is running" in text_of(administrator.open("admin/servers").text)
    populated.launch("astronomer")
    populated.launch("teammate", server="mosaics", account="wide-field-demo", size="large")
    said = text_of(administrator.open("admin/servers").text)
    assert "2 servers, 1.325 credits per hour together" in said
    assert "Tomo Teammate Server “mosaics”, Large Running Wide Field Demo" in said


def test_an_administrators_stop_needs_a_reason_which_the_person_reads(
    administrator: Visitor, populated: PortalUnderTest, hub: FakeHub, address: str
) -> None:
    hold_id = populated.launch("astronomer")
    path = "admin/servers/astronomer/-/stop"
    assert "Stop the server of Ada Astronomer" in text_of(administrator.open(path).text)
    empty = administrator.post(path, reason="")
    assert empty.status_code == 422
    assert hub.stopped == []
    administrator.follow(administrator.post(path, reason="The node is being repaired."))
    assert hub.stopped == ["astronomer/server"]
    populated.clock.forward(seconds=5)
    populated.stopped(hold_id, Evidence(stopped_at=populated.clock(), alive_at_stop=True))
    hub.at_the_keyboard = "astronomer"
    with Visitor(address) as ada:
        said = text_of(ada.sign_in().text)
    assert "An administrator stopped it. Reason: The node is being repaired." in said


def test_a_server_that_is_gone_can_not_be_stopped_again(administrator: Visitor) -> None:
    answer = administrator.open("admin/servers/astronomer/-/stop")
    assert answer.status_code == 404
    assert "no running server" in text_of(answer.text)
    assert administrator.open("admin/servers/nobody/-/stop").status_code == 404


def test_a_suspended_administrator_administers_nothing(
    administrator: Visitor, populated: PortalUnderTest
) -> None:
    with populated.database.session_scope() as session:
        suspensions.suspend(
            session, hub_name="admin", reason="A lost key.", actor="test", now=populated.clock()
        )
    assert administrator.open("admin/people").status_code == 303, "the session ended with it"


def test_a_person_is_suspended_with_a_reason_at_once_and_reinstated(
    administrator: Visitor, populated: PortalUnderTest, hub: FakeHub
) -> None:
    populated.launch("astronomer")
    page = administrator.open("admin/people/astronomer")
    assert "Running servers 1" in text_of(page.text)
    assert administrator.post("admin/people/astronomer/suspend", reason="").status_code == 422
    done = administrator.post("admin/people/astronomer/suspend", reason="A lost <b>key</b>.")
    said = administrator.follow(done).text
    assert "Reason given A lost <b>key</b>." in text_of(said).replace("&lt;", "<")
    assert "<b>key" not in said
    assert hub.stopped == ["astronomer/server"]
    page = administrator.follow(administrator.post("admin/people/astronomer/reinstate"))
    assert "Sign-in and launches are refused at once" in text_of(page.text)
    assert administrator.open("admin/people/nobody").status_code == 404
    assert "Sign-in and launches" not in text_of(administrator.open("admin/people/admin").text)
    assert administrator.post("admin/people/admin/suspend", reason="Myself").status_code == 403


def test_launches_are_held_with_a_message_and_let_through(
    administrator: Visitor, populated: PortalUnderTest
) -> None:
    administrator.open("admin/maintenance")
    for wrong in ({"message": ""}, {"message": "Disks.", "minutes": "-1"}, {"message": "D.", "minutes": "x"}):
        assert administrator.post("admin/maintenance", **wrong).status_code == 422
    page = administrator.follow(administrator.post("admin/maintenance", message="New disks.", minutes="90"))
    said = text_of(page.text).replace(" ,", ",")
    assert "until 15 March 2027, 16:00 UTC, by admin: New disks." in said
    assert "No new servers just now, until 15 March 2027, 16:00 UTC" in text_of(administrator.open("").text)
    administrator.open("admin/maintenance")
    page = administrator.follow(administrator.post("admin/maintenance/lift"))
    assert "They go through." in text_of(page.text)
    assert "No new servers" not in text_of(administrator.open("").text)
