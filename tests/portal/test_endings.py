"""The end of an allocation as people see it: notices, a renewal that asks for results, a new agreement."""

from datetime import timedelta

import pytest
from tests.portal.test_requests import ASK, requests_of
from tests.support.fake_hub import FakeHub
from tests.support.portal import PortalUnderTest, Visitor, text_of

from nexus_allocator.services import decisions, endings, people, request_moves
from nexus_allocator.store import people as people_rows

RENEWAL = {**ASK, "papers": "Two on shear, one submitted.", "dois": "10.3847/1538-3881/ab1234"}


@pytest.fixture
def ending(astronomer: Visitor, populated: PortalUnderTest) -> Visitor:
    """Ada's Research allocation ends in ten days, and the clock has been told; she looks again."""
    request_id = populated.ask("astronomer", "research")
    with populated.database.session_scope() as session:
        decisions.award(
            session,
            policy=populated.policy,
            request_id=request_id,
            administrator_id=people.person_called(session, "admin").id,
            award=decisions.Award(),
            now=populated.clock(),
        )
    populated.clock.forward(days=355)
    request_moves.turn_all(populated.database, policy=populated.policy, now=populated.clock())
    endings.turn_all(populated.database, policy=populated.policy, now=populated.clock())
    assert astronomer.sign_in().status_code == 200
    return astronomer


def test_the_end_is_told_ahead_and_its_renewal_asks_for_results(
    ending: Visitor, populated: PortalUnderTest
) -> None:
    assert "The Research allocation of Your own account ends on 2028-03-14, in 14 days." in text_of(
        ending.open("").text
    )
    assert "What came of the allocation that ends?" in text_of(ending.open("requests").text)
    empty = ending.post("requests", **ASK)
    assert (empty.status_code, "Please say what came of the allocation" in text_of(empty.text)) == (422, True)
    wrong = ending.post("requests", **{**RENEWAL, "dois": "<b>ten</b>"})
    assert (wrong.status_code, "<b>ten" in wrong.text) == (422, False)
    assert "Two on shear" in wrong.text
    assert ending.post("requests", **RENEWAL).status_code == 303
    row = requests_of(populated, "astronomer")[0]
    assert row.results is not None
    assert row.results["dois"] == "10.3847/1538-3881/ab1234"


def test_the_administrator_reads_the_results(
    ending: Visitor, populated: PortalUnderTest, hub: FakeHub, address: str
) -> None:
    ending.open("requests")
    ending.post("requests", **RENEWAL)
    row = requests_of(populated, "astronomer")[0]
    hub.at_the_keyboard = "admin"
    with Visitor(address) as alex:
        said = text_of(alex.sign_in(f"admin/requests/{row.id}").text)
    assert "Results so far Papers Two on shear, one submitted. DOIs 10.3847/1538-3881/ab1234" in said


def test_a_first_request_asks_for_no_results(astronomer: Visitor) -> None:
    assert "What came of the allocation" not in text_of(astronomer.open("requests").text)


def test_a_changed_agreement_is_told_of_and_accepted_in_the_portal(
    populated: PortalUnderTest, hub: FakeHub, browser: Visitor
) -> None:
    person_id = populated.person("nia", "Nia Newcomer")
    with populated.database.session_scope() as session:
        people_rows.accept(session, person_id, "2025-9", now=populated.clock() - timedelta(days=400))
    hub.at_the_keyboard = "nia"
    assert "read and accept version 2026-1" in text_of(browser.sign_in("").text)
    browser.open("agreement")
    assert browser.post("agreement", version="2025-9").status_code == 409
    assert browser.post("agreement", version="2026-1", csrf="").status_code == 403
    said = text_of(browser.follow(browser.post("agreement", version="2026-1")).text)
    assert "You accepted this version on 15 March 2027" in said.replace(" .", ".")
    assert "Version 2025-9: accepted on 8 February 2026" in said
    assert "has changed" not in text_of(browser.open("").text)


def test_anybody_reads_the_agreement(portal: PortalUnderTest, browser: Visitor) -> None:
    page = browser.open("agreement")
    assert page.status_code == 200
    assert portal.policy.agreement.title in text_of(page.text)
    assert "Your acceptance" not in text_of(page.text)
