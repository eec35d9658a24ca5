"""The Storage pages: what places hold and cost, a treemap beside a table, scratch, all places at once."""

from datetime import timedelta

import pytest
from playwright.sync_api import expect
from tests.portal.test_in_a_browser import AXE_LOOKS, LOOKS, SHIFT, require_accessible
from tests.support.browser import chromium, fill_by_keyboard, press, screenshot, tab_to
from tests.support.pictures import SHOTS
from tests.support.portal import PREFIX, TEAM, PortalUnderTest, Visitor, text_of

from nexus_allocator.domain.places import Place, PlaceKind, Usage
from nexus_allocator.domain.quotas import GB
from nexus_allocator.domain.states import TierSlug
from nexus_allocator.services import places, storage_quotas
from nexus_allocator.store.accounts import by_slug, lock
from nexus_allocator.web.storage_views import bytes_text
from nexus_allocator.web.treemap import cells

HOME, FOLDER = Place(PlaceKind.HOME, "astronomer"), Place(PlaceKind.TEAM, TEAM)
PARTS = {
    "folders": [
        {"name": "mosaics", "bytes": 4_600_000_000,
         "folders": [{"name": "F158", "bytes": 3_000_000_000}, {"name": "F062", "bytes": 1_500_000_000}]},
        {"name": "catalogues", "bytes": 2_100_000_000, "folders": []},
        {"name": "notebooks", "bytes": 900_000_000, "folders": []},
        {"name": ".cache", "bytes": 700_000_000, "folders": []},
        {"name": "(files at the top)", "bytes": 20_000_000, "folders": []},
    ],
    "types": [{"name": ".asdf", "bytes": 6_000_000_000}, {"name": ".parquet", "bytes": 2_320_000_000}],
    "ages": [{"name": "under a month", "bytes": GB}, {"name": "over a year", "bytes": 7_320_000_000}],
}  # fmt: skip


def holds(portal: PortalUnderTest, place: Place, gb: float, **parts: object) -> None:
    with portal.database.session_scope() as session:
        found = places.called(session, place)
        storage_quotas.found(
            session, found.id, Usage(round(gb * GB), GB // 2, 0, None), parts, terms=portal.policy.storage,
            now=portal.clock(),
        )  # fmt: skip


@pytest.fixture
def stored(populated: PortalUnderTest) -> PortalUnderTest:
    with populated.database.session_scope() as session:
        places.open_volume(
            session, "main", driver="btrfs", enforces=True, most_places=None, now=populated.clock()
        )
        ada = by_slug(session, "astronomer")
        assert ada is not None
        lock(session, [ada.allocation.id])[ada.allocation.id].tier = TierSlug.RESEARCH
    places.settle_all(populated.database, policy=populated.policy, now=populated.clock())
    populated.clock.now -= timedelta(days=40)
    holds(populated, FOLDER, 20)
    populated.clock.now += timedelta(days=40)
    holds(populated, HOME, 95, **PARTS)
    holds(populated, FOLDER, 260, **PARTS)
    return populated


def read(visitor: Visitor, path: str, **query: str) -> str:
    answer = visitor.open(path, **query)
    assert answer.status_code == 200
    return text_of(answer.text)


def test_a_person_sees_their_places_and_how_full_they_are(
    astronomer: Visitor, stored: PortalUnderTest
) -> None:
    told = read(astronomer, "storage")
    assert "Home astronomer" in told
    assert f"Team folder {TEAM}" in told
    assert "95.0 GB" in told
    assert "Over its soft limit" in told
    # At the top of every page.
    assert "homes/astronomer holds 95.0 of 100.0 GB." in read(astronomer, "policy")


def test_the_page_of_an_account_says_what_a_place_is_made_of(
    astronomer: Visitor, stored: PortalUnderTest
) -> None:
    told = read(astronomer, "accounts/astronomer/storage")
    for fact in (
        "mosaics",
        "4.60 GB",
        "F158: 3.00 GB",
        "In quarantine, not charged 500 MB",
        "by the file system",
    ):
        assert fact in told
    assert ".parquet" in read(astronomer, "accounts/astronomer/storage", by="types")
    assert "over a year" in read(astronomer, "accounts/astronomer/storage", by="ages")
    assert "Change in 30 days +240 GB" in read(astronomer, f"accounts/{TEAM}/storage")


def test_an_account_with_objects_says_where_they_are_and_how_to_get_at_them(
    astronomer: Visitor, stored: PortalUnderTest
) -> None:
    told = read(astronomer, f"accounts/{TEAM}/storage")
    assert f"Below s3://nexus/accounts/{TEAM}/ this account keeps objects" in told
    assert f"POST {PREFIX}api/v1/accounts/{TEAM}/credentials" in told


def test_scratch_shows_its_cost_first_and_is_taken_then(astronomer: Visitor, stored: PortalUnderTest) -> None:
    wish = {"size_gb": "50", "days": "30"}
    read(astronomer, "accounts/astronomer/storage")
    reckoned = astronomer.post("accounts/astronomer/storage/scratch", **wish, do="reckon")
    assert "4.00 credits" in reckoned.text
    with stored.database.reading_scope() as session:
        assert [row.kind for row in places.places.every(session)].count(PlaceKind.SCRATCH) == 0
    assert astronomer.post("accounts/astronomer/storage/scratch", **wish, do="take").status_code == 303
    told = read(astronomer, "accounts/astronomer/storage")
    assert "Scratch astronomer" in told
    assert "until 14 April 2027" in told
    wrong = astronomer.post("accounts/astronomer/storage/scratch", size_gb="5000", days="0", do="take")
    assert wrong.status_code == 422
    assert "at most 1,000 GB" in wrong.text
    assert "whole days from 1 to 90" in wrong.text


def test_an_administrator_sees_all_places_and_sets_a_size(
    administrator: Visitor, stored: PortalUnderTest
) -> None:
    told = read(administrator, "admin/storage")
    assert told.index(f"teams/{TEAM}") < told.index("homes/astronomer")
    assert "homes/astronomer" not in read(administrator, "admin/storage", q="teams")
    form = {"place": "homes/astronomer", "gb": "300", "reason": "A long mosaic run"}
    assert administrator.post("admin/storage/size", **form).status_code == 303
    assert "300 GB" in read(administrator, "admin/storage")
    wrong = administrator.post("admin/storage/size", place="nowhere", gb="-1", reason="")
    assert wrong.status_code == 422
    for problem in ("Name a place", "Give a size above zero", "Say why"):
        assert problem in wrong.text


def test_a_treemap_fills_its_rectangle_with_areas_as_the_amounts() -> None:
    amounts = [600, 600, 400, 300, 200, 200, 100, 0]
    found = cells(amounts, width=600, height=400)
    assert [cell.number for cell in found] == [0, 1, 2, 3, 4, 5, 6]
    for cell in found:
        assert cell.width * cell.height == pytest.approx(amounts[cell.number] * 100, rel=1e-3)
        assert cell.x + cell.width <= 600.01
        assert cell.y + cell.height <= 400.01
    # As in the paper's own example, whose cells these are.
    worst = max(max(cell.width / cell.height, cell.height / cell.width) for cell in found)
    assert worst == pytest.approx(25 / 9, rel=1e-3)
    assert cells([], width=1, height=1) == cells([0, 0], width=1, height=1) == []


def test_sizes_read_with_three_digits_in_powers_of_ten() -> None:
    sizes = (0, 999, 1000, 999_999, 12_340_000, 10**12, -(10**9))
    assert [bytes_text(size) for size in sizes] == [
        "0 bytes", "999 bytes", "1.00 kB", "1000 kB", "12.3 MB", "1.00 TB", "-1.00 GB",
    ]  # fmt: skip


@pytest.mark.browser
def test_the_pages_are_accessible_steady_and_whole_and_scratch_is_taken_by_keyboard(
    stored: PortalUnderTest, address: str
) -> None:
    with chromium() as browser:
        for scheme, width in LOOKS:
            stored.hub.at_the_keyboard = "astronomer"
            dark = "dark" if scheme == "dark" else "light"
            context = browser.new_context(color_scheme=dark, viewport={"width": width, "height": 800})
            page = context.new_page()
            page.set_default_timeout(10_000)
            for name, path in (("storage", "storage"), ("storage-account", "accounts/astronomer/storage")):
                page.goto(address + PREFIX + path)
                expect(page.get_by_role("heading", level=1)).to_contain_text("Storage")
                assert page.evaluate(SHIFT) < 0.01
                assert page.evaluate("document.documentElement.scrollWidth") <= width
                screenshot(page, SHOTS, f"{name}-{scheme}-{width}")
                if (scheme, width) in AXE_LOOKS:
                    require_accessible(page, name)
            context.close()
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(address + PREFIX + "accounts/astronomer/storage")
        # Each cell of the treemap is a stop of the keyboard, and leads to its row.
        tab_to(page, page.get_by_role("link", name="catalogues: 2.10 GB"))
        page.keyboard.press("Enter")
        assert page.url.endswith("#homes-astronomer-1")
        fill_by_keyboard(page, page.get_by_label("Size in GB"), "60")
        fill_by_keyboard(page, page.get_by_label("Days"), "10")
        press(page, page.get_by_role("button", name="What would it cost?"))
        expect(page.get_by_text("1.60 credits")).to_be_visible()
        press(page, page.get_by_role("button", name="Take it"))
        expect(page.get_by_role("heading", name="Scratch astronomer")).to_be_visible()
        stored.hub.at_the_keyboard = "admin"
        for scheme, width in LOOKS:
            dark = "dark" if scheme == "dark" else "light"
            context = browser.new_context(color_scheme=dark, viewport={"width": width, "height": 800})
            page = context.new_page()
            page.goto(address + PREFIX + "admin/storage")
            expect(page.get_by_role("heading", name="All places together")).to_be_visible()
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            screenshot(page, SHOTS, f"admin-storage-{scheme}-{width}")
            if (scheme, width) in AXE_LOOKS:
                require_accessible(page, "admin-storage")
            context.close()
