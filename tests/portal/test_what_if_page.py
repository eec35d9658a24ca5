"""What-if as a page: a question is checked, answered in the background, and changes no policy."""

import csv
import io
import time
from datetime import timedelta

import pytest
from tests.support.portal import PortalUnderTest, Visitor, text_of, with_a_question

from nexus_allocator.domain.care import QuestionState
from nexus_allocator.services import questions
from nexus_allocator.services.rights import person_called


def answered(administrator: Visitor, path: str) -> str:
    """Look again, as the page does by itself, until the answer is there."""
    deadline = time.monotonic() + 60
    while "It is being computed" in (page := administrator.open(path).text):
        assert '<progress id="percent"' in page
        assert "data-reload" in page
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return page


def test_a_question_is_asked_in_a_form_and_answered_with_table_and_chart(administrator: Visitor) -> None:
    assert "Nothing was asked yet." in administrator.open("admin/what-if").text
    before = administrator.open("policy").text
    administrator.open("admin/what-if")
    sent = administrator.post(
        "admin/what-if",
        field="tiers.entry.credits",
        value="x0.5",
        more="tiers.entry.live_servers=2\n",
        people="60",
    )
    assert sent.status_code == 303
    path = sent.headers["Location"].removeprefix("/services/nexus/")
    page = answered(administrator, path)
    assert "tiers.entry.credits=x0.5, tiers.entry.live_servers=2" in text_of(page)
    assert "People refused at least once" in text_of(page)
    assert page.count("<svg") >= 1
    sheet = administrator.open(f"{path}/answer.csv")
    granted = next(
        row for row in csv.DictReader(io.StringIO(sheet.text)) if row["figure"] == "Credits granted"
    )
    assert float(granted["changed"]) < float(granted["now"])
    assert administrator.open("policy").text == before
    assert "tiers.entry.credits=x0.5" in administrator.open("admin/log", act="what_if_asked").text


@pytest.mark.parametrize(
    "form",
    [
        {"more": "", "people": "60"},
        {"more": "tiers.nobody.credits=1", "people": "60"},
        {"more": "tiers.entry.credits=-1", "people": "60"},
        {"more": "tiers.entry.credits=[", "people": "60"},
        {"more": "tiers.entry.length_days=1e400", "people": "60"},
        {"more": "tiers.entry.length_days=99999999999", "people": "60"},
        {"more": "no change at all", "people": "60"},
        {"more": "<script>", "people": "60"},
        {"more": "tiers.entry.credits=" + "9" * 200, "people": "60"},
        {"more": "\n".join(["tiers.entry.credits=1"] * 41), "people": "60"},
        {"more": "tiers.entry.credits=1", "people": "9"},
        {"more": "tiers.entry.credits=1", "people": "10001"},
        {"more": "tiers.entry.credits=1", "people": "many"},
    ],
)
def test_what_makes_no_policy_is_told_and_asks_nothing(administrator: Visitor, form: dict[str, str]) -> None:
    administrator.open("admin/what-if")
    page = administrator.post("admin/what-if", **form)
    assert page.status_code == 422
    assert 'id="more-error"' in page.text or 'id="people-error"' in page.text
    assert "<script>\n" not in page.text
    assert "Nothing was asked yet." in page.text


def test_one_question_is_answered_at_a_time_and_one_that_fell_silent_is_told_of(
    administrator: Visitor, populated: PortalUnderTest
) -> None:
    with populated.database.session_scope() as session:
        admin = person_called(session, "admin").id
        asked = questions.ask(
            session, administrator_id=admin, changes=["tiers.entry.credits=1"], tiers_file=None,
            now=populated.clock(),
        )  # fmt: skip
    assert "It is being computed" in administrator.open(f"admin/what-if/{asked}").text
    administrator.open("admin/what-if")
    page = administrator.post("admin/what-if", more="tiers.entry.credits=2", people="60")
    assert "Another question is being answered" in page.text
    populated.clock.forward(minutes=3)
    assert "restarted before it was answered" in administrator.open(f"admin/what-if/{asked}").text


def test_a_process_that_fails_is_told(populated: PortalUnderTest) -> None:
    asked = with_a_question(populated, people=-1)
    with populated.database.reading_scope() as session:
        found = questions.one(session, asked, now=populated.clock() + timedelta(seconds=1))
    assert (found.state, found.answer) == (QuestionState.FAILED, None)
    assert "ended with 1" in (found.problem or "")


def test_an_unknown_question_is_not_found_and_others_ask_none(
    administrator: Visitor, populated: PortalUnderTest
) -> None:
    nothing = "admin/what-if/00000000-0000-0000-0000-000000000000"
    assert administrator.open(nothing).status_code == 404
    assert administrator.open("admin/what-if/12").status_code == 422
