"""Administrators' tables as files: all that matches, not one page only, and no cell that is run."""

import csv
import io

import pytest
from tests.support.portal import PortalUnderTest, Visitor, text_of

from nexus_allocator.services import requests


def rows(visitor: Visitor, name: str, **query: str) -> list[dict[str, str]]:
    answer = visitor.open(f"admin/exports/{name}.csv", **query)
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}.csv"'
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_people_are_exported_beyond_the_first_page_and_as_they_are_searched(
    administrator: Visitor, populated: PortalUnderTest
) -> None:
    for number in range(30):
        populated.person(f"guest-{number}", "=cmd()" if number == 7 else f"Guest {number}")
    found = rows(administrator, "people")
    assert len(found) == 33
    assert {row["name"] for row in found if row["hub name"] == "guest-7"} == {"'=cmd()"}
    only = rows(administrator, "people", q="guest-1")
    assert {row["hub name"] for row in only} == {"guest-1", *(f"guest-{number}" for number in range(10, 20))}
    assert rows(administrator, "people", q="nobody at all") == []
    assert (
        'href="/services/nexus/admin/exports/people.csv?q=guest"'
        in administrator.open("admin/people", q="guest").text
    )


def test_accounts_are_exported_with_exact_amounts(administrator: Visitor, populated: PortalUnderTest) -> None:
    populated.launch("astronomer", hours=2)
    mine = {row["account"]: row for row in rows(administrator, "accounts")}["astronomer"]
    assert (mine["balance"], mine["team"], mine["tier"]) == ("25.000000", "no", "entry")
    assert float(mine["held"]) > 0


def test_running_servers_are_searched_and_exported(
    administrator: Visitor, populated: PortalUnderTest
) -> None:
    populated.launch("astronomer", server="mosaics")
    populated.launch("teammate", account="wide-field-demo")
    assert {row["server"] for row in rows(administrator, "servers")} == {"mosaics", ""}
    assert [row["hub name"] for row in rows(administrator, "servers", q="wide field")] == ["teammate"]
    page = text_of(administrator.open("admin/servers", q="ada").text)
    assert "1 server," in page
    assert "No running server matches" in administrator.open("admin/servers", q="nobody").text


def test_requests_are_exported_with_their_words(administrator: Visitor, populated: PortalUnderTest) -> None:
    with populated.database.session_scope() as session:
        asked = requests.Ask("astronomer", "research", "+1 to all: the whole survey.", title="@deep")
        requests.submit(session, asked, policy=populated.policy, hub_name="astronomer", now=populated.clock())
    row = rows(administrator, "requests", q="deep")[0]
    assert (row["title"], row["justification"]) == ("'@deep", "'+1 to all: the whole survey.")
    assert (row["state"], row["hub name"], row["awarded credits"]) == ("submitted", "astronomer", "")
    assert rows(administrator, "requests", q="nothing like it") == []


@pytest.mark.parametrize("name", ["people", "accounts", "servers", "requests"])
def test_a_search_that_is_too_long_is_refused(administrator: Visitor, name: str) -> None:
    assert administrator.open(f"admin/exports/{name}.csv", q="x" * 101).status_code == 422
