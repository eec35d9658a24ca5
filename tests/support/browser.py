"""A person at a keyboard: a real Chromium in which everything is reached by Tab and pressed by a key."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    assert CHROMIUM, "the browser tests need Debian's chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def tab_to(page: Page, target: Locator, *, presses: int = 60) -> None:
    """Press Tab until ``target`` has the focus; fail when the keyboard never gets there."""
    target.wait_for(state="visible")
    for _ in range(presses):
        if target.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"the keyboard does not reach {target}")


def press(page: Page, target: Locator, key: str = "Enter") -> None:
    tab_to(page, target)
    page.keyboard.press(key)


def fill_by_keyboard(page: Page, target: Locator, text: str, *, presses: int = 60) -> None:
    tab_to(page, target, presses=presses)
    page.keyboard.press("Control+A")
    page.keyboard.press("Delete")
    page.keyboard.type(text)


def type_date(page: Page, target: Locator, day: str, *, presses: int = 60) -> None:
    """Type a day (year-month-day) as Chromium's American date field wants it."""
    year, month, of_month = day.split("-")
    tab_to(page, target, presses=presses)
    page.keyboard.type(f"{month}{of_month}{year}")
    expect(target).to_have_value(day)


def type_moment(page: Page, target: Locator, moment: str, *, presses: int = 60) -> None:
    """Type a moment (2027-03-15T09:00) as Chromium's American field wants it; only hours before noon."""
    day, hour = moment.split("T")
    year, month, of_month = day.split("-")
    tab_to(page, target, presses=presses)
    page.keyboard.type(f"{month}{of_month}{year}")
    page.keyboard.press("ArrowRight")
    page.keyboard.type(f"{hour.replace(':', '')}A")
    expect(target).to_have_value(moment)


def choose(page: Page, target: Locator, *, presses: int = 60) -> None:
    """Tab to a radio button's group and go through it with the arrow keys."""
    in_group = (
        "element => document.activeElement.type === 'radio' && document.activeElement.name === element.name"
    )
    target.wait_for(state="visible")
    for _ in range(presses):
        if target.evaluate(in_group):
            break
        page.keyboard.press("Tab")
    if target.evaluate("element => element === document.activeElement"):
        page.keyboard.press("Space")
    for _ in range(12):
        if target.is_checked():
            return
        page.keyboard.press("ArrowDown")
    raise AssertionError(f"the keyboard does not choose {target}")


def screenshot(page: Page, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{name}.png", full_page=True)
