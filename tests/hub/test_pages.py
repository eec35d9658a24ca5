"""The launch page in a real browser: live figures that move nothing, by keyboard, on a phone, in the dark."""

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page
from tests.support.browser import CHROMIUM, chromium, fill_by_keyboard, press, tab_to
from tests.support.fake_allocator import TEAM
from tests.support.hub import HubUnderTest, Visitor

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed"),
]

# The team's page stands before those that it opens to its members.
OF_TEAM = (f"nexus/team/{TEAM}", f"spawn/{TEAM}", f"user/{TEAM}/lab")
PAGES = ("spawn", "home", "login", "signed-out", "nosuch", *OF_TEAM)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def page(hub: HubUnderTest, browser: Browser) -> Iterator[Page]:
    """A page signed in as the astronomer, who has accepted the agreement."""
    visitor: Visitor = hub.sign_in()
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.add_cookies(
        [
            {"name": cookie.name, "value": str(cookie.value), "domain": "127.0.0.1", "path": cookie.path}
            for cookie in visitor.http.cookies.jar
        ]
    )
    opened = context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    yield opened
    context.close()
    assert problems == []


def places(page: Page) -> list[object]:
    """Return where the parts below the choices stand."""
    return [page.locator(part).bounding_box() for part in ("#hours", ".launch-estimate", ".launch-start")]


def figure(page: Page, name: str) -> str:
    return page.locator(f'[data-figure="{name}"]').inner_text()


def test_the_figures_follow_the_choice_and_nothing_moves(hub: HubUnderTest, page: Page) -> None:
    page.goto(f"{hub.url}/hub/spawn")
    assert (figure(page, "hold"), figure(page, "left")) == ("0.28", "1.72")
    before = places(page)
    fill_by_keyboard(page, page.locator("#hours"), "24")
    assert figure(page, "hold") == "3.03"
    verdict = "Needs 3.03 credits, 2.00 are free. A Small server for 15.75 h would fit."
    assert figure(page, "verdict") == verdict
    assert places(page) == before
    fill_by_keyboard(page, page.locator("#hours"), "15.75")
    assert figure(page, "left") == "0.010"
    page.locator('input[value="wide-field-demo"]').check()
    page.locator('input[name="size-wide-field-demo"][value="large"]').check()
    # 1.2 credits/h for 15 h 45 min and the grace of 10 min.
    assert (figure(page, "hold"), figure(page, "left")) == ("19.10", "4,980.90")
    assert places(page) == before


def test_the_servers_first_figures_are_the_scripts_own(hub: HubUnderTest, page: Page) -> None:
    page.goto(f"{hub.url}/hub/spawn")
    live = {name: figure(page, name) for name in ("hold", "left", "until", "verdict")}
    page.route("**/launch.js", lambda route: route.abort())
    page.reload()
    assert {name: figure(page, name) for name in live} == live


def test_a_refused_launch_is_told_above_the_form_by_keyboard_alone(hub: HubUnderTest, page: Page) -> None:
    page.goto(f"{hub.url}/hub/spawn")
    fill_by_keyboard(page, page.locator("#hours"), "24")
    press(page, page.get_by_role("button", name="Start server"))
    alert = page.get_by_role("alert")
    assert "This server needs 3.0 credits, 2.0 left" in alert.inner_text()
    assert page.locator("#hours").input_value() == "24"
    tab_to(page, page.locator("#hours"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_every_hub_page_without_sideways_scrolling(
    hub: HubUnderTest, page: Page, scheme: str
) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    for path in PAGES:
        page.goto(f"{hub.url}/hub/{path}")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 320, path


def test_no_hub_page_has_a_serious_accessibility_fault(hub: HubUnderTest, page: Page) -> None:
    axe = Axe()
    pages = {path: f"{hub.url}/hub/{path}" for path in PAGES}
    for name, address in {**pages, "provider": f"{hub.settings.issuer}/nosuch"}.items():
        page.goto(address)
        assert faults(axe, page) == [], name
    page.context.clear_cookies()
    page.goto(f"{hub.url}/hub/oauth_login")
    assert page.get_by_role("heading", name="Who are you?").is_visible()
    assert faults(axe, page) == []


def faults(axe: Axe, page: Page) -> list[str]:
    found = axe.run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}).response[
        "violations"
    ]
    return [f"{v['id']}: {v['nodes'][0]['html']}" for v in found if v["impact"] in ("serious", "critical")]
