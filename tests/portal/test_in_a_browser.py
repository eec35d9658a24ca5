"""Each page in a real Chromium, wide and narrow, light and dark: accessible, steady, and nothing cut off."""

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Response, expect
from starlette.routing import compile_path
from tests.support.browser import chromium, press, screenshot, tab_to
from tests.support.pages import FILES, NO_PAGES, OF_A_BARE_SITE, OF_A_BUSY_SITE, OF_NOBODY
from tests.support.pictures import GALLERY
from tests.support.portal import PREFIX
from tests.support.routes import routes_of
from tests.support.site import Site, bare_site, busy_site

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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def site(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with busy_site(tmp_path_factory.mktemp("site"), browser) as site:
        yield site


@pytest.fixture(scope="module")
def bare(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with bare_site(tmp_path_factory.mktemp("bare"), browser) as site:
        yield site


def require_steady_and_whole(page: Page, name: str, *, width: int) -> None:
    assert page.evaluate(SHIFT) < 0.01, f"{name} moves while it loads"
    require_whole(page, name, width=width)


def require_whole(page: Page, name: str, *, width: int) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is cut off at {width}"
    if GALLERY:
        screenshot(page, GALLERY, name)


def require_accessible(page: Page, name: str) -> None:
    for summary in page.locator("details > summary").all():
        summary.click()
    options = {"runOnly": STANDARD, "resultTypes": ["violations"]}
    found = Axe().run(page, options=options).response["violations"]
    told = [(each["id"], each["impact"], [node["html"][:150] for node in each["nodes"]]) for each in found]
    assert told == [], name


def require_good_pages(page: Page, site: Site, pages: dict[str, str], *, look: str, width: int) -> None:
    try:
        for name, path in pages.items():
            page.goto(site.root + path.format(**site.words))
            require_steady_and_whole(page, f"{name}-{look}-{width}", width=width)
            if (look, width) in AXE_LOOKS:
                require_accessible(page, name)
    finally:
        page.context.close()


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
@pytest.mark.parametrize("hub_name", list(OF_A_BUSY_SITE))
def test_every_page_is_accessible_steady_and_whole(
    site: Site, hub_name: str, scheme: str, width: int
) -> None:
    page = site.page(hub_name, scheme=scheme, width=width)
    require_good_pages(page, site, OF_A_BUSY_SITE[hub_name], look=scheme, width=width)


@pytest.mark.parametrize("hub_name", [*OF_A_BARE_SITE, None])
def test_every_page_with_nothing_on_it_or_for_nobody_is_good_in_four_looks(
    bare: Site, hub_name: str | None
) -> None:
    page = bare.page(hub_name) if hub_name else bare.stranger()
    try:
        for name, path in (OF_A_BARE_SITE[hub_name] if hub_name else OF_NOBODY).items():
            page.goto(bare.root + path.format(**bare.words))
            in_four_looks(page, name)
            require_accessible(page, name)
    finally:
        page.context.close()


def test_no_page_of_the_portal_is_left_out(site: Site) -> None:
    prefix = PREFIX.rstrip("/")
    paths = [each.path.removeprefix(prefix) for each in routes_of(site.portal.app) if each.method == "GET"]
    routes = {path: compile_path(path)[0] for path in paths}
    looked_at = {
        next((path for path, form in routes.items() if form.match("/" + address.split("?")[0])), None)
        for pages in (*OF_A_BUSY_SITE.values(), OF_NOBODY)
        for address in (path.format(**site.words) for path in pages.values())
    }
    left_out = {path for path in paths if not path.endswith(FILES)} - looked_at
    assert left_out == set(NO_PAGES)


# Fills each form that takes words with what none of them takes.
NONSENSE = """form => {
    for (const field of form.querySelectorAll("input:not([type=hidden]), textarea")) {
        if (field.type === "radio" || field.type === "checkbox") field.checked = true;
        else if (field.required || field.type === "date" || field.type === "datetime-local") field.value = "";
        else field.value = "?".repeat(Math.max(field.maxLength, 0) + 1);
    }
    form.requestSubmit();
}"""
TAKES_WORDS = "form[method=post]:has(input:not([type=hidden], [type=radio], [type=checkbox]), textarea)"


@pytest.mark.parametrize("hub_name", [name for name in OF_A_BUSY_SITE if name != "long"])
def test_every_page_says_what_is_wrong_with_a_form_and_puts_the_focus_there(
    site: Site, hub_name: str
) -> None:
    page, sent = site.page(hub_name), set()
    try:
        for name, path in OF_A_BUSY_SITE[hub_name].items():
            page.goto(site.root + path.format(**site.words))
            forms = page.locator(TAKES_WORDS)
            addresses = [form.get_attribute("action") for form in forms.all()]
            for number, address in enumerate(addresses):
                if address not in sent:
                    page.goto(site.root + path.format(**site.words))
                    with page.expect_navigation() as answer:
                        forms.nth(number).evaluate(NONSENSE)
                    require_told(page, answer.value, f"{name}, {address}")
                    in_four_looks(page, f"{name}-wrong-{number + 1}")
            sent |= set(addresses)
    finally:
        page.context.close()


def require_told(page: Page, answer: Response | None, name: str) -> None:
    assert answer is not None
    assert answer.status == 422, name
    expect(page.get_by_role("alert")).to_be_focused()
    wrong = page.locator("[aria-invalid=true], .nx-field--wrong")
    assert wrong.count(), f"{name} does not mark the field"
    for link in page.get_by_role("alert").get_by_role("link").all():
        field = page.locator(f"[id='{(link.get_attribute('href') or '')[1:]}']")
        assert field.count() == 1, f"{name}: the summary leads to no field"


def in_four_looks(page: Page, name: str) -> None:
    """Look at a page that stays as it is while the screen changes."""
    for scheme, width in LOOKS:
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        page.set_viewport_size({"width": width, "height": 800})
        require_whole(page, f"{name}-{scheme}-{width}", width=width)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 800})


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
        require_steady_and_whole(page, f"ask-wrong-{scheme}-{width}", width=width)
        require_accessible(page, "ask-wrong")
        page.goto(f"{site.root}admin/requests/{site.words['request']}")
        page.get_by_label("Credits to grant").fill("-3")
        page.get_by_role("button", name="Approve").click()
        expect(page.get_by_role("alert")).to_be_focused()
        require_steady_and_whole(page, f"award-wrong-{scheme}-{width}", width=width)
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
        require_steady_and_whole(page, f"ask-reckoned-{scheme}-{width}", width=width)
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
