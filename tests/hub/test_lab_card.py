"""The card in JupyterLab, in a real browser, hub and service: balance, warnings, stop and reason."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from tests.support.browser import CHROMIUM, chromium, press, screenshot
from tests.support.embedded import Embedded, embedded_nexus
from tests.support.fake_allocator import TEAM
from tests.support.hub import SMALL, Visitor, until
from tests.support.pictures import SHOTS

from nexus_allocator import policy as packaged

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed"),
]
TIERS = Path(packaged.__file__).with_name("tiers.yaml")


def quick_tiers(folder: Path) -> Path:
    """The packaged policy with 40 seconds to save instead of ten minutes: the card looks every 15."""
    document = yaml.safe_load(TIERS.read_text())
    document["enforcement"]["save_minutes_at_zero"] = 2 / 3
    (folder / "agreement.html").write_text("<p>Be kind.</p>")
    path = folder / "tiers.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture(scope="module")
def nexus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    tiers = quick_tiers(tmp_path_factory.mktemp("policy"))
    with embedded_nexus(NEXUS_TIERS_FILE=str(tiers), NEXUS_METERING_INTERVAL_S="2") as nexus:
        nexus.up()
        yield nexus


@pytest.fixture(scope="module")
def astronomer(nexus: Embedded) -> Visitor:
    return nexus.sign_in()


@pytest.fixture(scope="module")
def page(nexus: Embedded, astronomer: Visitor) -> Iterator[Page]:
    with chromium() as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.goto(nexus.url)
        page.get_by_role("link", name="Sign in").click()
        page.get_by_role("button", name="Ada Astronomer").click()
        page.wait_for_url(f"{nexus.url}/hub/**")
        yield page


def in_lab(nexus: Embedded, astronomer: Visitor, page: Page) -> None:
    astronomer.launch_by_form(SMALL)
    nexus.wait_until_ready()
    page.goto(f"{nexus.url}/user/astronomer/lab")
    expect(page.locator(".nexus-card__figures")).to_contain_text("credits left", timeout=60_000)


def corrected(nexus: Embedded, amount: str) -> None:
    done = nexus.command("allocator", "correct", "--reason", "for the test", "--", "astronomer", amount)
    assert done.returncode == 0, done.stderr


def announced(nexus: Embedded, text: str) -> None:
    until_day = (datetime.now(UTC) + timedelta(days=2)).date().isoformat()
    done = nexus.command("allocator", "announce", "add", "--level", "warning", "--until", until_day, text)
    assert done.returncode == 0, done.stderr


def test_the_card_shows_the_balance_and_stops_the_server_by_keyboard(
    nexus: Embedded, astronomer: Visitor, page: Page
) -> None:
    in_lab(nexus, astronomer, page)
    # AWS's clients ask for credentials without a sign-in, and show the server's token or go away empty.
    stranger = httpx.get(f"{nexus.url}/user/astronomer/nexus/credentials", timeout=20)
    assert stranger.status_code == 403
    expect(page.locator(".nexus-card__figures")).to_contain_text("24.9")
    expect(page.locator(".nexus-banner")).to_be_hidden()
    screenshot(page, SHOTS, "lab-card")
    stop = page.get_by_role("button", name="Stop server")
    stop.focus()
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Stop server").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/hub/home")
    nexus.wait_until_gone()
    hold = nexus.settled_hold(0)
    assert (hold["stop_reason"], hold["stop_actor"]) == ("own-hand", "astronomer")


def test_a_used_up_award_warns_in_the_lab_and_in_the_portal_and_then_stops_the_server(
    nexus: Embedded, astronomer: Visitor, page: Page
) -> None:
    announced(nexus, "The archive is slow today.")
    in_lab(nexus, astronomer, page)
    expect(page.get_by_role("alert").filter(has_text="The archive is slow today.")).to_be_visible()
    corrected(nexus, "-25")
    banner = page.get_by_role("alert").filter(has_text="credits of this account are used up")
    expect(banner).to_be_visible(timeout=30_000)
    expect(banner).to_contain_text("Save your work now")
    screenshot(page, SHOTS, "lab-banner")
    found = Axe().run(page, context=".nexus-banner, .nexus-card").response["violations"]
    assert [rule["id"] for rule in found if rule["impact"] in {"serious", "critical"}] == []
    other = page.context.new_page()
    other.goto(f"{nexus.url}/services/nexus/")
    expect(other.get_by_role("alert")).to_contain_text("stopped at")
    screenshot(other, SHOTS, "portal-banner")
    other.close()
    until(lambda: nexus.server("astronomer") is None, "stopped after the grace", 90)
    hold = nexus.settled_hold(1)
    assert (hold["stop_reason"], hold["stop_actor"]) == ("quota", "nexus")
    page.goto(f"{nexus.url}/hub/spawn")
    expect(
        page.get_by_role("note").filter(has_text="Please note: The archive is slow today.")
    ).to_be_visible()
    expect(page.get_by_text("The account ran out of credits.")).to_be_visible()
    press(page, page.get_by_role("link", name="My allocations").first)
    expect(page.get_by_text("The account ran out of credits.").first).to_be_visible()


def test_in_a_team_s_own_server_it_says_that_it_stops_for_everybody(
    nexus: Embedded, astronomer: Visitor, page: Page
) -> None:
    astronomer.get(f"/hub/nexus/team/{TEAM}")
    astronomer.launch_by_form({**SMALL, "account": TEAM}, astronomer.get(f"/hub/spawn/{TEAM}"))
    nexus.wait_until_ready(TEAM)
    page.goto(f"{nexus.url}/user/{TEAM}/lab")
    found = Axe().run(page).response["violations"]
    assert [rule["id"] for rule in found if rule["impact"] in {"serious", "critical"}] == []
    screenshot(page, SHOTS, "may-it-know-who-you-are")
    press(page, page.get_by_role("button", name="Yes, let me in"))
    expect(page.locator(".nexus-card__figures")).to_contain_text("credits left", timeout=60_000)
    page.get_by_role("button", name="Stop server").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop it for everybody").click()
    page.wait_for_url(f"**/hub/nexus/team/{TEAM}")
    expect(page.get_by_text("It is not running")).to_be_visible(timeout=60_000)
    hold = nexus.settled_hold(len(nexus.holds()) - 1)
    assert (hold["stop_reason"], hold["stop_actor"]) == ("team-hand", TEAM)
