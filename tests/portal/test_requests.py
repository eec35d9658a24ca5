"""Asking for more, and the administrator's yes or no."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from tests.support.fake_hub import FakeHub
from tests.support.portal import JUSTIFICATION, NOW, PortalUnderTest, Visitor, text_of

from nexus_allocator.services import portal_lists, portal_reading
from nexus_allocator.services.portal_lists import RequestRow

ASK = {"account": "astronomer", "tier": "research", "justification": JUSTIFICATION}


def requests_of(portal: PortalUnderTest, hub_name: str) -> tuple[RequestRow, ...]:
    with portal.database.reading_scope() as session:
        return portal_lists.own_requests(session, hub_name=hub_name)


def account_of(portal: PortalUnderTest, hub_name: str) -> portal_reading.AccountReading:
    with portal.database.reading_scope() as session:
        return portal_reading.home(session, hub_name=hub_name, now=NOW).accounts[0]


def test_a_request_is_sent_and_shown_as_waiting(astronomer: Visitor) -> None:
    form = text_of(astronomer.open("requests").text)
    assert "Your own account (Entry)" in form
    assert "Research 500 credits, 365 days, Small, Medium servers" in form
    page = astronomer.follow(astronomer.post("requests", **ASK))
    said = text_of(page.text)
    assert "Your request was sent" in said
    assert "Research for Your own account Waiting" in said
    assert "until then there is nothing more to ask for" in said


def test_sending_the_same_form_twice_makes_one_request(
    astronomer: Visitor, populated: PortalUnderTest
) -> None:
    astronomer.open("requests")
    assert astronomer.post("requests", **ASK).status_code == 303
    again = astronomer.post("requests", **ASK)
    assert again.status_code == 422
    assert "already waiting for a decision" in text_of(again.text)
    assert len(requests_of(populated, "astronomer")) == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"account": "teammate"}, "Choose one of your accounts."),
        ({"account": ""}, "Choose one of your accounts."),
        ({"tier": ""}, "Choose a tier."),
        ({"tier": "special"}, "Choose a tier."),
        ({"justification": "   "}, "Write a justification of at least 40 characters."),
        ({"justification": "Please."}, "this has 7."),
        ({"justification": "x" * 2001}, "at most 2,000 characters; this has 2,001."),
        ({"title": "x" * 201}, "Give a title of at most 200 characters."),
        ({"area": "many"}, "Give square degrees above zero and at most 41,253"),
        ({"area": "1e9"}, "Give square degrees above zero and at most 41,253"),
        ({"exposures": "2.5"}, "Give a whole number of exposures"),
        ({"exposures": "-1"}, "Give a whole number of exposures"),
        ({"exposures": "NaN"}, "Give a whole number of exposures"),
        ({"grant_number": "x" * 65}, "A grant number has at most 64 characters."),
        ({"members": "colleague, =SUM(A1)"}, "not: =SUM(A1)."),
    ],
)
def test_a_wrong_request_is_sent_back_with_what_is_wrong_and_what_was_typed(
    astronomer: Visitor, populated: PortalUnderTest, wrong: dict[str, str], message: str
) -> None:
    astronomer.open("requests")
    answer = astronomer.post("requests", **{**ASK, **wrong})
    assert answer.status_code == 422
    assert text_of(answer.text).count(message) == 2, "in the summary and at the field"
    assert "<title>Error: Ask for more" in answer.text
    assert (wrong.get("justification") or JUSTIFICATION).strip()[:20] in answer.text
    assert requests_of(populated, "astronomer") == ()


def test_line_breaks_count_once_as_the_browser_counts_them(astronomer: Visitor) -> None:
    astronomer.open("requests")
    text = "\r\n".join(["x" * 99] * 20)
    assert astronomer.post("requests", **{**ASK, "justification": text}).status_code == 303


def test_a_team_member_who_does_not_lead_can_not_ask_for_the_team(
    populated: PortalUnderTest, hub: FakeHub, browser: Visitor
) -> None:
    hub.at_the_keyboard = "teammate"
    page = browser.sign_in("requests")
    assert "Wide Field Demo" not in text_of(page.text)
    answer = browser.post("requests", **{**ASK, "account": "wide-field-demo", "tier": "special"})
    assert answer.status_code == 422


def test_what_people_write_is_shown_as_text_and_never_as_markup(
    astronomer: Visitor, populated: PortalUnderTest
) -> None:
    attack = '<script>alert(1)</script>"><img src=x onerror=alert(2)> {{ 7 * 7 }} and forty more characters'
    astronomer.open("requests")
    page = astronomer.follow(astronomer.post("requests", **{**ASK, "justification": attack}))
    assert "<script>alert" not in page.text
    assert "<img src=x" not in page.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    assert "{{ 7 * 7 }}" in page.text


def test_the_administrator_sees_the_request_with_the_usual_award_filled_in(
    administrator: Visitor, populated: PortalUnderTest
) -> None:
    request_id = populated.ask("astronomer", "research")
    listed = administrator.open("admin/requests").text
    assert "Ada Astronomer" in text_of(listed)
    assert f'href="/services/nexus/admin/requests/{request_id}"' in listed
    page = administrator.open(f"admin/requests/{request_id}").text
    assert 'name="amount"' in page
    assert 'value="500"' in page
    assert 'value="2028-03-14"' in page
    assert JUSTIFICATION in text_of(page)


def test_an_approval_changes_tier_balance_and_end_and_is_told_to_the_person(
    administrator: Visitor, populated: PortalUnderTest, hub: FakeHub, address: str
) -> None:
    request_id = populated.ask("astronomer", "research")
    administrator.open(f"admin/requests/{request_id}")
    done = administrator.post(
        f"admin/requests/{request_id}/approve", amount="120.5", ends_on="2027-09-30", note="For the pilot."
    )
    assert "Awarded: the next launch page" in text_of(administrator.follow(done).text)
    account = account_of(populated, "astronomer")
    assert (account.tier, account.sums.balance_micro) == ("research", 145_500_000)
    assert account.expires_at == datetime(2027, 10, 1, tzinfo=UTC)
    hub.at_the_keyboard = "astronomer"
    with Visitor(address) as ada:
        said = text_of(ada.sign_in("requests").text)
    assert "Research for Your own account Active" in said
    assert "Awarded in part, by Alex Administrator. Reason: For the pilot." in said
    assert "Awarded: 120.5 credits." in said
    assert "The administrator wrote: For the pilot." in said


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"amount": ""}, "Give a number of credits"),
        ({"amount": "-5"}, "Give a number of credits"),
        ({"amount": "NaN"}, "Give a number of credits"),
        ({"amount": "1e400"}, "Give a number of credits"),
        ({"amount": "0.0000001"}, "Give a number of credits"),
        ({"amount": "five hundred"}, "Give a number of credits"),
        ({"ends_on": "30.9.2027"}, "Give the last day as year-month-day"),
        ({"ends_on": "2027-03-15"}, "must lie after today"),
        ({"ends_on": "2099-01-01"}, "must lie after today and not after"),
        ({"note": "x" * 501}, "Leave the note empty, or write 3 to 500 characters."),
    ],
)
def test_a_wrong_award_is_sent_back_and_awards_nothing(
    administrator: Visitor, populated: PortalUnderTest, wrong: dict[str, str], message: str
) -> None:
    request_id = populated.ask("astronomer", "research")
    administrator.open(f"admin/requests/{request_id}")
    award = {"amount": "500", "ends_on": "2028-03-01", "note": "", **wrong}
    answer = administrator.post(f"admin/requests/{request_id}/approve", **award)
    assert answer.status_code == 422
    assert message in text_of(answer.text)
    assert account_of(populated, "astronomer").tier == "entry"


def test_a_denial_needs_a_reason_and_the_person_reads_it(
    administrator: Visitor, populated: PortalUnderTest
) -> None:
    request_id = populated.ask("astronomer", "research")
    administrator.open(f"admin/requests/{request_id}")
    empty = administrator.post(f"admin/requests/{request_id}/deny", reason=" ")
    assert empty.status_code == 422
    assert "Write a reason of at least 3 characters." in text_of(empty.text)
    assert administrator.post(f"admin/requests/{request_id}/deny", reason="Use the team.").status_code == 303
    [row] = requests_of(populated, "astronomer")
    assert (row.state, row.decision_reason) == ("denied", "Use the team.")


def test_a_decided_request_can_not_be_decided_again(
    administrator: Visitor, populated: PortalUnderTest
) -> None:
    request_id = populated.ask("astronomer", "research")
    administrator.open(f"admin/requests/{request_id}")
    award = {"amount": "500", "ends_on": "2028-03-01"}
    assert administrator.post(f"admin/requests/{request_id}/approve", **award).status_code == 303
    for path, form in (("approve", award), ("deny", {"reason": "Changed my mind"})):
        answer = administrator.post(f"admin/requests/{request_id}/{path}", **form)
        assert answer.status_code == 409
        assert "This request is active and can't become" in text_of(answer.text)
    assert account_of(populated, "astronomer").sums.balance_micro == 525_000_000


@pytest.mark.parametrize("request_id", [uuid4(), "not-an-id"])
def test_a_request_that_does_not_exist_is_not_found(administrator: Visitor, request_id: UUID | str) -> None:
    assert administrator.open(f"admin/requests/{request_id}").status_code in {404, 422}


def test_the_calculator_turns_an_area_into_exposures_and_credits_and_sends_nothing(
    astronomer: Visitor, populated: PortalUnderTest
) -> None:
    astronomer.open("requests")
    page = astronomer.post("requests", **{**ASK, "area": "100", "do": "reckon"})
    assert page.status_code == 200
    # 100 / 0.281 is 355.9.
    assert "356 exposures (100.0 sq deg) cost" in text_of(page.text)
    assert JUSTIFICATION[:40] in page.text, "what was typed is still there"
    wrong = astronomer.post("requests", **{**ASK, "area": "-1", "do": "reckon"})
    assert (wrong.status_code, "Give square degrees" in text_of(wrong.text)) == (422, True)
    assert astronomer.post("requests", **{**ASK, "do": "explode"}).status_code == 422
    assert requests_of(populated, "astronomer") == ()


def test_a_draft_comes_back_into_the_form_and_is_sent_from_it(
    astronomer: Visitor, populated: PortalUnderTest
) -> None:
    astronomer.open("requests")
    begun = {
        **ASK,
        "justification": "Later",
        "title": "Shear & <b>more</b>",
        "exposures": "12",
        "do": "draft",
    }
    page = astronomer.follow(astronomer.post("requests", **begun))
    said = text_of(page.text)
    assert "Your draft was kept" in said
    assert "Your request, not sent yet" in said
    assert 'value="Shear &amp; &lt;b&gt;more&lt;/b&gt;"' in page.text
    assert 'value="12"' in page.text
    assert astronomer.post("requests", **{**ASK, "title": "Shear", "exposures": "12"}).status_code == 303
    [row] = requests_of(populated, "astronomer")
    assert (row.state, row.title, row.exposures) == ("submitted", "Shear", 12)


def test_a_withdrawn_request_makes_room_for_another(astronomer: Visitor, populated: PortalUnderTest) -> None:
    request_id = populated.ask("astronomer", "research")
    foreign = populated.ask("teammate", "research")
    astronomer.open("requests")
    assert astronomer.post(f"requests/{foreign}/withdraw").status_code == 404
    page = astronomer.follow(astronomer.post(f"requests/{request_id}/withdraw"))
    assert "Research for Your own account Withdrawn" in text_of(page.text)
    again = astronomer.post(f"requests/{request_id}/withdraw")
    assert (again.status_code, "nothing more can be done to it" in text_of(again.text)) == (409, True)
    assert astronomer.post("requests", **ASK).status_code == 303


def test_a_request_is_reviewed_returned_with_a_reason_and_continued(
    administrator: Visitor, populated: PortalUnderTest, hub: FakeHub, address: str
) -> None:
    request_id = populated.ask("astronomer", "research")
    administrator.open(f"admin/requests/{request_id}")
    page = administrator.follow(administrator.post(f"admin/requests/{request_id}/review"))
    assert "In review" in text_of(page.text)
    assert administrator.post(f"admin/requests/{request_id}/return", reason="x").status_code == 422
    asked = "Which field, and how deep?"
    assert administrator.post(f"admin/requests/{request_id}/return", reason=asked).status_code == 303
    assert administrator.post(f"admin/requests/{request_id}/deny", reason=asked).status_code == 409
    assert "Nobody is waiting for an answer." in text_of(administrator.open("admin/requests").text)
    hub.at_the_keyboard = "astronomer"
    with Visitor(address) as ada:
        said = text_of(ada.sign_in("requests").text)
        assert f"It was returned to you: {asked}" in said
        assert "Research for Your own account Returned" in said
        assert ada.post("requests", **ASK).status_code == 303
    [row] = requests_of(populated, "astronomer")
    assert [move.after for move in row.history] == [
        "draft",
        "submitted",
        "in-review",
        "returned",
        "submitted",
    ]
