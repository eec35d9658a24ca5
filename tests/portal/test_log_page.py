"""The administrators' log: searched by its address, paged, exported, refused to others."""

import csv
import io
import json

import pytest
from tests.support.portal import PortalUnderTest, Visitor


def test_the_log_shows_who_did_what_and_why(administrator: Visitor) -> None:
    administrator.open("admin/people/astronomer")
    administrator.post("admin/people/astronomer/suspend", reason="A lost <b>key</b>.")
    page = administrator.open("admin/log", act="person_suspended")
    assert page.status_code == 200
    assert "A lost &lt;b&gt;key&lt;/b&gt;." in page.text
    assert ">astronomer</a>" in page.text
    assert "1 record, the latest first" in page.text


def test_the_address_holds_the_filter_and_an_unknown_word_filters_nothing(administrator: Visitor) -> None:
    everything = administrator.open("admin/log", act="nonsense", about="", page_number="1").text
    teams = administrator.open("admin/log", about="team", who="astronomer").text
    assert "Team created" in everything
    assert "Account opened" in everything
    assert "Account opened" not in teams.split("<tbody", 1)[1]
    assert '<option value="team" selected>' in teams
    assert "No record matches." in administrator.open("admin/log", q="no such words").text


@pytest.mark.parametrize("query", [{"since": "yesterday"}, {"until": "2027-13-01"}])
def test_a_day_that_is_none_is_told_beside_its_field_and_exports_nothing(
    administrator: Visitor, query: dict[str, str]
) -> None:
    page = administrator.open("admin/log", **query)
    assert page.status_code == 422
    assert "Give a day as year-month-day" in page.text
    assert administrator.open("admin/log/log.csv", **query).status_code == 422


@pytest.mark.parametrize("query", [{"q": "x" * 101}, {"page_number": "0"}, {"page_number": "abc"}])
def test_what_is_too_long_or_no_number_is_refused(administrator: Visitor, query: dict[str, str]) -> None:
    assert administrator.open("admin/log", **query).status_code == 422


def test_the_log_is_exported_as_csv_and_as_lines_of_json(administrator: Visitor) -> None:
    administrator.open("admin/people/astronomer")
    administrator.post("admin/people/astronomer/suspend", reason="=1+1")
    sheet = administrator.open("admin/log/log.csv", act="person_suspended")
    assert sheet.headers["Content-Disposition"] == 'attachment; filename="log.csv"'
    assert [row["reason"] for row in csv.DictReader(io.StringIO(sheet.text))] == ["'=1+1"]
    lines = administrator.open("admin/log/log.jsonl", who="astronomer").text.splitlines()
    assert "person_suspended" in {json.loads(line)["act"] for line in lines}


def test_others_do_not_see_it(astronomer: Visitor, populated: PortalUnderTest) -> None:
    for path in ("admin/log", "admin/log/log.csv", "admin/log/log.jsonl"):
        assert astronomer.open(path).status_code == 403
