"""Events in the portal: an administrator makes one and reads its code out, somebody joins by it."""

import re

import pytest
from tests.support.fake_hub import FakeHub
from tests.support.portal import PortalUnderTest, Visitor, text_of

FORM = {"label": "Roman <School>", "starts": "2027-03-15T14:00", "ends": "2027-03-17T18:00", "sizes": "small",
        "kind": "each", "amount": "2.5", "people": "2"}  # fmt: skip


def made(administrator: Visitor, **changes: str) -> str:
    """Make an event and return its code."""
    administrator.open("admin/events")
    page = administrator.follow(administrator.post("admin/events", **(FORM | changes)))
    found = re.search(r"<code>(\w{4}-\w{4})</code>", page.text)
    assert found, page.text
    return found.group(1)


def test_an_event_is_made_joined_by_its_code_and_ended(
    administrator: Visitor, populated: PortalUnderTest, hub: FakeHub, address: str
) -> None:
    assert "There was no event yet." in text_of(administrator.open("admin/events").text)
    code = made(administrator)
    with Visitor(address) as ada:
        hub.at_the_keyboard = "astronomer"
        ada.sign_in("events/join")
        assert ada.post("events/join", code="BCDF-2222").status_code == 404
        answer = ada.follow(ada.post("events/join", code=f" {code.lower()} "))
        assert "You are in." in text_of(answer.text)
        assert "Roman &lt;School&gt;" in answer.text
        assert "<School>" not in answer.text
        ada.open("events/join")
        again = ada.post("events/join", code=code)
        assert (again.status_code, "already" in again.text) == (409, True)
    listing = administrator.open("admin/events").text
    assert "1 of 2" in text_of(listing)
    link = re.search(r'admin/events/([0-9a-f-]{36})"', listing)
    assert link
    path = f"admin/events/{link.group(1)}"
    administrator.open(path)
    assert administrator.post(f"{path}/end", reason="").status_code == 422
    page = administrator.follow(administrator.post(f"{path}/end", reason="The speaker is ill."))
    assert "Over" in text_of(page.text)
    administrator.open("admin/events")
    assert administrator.post(f"{path}/end", reason="Once more.").status_code == 409
    assert "The speaker is ill." in administrator.open("admin/log", act="event_ended").text


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"label": ""}, "label"),
        ({"label": "x" * 81}, "label"),
        ({"starts": "soon"}, "starts"),
        ({"ends": "2027-03-15T14:00"}, "ends"),
        ({"ends": "2029-03-15T14:00"}, "ends"),
        ({"ends": ""}, "ends"),
        ({"sizes": "huge"}, "sizes"),
        ({"kind": "both"}, "kind"),
        ({"amount": "-1"}, "amount"),
        ({"amount": "0.0000001"}, "amount"),
        ({"amount": "1e30"}, "amount"),
        ({"people": "2.5"}, "people"),
        ({"people": "0"}, "people"),
    ],
)
def test_what_is_wrong_with_an_event_is_told_beside_its_field_and_what_was_typed_stays(
    administrator: Visitor, changes: dict[str, str], field: str
) -> None:
    administrator.open("admin/events")
    page = administrator.post("admin/events", **(FORM | changes))
    assert page.status_code == 422
    assert f'id="{field}-error"' in page.text
    if field != "label":
        assert 'value="Roman &lt;School&gt;"' in page.text
    assert "There was no event yet." in text_of(administrator.open("admin/events").text)


def test_codes_are_not_found_by_trying_nor_sent_by_another_page(
    astronomer: Visitor, populated: PortalUnderTest
) -> None:
    astronomer.open("events/join")
    for wrong in ("", "x" * 41):
        assert astronomer.post("events/join", code=wrong).status_code == 422
    assert astronomer.post("events/join", code="BCDF2345", csrf="none").status_code == 403
    answers = [astronomer.post("events/join", code=f"BCDF-{number:04}").status_code for number in range(12)]
    assert answers == [404] * 10 + [429] * 2
    populated.clock.forward(minutes=11)
    assert astronomer.post("events/join", code="BCDF-2345").status_code == 404


def test_events_are_made_by_administrators_only(astronomer: Visitor) -> None:
    astronomer.open("events/join")
    assert astronomer.open("admin/events").status_code == 403
    assert astronomer.post("admin/events", **FORM).status_code == 403
