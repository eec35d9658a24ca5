"""The Snapshots page: the days that are kept, and yesterday's file asked back by keyboard alone."""

import pytest
from playwright.sync_api import expect
from tests.support.browser import chromium, fill_by_keyboard, press, tab_to
from tests.support.portal import PREFIX, TEAM, PortalUnderTest, Visitor, text_of, with_snapshots

from nexus_allocator.domain.outbox import Channel
from nexus_allocator.store import outbox

MINE = {"place": "homes/astronomer", "day": "2026-03-01"}


@pytest.fixture
def kept(populated: PortalUnderTest) -> PortalUnderTest:
    with_snapshots(populated.database, now=populated.clock())
    return populated


def asked(portal: PortalUnderTest) -> list[tuple[str, str]]:
    """The days and paths that were asked back, the latest first."""
    with portal.database.reading_scope() as session:
        rows = outbox.page(session, states=None, channel=Channel.SNAPSHOTS, limit=9, offset=0)
        return [(row.facts["day"], row.facts["path"]) for row, _ in rows]


def test_a_person_sees_each_day_and_how_long_it_is_kept(astronomer: Visitor, kept: PortalUnderTest) -> None:
    told = text_of(astronomer.open("storage/snapshots").text)
    assert "homes/astronomer" in told
    assert f"teams/{TEAM}" in told
    assert "2026-03-01 2026-03-08" in told
    assert "2026-02-23 2026-03-23" in told
    assert "storage/snapshots" in astronomer.open("storage").text


def test_what_is_wrong_is_said_beside_its_field_and_nothing_is_asked(
    astronomer: Visitor, kept: PortalUnderTest
) -> None:
    astronomer.open("storage/snapshots")
    wrong = astronomer.client.post(
        PREFIX + "storage/snapshots", data={"csrf": astronomer.csrf, **MINE, "file": "../other"}
    )
    assert wrong.status_code == 422
    assert 'id="file-homes-astronomer-error"' in wrong.text
    gone = astronomer.client.post(
        PREFIX + "storage/snapshots",
        data={"csrf": astronomer.csrf, **MINE, "day": "2026-01-01", "file": "notes"},
    )
    assert gone.status_code == 422
    assert "not kept any more" in gone.text
    assert asked(kept) == []


@pytest.mark.browser
def test_yesterdays_file_is_asked_back_by_keyboard(kept: PortalUnderTest, address: str) -> None:
    kept.hub.at_the_keyboard = "astronomer"
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(address + PREFIX + "storage")
        press(page, page.get_by_role("link", name="Snapshots"))
        day = page.get_by_label("As it was on").first
        tab_to(page, day)
        page.keyboard.press("ArrowDown")
        expect(day).to_have_value("2026-02-23")
        fill_by_keyboard(page, page.get_by_label("File or folder").first, "~/notes/today.ipynb")
        press(page, page.get_by_role("button", name="Bring back into homes/astronomer"))
        expect(page.get_by_text("It is being brought back.")).to_be_visible()
        expect(page.get_by_text("Being brought back", exact=True)).to_be_visible()
    assert asked(kept) == [("2026-02-23", "notes/today.ipynb")]
