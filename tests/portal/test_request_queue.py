"""The administrators' queue of requests, narrowed by text, tier and state as the address says."""

import csv
import io

import pytest
from tests.support.portal import JUSTIFICATION, PortalUnderTest, Visitor, decide, text_of

from nexus_allocator.services import requests


def ask(
    portal: PortalUnderTest, hub_name: str, title: str, *, tier: str = "research", sent: bool = True
) -> None:
    write = requests.submit if sent else requests.draft
    with portal.database.session_scope() as session:
        asked = requests.Ask(
            hub_name, tier, JUSTIFICATION, title, team_label="Shear" if tier == "team" else None
        )
        write(session, asked, policy=portal.policy, hub_name=hub_name, now=portal.clock())


@pytest.fixture
def queue(administrator: Visitor, populated: PortalUnderTest) -> Visitor:
    """Ada's denied Research, Tomo's waiting Team, Sam's draft."""
    populated.person("sam", "Sam Stranger")
    populated.accept("sam")
    denied = populated.ask("astronomer", "research")
    decide(populated, denied)
    ask(populated, "teammate", "Shear of the deep field", tier="team")
    ask(populated, "sam", "Nobody has seen this", sent=False)
    return administrator


def found(queue: Visitor, **query: str) -> str:
    answer = queue.open("admin/requests", **query)
    assert answer.status_code == 200
    return text_of(answer.text.split('id="found"')[-1])


@pytest.mark.parametrize(
    ("query", "who"),
    [
        ({"q": "ADA"}, "Ada Astronomer"),
        ({"q": "deep field"}, "Tomo Teammate"),
        ({"tier": "team"}, "Tomo Teammate"),
        ({"state": "denied"}, "Ada Astronomer"),
        ({"q": "o", "tier": "team", "state": "submitted"}, "Tomo Teammate"),
    ],
)
def test_requests_are_found_by_text_tier_and_state(queue: Visitor, query: dict[str, str], who: str) -> None:
    said = found(queue, **query)
    assert "1 request," in said
    assert who in said


def test_what_was_chosen_stays_chosen_and_goes_into_pages_and_export(
    queue: Visitor, populated: PortalUnderTest
) -> None:
    for number in range(30):
        populated.person(f"guest-{number:02}", f"Guest {number:02}")
        populated.accept(f"guest-{number:02}")
        ask(populated, f"guest-{number:02}", "=survey()")
    page = queue.open("admin/requests", q="survey", tier="research").text
    assert 'value="survey"' in page
    assert '<option value="research" selected>' in page
    assert "Page 1 of 2, 30 in all" in text_of(page)
    assert "admin/requests?q=survey&amp;tier=research&amp;page_number=2" in page
    assert "Page 2 of 2" in text_of(queue.open("admin/requests", q="survey", page_number="2").text)
    assert "admin/exports/requests.csv?q=survey&amp;tier=research" in page
    text = queue.open("admin/exports/requests.csv", q="survey", tier="research").text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert (len(rows), {row["title"] for row in rows}) == (30, {"'=survey()"})
    assert (
        len(list(csv.DictReader(io.StringIO(queue.open("admin/exports/requests.csv", state="denied").text))))
        == 1
    )


def test_without_a_filter_there_is_the_queue(queue: Visitor) -> None:
    said = text_of(queue.open("admin/requests", q="", tier="", state="").text)
    assert "Waiting for a decision 1 request," in said
    assert "Requests found" not in said


def test_a_draft_is_its_authors_alone(queue: Visitor) -> None:
    for query in ({"q": "sam"}, {"q": "nobody has"}, {"state": "draft"}):
        assert "No request matches." in found(queue, **query)
    assert "Nobody has seen this" not in queue.open("admin/exports/requests.csv").text


@pytest.mark.parametrize(
    "query", [{"tier": "golden"}, {"state": "lost"}, {"q": "x" * 101}, {"page_number": "0"}]
)
def test_a_filter_that_is_none_is_refused(queue: Visitor, query: dict[str, str]) -> None:
    answer = queue.open("admin/requests", **query)
    assert answer.status_code == 422
    assert f"can't be read: {next(iter(query))}" in text_of(answer.text)
