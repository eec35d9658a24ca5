"""Each page in a real Chromium, wide and narrow, light and dark: accessible, steady, and nothing cut off."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from tests.support.browser import chromium, press, screenshot, tab_to
from tests.support.fake_hub import running_hub
from tests.support.portal import (
    PREFIX,
    PortalUnderTest,
    database_file,
    portal_over,
    with_a_busy_month,
    with_a_panel,
    with_a_question,
    with_a_shared_team,
    with_an_announcement,
    with_an_event,
    with_purges,
)

from nexus_allocator.services import portal_lists

pytestmark = pytest.mark.browser

STANDARD = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
LOOKS = [("light", 1280), ("light", 360), ("dark", 1280), ("dark", 360)]
# axe takes most of the time; each scheme and each width once is enough for it.
AXE_LOOKS = [("light", 1280), ("dark", 360)]
# Layout that moves after it was painted, as Chromium itself measures it; below 0.1 counts as good.
SHIFT = """() => new Promise(done => {
    let total = 0;
    const add = entry => { if (!entry.hadRecentInput) total += entry.value; };
    const observer = new PerformanceObserver(list => list.getEntries().forEach(add));
    observer.observe({type: "layout-shift", buffered: true});
    setTimeout(() => done(total), 30);
})"""

OF_THE_ASTRONOMER = {
    "my-allocations": "",
    "account": "accounts/wide-field-demo",
    "requests-waiting": "requests",
    "policy": "policy",
    "agreement": "agreement",
    "preferences": "preferences",
    "teams": "teams",
    "team": "teams/wide-field-demo",
    "team-member": "teams/wide-field-demo/members/teammate",
    "team-group": "teams/wide-field-demo/groups/{group}",
    "team-leave": "teams/wide-field-demo/leave",
    "purges": "storage/purges",
    "purge": "storage/purges/{purge}",
    "purge-folder": "storage/purges/{purge}?under=runs",
    "not-found": "nowhere",
    "forbidden": "admin/people",
}
OF_THE_REVIEWER = {"panel": "panel", "panel-case": "panel/{case}"}
OF_THE_COLLEAGUE = {"panel-reviewed": "panel", "panel-case-reviewed": "panel/{case}"}
OF_WHO_HAS_AN_OFFER = {"requests-offered": "requests"}
OF_THE_NEWCOMER = {
    "my-allocations-empty": "",
    "purges-empty": "storage/purges",
    "requests-empty": "requests",
    "teams-invited": "teams",
}
OF_THE_ADMINISTRATOR = {
    "no-usage": "",
    "teams-empty": "teams",
    "ask": "requests",
    "admin-requests": "admin/requests",
    "admin-request": "admin/requests/{request}",
    "admin-panel": "admin/panel",
    "admin-round": "admin/panel/rounds/{round}",
    "admin-request-panel": "admin/requests/{case}",
    "admin-request-offered": "admin/requests/{offered}",
    "admin-people": "admin/people",
    "admin-enter": "admin/servers/teammate/mosaics/enter",
    "admin-person": "admin/people/teammate",
    "admin-maintenance": "admin/maintenance",
    "admin-outbox": "admin/outbox?show=all",
    "admin-outbox-none": "admin/outbox",
    "admin-webhooks": "admin/webhooks",
    "admin-people-none": "admin/people?q=nobody-of-this-name",
    "admin-accounts": "admin/accounts",
    "admin-servers": "admin/servers",
    "admin-pool": "admin/pool",
    "admin-forecast": "admin/forecast",
    "admin-identity": "admin/people/teammate/identity",
    "admin-log": "admin/log",
    "admin-log-none": "admin/log?q=no-such-words",
    "admin-what-if": "admin/what-if",
    "admin-question": "admin/what-if/{question}",
    "admin-announcements": "admin/announcements",
    "admin-events": "admin/events",
    "admin-event": "admin/events/{event}",
    "join-event": "events/join",
    "admin-purges": "admin/purges",
    "admin-stop": "admin/servers/teammate/mosaics/stop",
}


@dataclass(frozen=True)
class Site:
    portal: PortalUnderTest
    browser: Browser
    root: str
    pictures: Path
    words: dict[str, str]

    def page(self, hub_name: str, *, scheme: str = "light", width: int = 1280) -> Page:
        """Return a page of a fresh browser in which ``hub_name`` has signed in."""
        self.portal.hub.at_the_keyboard = hub_name
        context = self.browser.new_context(
            color_scheme="dark" if scheme == "dark" else "light", viewport={"width": width, "height": 800}
        )
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.goto(self.root)
        expect(page.get_by_role("heading", name="My allocations")).to_be_visible()
        return page


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with running_hub() as hub, portal_over(database_file(folder), hub) as portal:
        with_a_busy_month(portal)
        portal.person("newcomer", "Nia Newcomer")
        words = {"group": str(with_a_shared_team(portal)), "event": str(with_an_event(portal))}
        with_an_announcement(portal)
        words["question"] = str(with_a_question(portal))
        with portal.database.reading_scope() as session:
            words["request"] = str(portal_lists.waiting_requests(session)[0].id)
        words |= with_a_panel(portal) | with_purges(portal)
        with portal.served() as address, chromium() as browser:
            yield Site(portal, browser, address + PREFIX, folder / "pictures", words)


def require_steady_and_whole(page: Page, site: Site, name: str, *, width: int) -> None:
    assert page.evaluate(SHIFT) < 0.01, f"{name} moves while it loads"
    assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is cut off at {width}"
    screenshot(page, site.pictures, name)


def require_accessible(page: Page, name: str) -> None:
    for summary in page.locator("details > summary").all():
        summary.click()
    options = {"runOnly": STANDARD, "resultTypes": ["violations"]}
    found = Axe().run(page, options=options).response["violations"]
    told = [(each["id"], each["impact"], [node["html"][:150] for node in each["nodes"]]) for each in found]
    assert told == [], name


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
@pytest.mark.parametrize(
    ("hub_name", "pages"),
    [
        ("astronomer", OF_THE_ASTRONOMER),
        ("newcomer", OF_THE_NEWCOMER),
        ("reviewer", OF_THE_REVIEWER),
        ("colleague", OF_THE_COLLEAGUE),
        ("duo", OF_WHO_HAS_AN_OFFER),
        ("admin", OF_THE_ADMINISTRATOR),
    ],
)
def test_every_page_is_accessible_steady_and_whole(
    *, site: Site, hub_name: str, pages: dict[str, str], scheme: str, width: int
) -> None:
    page = site.page(hub_name, scheme=scheme, width=width)
    try:
        for name, path in pages.items():
            page.goto(site.root + path.format(**site.words))
            require_steady_and_whole(page, site, f"{name}-{scheme}-{width}", width=width)
            if (scheme, width) in AXE_LOOKS:
                require_accessible(page, name)
    finally:
        page.context.close()


@pytest.mark.parametrize(("scheme", "width"), AXE_LOOKS)
def test_a_wrong_form_comes_back_accessible_with_the_focus_on_what_is_wrong(
    site: Site, scheme: str, width: int
) -> None:
    page = site.page("admin", scheme=scheme, width=width)
    try:
        page.goto(f"{site.root}requests")
        page.get_by_label("What is it for?").fill("too short")
        page.get_by_role("button", name="Send the request").click()
        expect(page.get_by_role("alert")).to_be_focused()
        expect(page.get_by_label("What is it for?")).to_have_value("too short")
        require_steady_and_whole(page, site, f"ask-wrong-{scheme}-{width}", width=width)
        require_accessible(page, "ask-wrong")
        page.goto(f"{site.root}admin/requests/{site.words['request']}")
        page.get_by_label("Credits to grant").fill("-3")
        page.get_by_role("button", name="Approve").click()
        expect(page.get_by_role("alert")).to_be_focused()
        require_steady_and_whole(page, site, f"award-wrong-{scheme}-{width}", width=width)
        require_accessible(page, "award-wrong")
    finally:
        page.context.close()


@pytest.mark.parametrize(("scheme", "width"), AXE_LOOKS)
def test_a_returned_request_is_reckoned_kept_and_told_of_accessibly(
    site: Site, scheme: str, width: int
) -> None:
    page = site.page("teammate", scheme=scheme, width=width)
    try:
        page.goto(f"{site.root}requests")
        expect(page.get_by_text("It was returned to you: Which field, and how deep?")).to_be_visible()
        page.get_by_label("Area in square degrees").fill("100")
        page.get_by_role("button", name="Reckon the credits").click()
        expect(page.get_by_role("status")).to_contain_text("356 exposures (100.0 sq deg) cost")
        require_steady_and_whole(page, site, f"ask-reckoned-{scheme}-{width}", width=width)
        require_accessible(page, "ask-reckoned")
    finally:
        page.context.close()


def test_a_server_is_kept_alive_and_stopped_by_keyboard_alone(site: Site) -> None:
    page = site.page("astronomer")
    try:
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        page.keyboard.press("Enter")
        press(page, page.get_by_role("button", name="Keep alive Default server"))
        expect(page.get_by_role("status")).to_contain_text("will not be stopped for being idle")
        stop = page.get_by_role("button", name="Stop Default server")
        tab_to(page, stop)
        outline = stop.evaluate("element => getComputedStyle(element).outlineWidth")
        assert outline == "3px", "the focus is seen"
        page.keyboard.press("Space")
        expect(page.get_by_role("status")).to_contain_text("is being stopped")
        assert site.portal.hub.stopped == ["astronomer/server"]
    finally:
        page.context.close()


def test_the_counter_follows_what_is_typed(site: Site) -> None:
    page = site.page("admin")
    try:
        page.goto(f"{site.root}requests")
        area = page.get_by_label("What is it for?")
        area.fill("x" * 1_950)
        expect(page.locator("#justification-count")).to_have_text("1950 of 2000 characters, 50 left")
        area.press_sequentially("y" * 60)
        assert len(area.input_value()) == 2_000
    finally:
        page.context.close()


def test_the_charts_fit_the_screen_they_are_on(site: Site) -> None:
    for width, shown, hidden in ((1280, "wide", "narrow"), (360, "narrow", "wide")):
        page = site.page("astronomer", width=width)
        try:
            expect(page.locator(f"svg.nx-chart--{shown}").first).to_be_visible()
            expect(page.locator(f"svg.nx-chart--{hidden}").first).to_be_hidden()
        finally:
            page.context.close()


def test_signing_out_at_the_hub_ends_the_portal_in_the_same_browser(site: Site) -> None:
    page = site.page("newcomer")
    try:
        page.get_by_role("link", name="Sign out").click()
        page.wait_for_url("**/hub/signed-out")
        site.portal.hub.at_the_keyboard = "teammate"
        page.goto(site.root)
        expect(page.get_by_text("Tomo Teammate").first).to_be_visible()
    finally:
        page.context.close()
