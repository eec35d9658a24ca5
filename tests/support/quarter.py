"""A quarter of purges as it is lived: a volume, portal and daily job, and a person who wants a folder back.

The clock runs a hundred days ahead of the machine's, so that files made now are old in it.
"""

import json
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect
from tests.support.browser import chromium
from tests.support.fake_hub import running_hub
from tests.support.portal import PREFIX, PortalUnderTest, database_file, portal_over, with_people
from tests.support.purging import Entry, manifest, nobody_has_any_open

from nexus_allocator.clients.files import plans, purging
from nexus_allocator.clients.files.directory import KEPT, DirectoryVolume
from nexus_allocator.clients.files.purge_run import LOG, PLAN
from nexus_allocator.clients.files.purge_state import State
from nexus_allocator.clients.files.signed_log import SignedLog
from nexus_allocator.domain.outbox import Channel
from nexus_allocator.domain.places import Owner, Place, PlaceKind
from nexus_allocator.domain.purges import PurgeState
from nexus_allocator.policy import load_policy
from nexus_allocator.services import delivery, purge_turns
from nexus_allocator.services.purge_calls import PurgeCarrier
from nexus_allocator.services.purge_work import PurgeWork
from nexus_allocator.store import purges

KEY = b"a key for tests, 32 bytes long.."
DAYS = 90
PER_FOLDER = 100
FOLDERS_PER_RUN = 10
SCRATCH = Place(PlaceKind.SCRATCH, "astronomer")
HOME = Place(PlaceKind.HOME, "astronomer")
BUSY = Place(PlaceKind.SCRATCH, "teammate")


def switched_on(document: Any) -> Any:
    document["purges"][0]["enabled"] = True
    return document


@dataclass
class Quarter:
    """A volume below ``folder``, and a portal that knows its people."""

    folder: Path
    portal: PortalUnderTest
    address: str = ""
    browser: Browser | None = None
    timings: dict[str, tuple[float, float]] = field(default_factory=dict)
    day: int = 0

    def __post_init__(self) -> None:
        self.root = self.folder / "volume"
        self.root.mkdir()
        self.volume = DirectoryVolume(self.root)
        self.volume.prepare()
        for place in (SCRATCH, HOME, BUSY):
            self.volume.create(place, Owner(os.geteuid(), os.getegid(), 0o750))
        self.portal.policy = load_policy(change=switched_on)
        self.portal.clock.now = datetime.now(UTC) + timedelta(days=100)
        self.work = PurgeWork(
            self.portal.database, self.volume, self.root, self.folder / "records", KEY, self.portal.policy,
            nobody_has_any_open,
        )  # fmt: skip
        self.portal.purge_records = self.folder / "records"

    def at_the_browser(self, hub_name: str) -> Page:
        """Return a page of a fresh browser in which somebody has signed in."""
        assert self.browser is not None
        self.portal.hub.at_the_keyboard = hub_name
        page = self.browser.new_context().new_page()
        page.goto(self.address)
        expect(page.get_by_role("heading", name="My allocations")).to_be_visible()
        return page

    def write(self, place: Place, name: str, content: bytes) -> Path:
        path = self.volume.path(place) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def fill(self, n_files: int) -> None:
        """Old runs on scratch, work that goes on there, a thesis; a home and another's scratch beside it."""
        for number in range(n_files):
            folder = number // PER_FOLDER
            name = f"runs/run-{folder // FOLDERS_PER_RUN:03d}/{folder:05d}/{number % PER_FOLDER:02d}.dat"
            self.write(SCRATCH, name, b"%d" % number)
        for number in range(max(50, n_files // 100)):
            self.write(SCRATCH, f"in-hand/{number}", b"in hand %d" % number)
            self.write(HOME, f"papers/{number}", b"paper %d" % number)
            self.write(BUSY, f"runs/{number}", b"theirs %d" % number)

    def days_pass(self, days: int) -> list[purge_turns.Turned]:
        """Each day the daily job runs, and what was asked for is done; the person works on every fifth."""
        done = []
        for _ in range(days):
            self.day += 1
            self.portal.clock.forward(days=1)
            if self.day % 5 == 1:
                self._work_on()
            done += list(purge_turns.turn(self.work, now=self.portal.clock()))
            self.do_jobs()
        return done

    def everything(self) -> dict[bytes, Entry]:
        """Return a manifest with checksums of all places; what the driver keeps for itself is not in one."""
        own = KEPT.encode()
        return {path: entry for path, entry in manifest(self.root).items() if not path.startswith(own)}

    def do_jobs(self) -> delivery.Delivered:
        carrier = PurgeCarrier(self.work, self.portal.clock)
        rng = random.Random(1)  # noqa: S311 - spreads attempts, hides nothing
        return delivery.deliver(
            self.portal.database, {Channel.PURGES: carrier}, clock=self.portal.clock, rng=rng
        )

    def restores_a_folder(self, run: str, files: int) -> None:
        """Ada opens the plan in her browser, goes into `runs` and has one of them back with a click."""
        page = self.at_the_browser("astronomer")
        page.goto(self.address + "storage/purges")
        page.get_by_role("link", name="scratch/astronomer").click()
        page.get_by_role("link", name="runs", exact=True).click()
        page.get_by_role("button", name=f"Restore the folder {run}").click()
        expect(page.get_by_role("status")).to_contain_text("It is being put back")
        assert self.do_jobs().sent == 1
        page.reload()
        row = page.get_by_role("row", name=run)
        expect(row.get_by_role("cell").nth(3)).to_have_text(f"{files:,}")
        expect(row.get_by_role("button")).to_have_count(0)
        page.context.close()

    def asks_to_keep(self, folder: str) -> None:
        page = self.at_the_browser("astronomer")
        page.goto(self.address + "storage/purges")
        page.get_by_role("link", name="scratch/astronomer").click()
        for name in folder.split("/"):
            page.get_by_role("link", name=name, exact=True).click()
        page.get_by_label("Reason").fill("The paper's referee asked for these again.")
        page.get_by_role("button", name="Ask for an exemption").click()
        expect(page.get_by_role("status")).to_contain_text("Asked.")
        page.context.close()

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        start, cpu = time.perf_counter(), time.process_time()
        yield
        self.timings[what] = time.perf_counter() - start, time.process_time() - cpu

    def _work_on(self) -> None:
        """Touch what is in hand: a change dated by the clock of the test, which a kernel would give it."""
        # A minute ago: a time that is rounded into the future would count for nothing.
        moment = self.portal.clock().timestamp() - 60
        for path in (self.volume.path(SCRATCH) / "in-hand").iterdir():
            os.utime(path, (moment, moment))


@contextmanager
def lived(folder: Path) -> Iterator[Quarter]:
    """Yield a quarter about to begin, its portal served and a browser open."""
    with running_hub() as hub, portal_over(database_file(folder), hub) as portal:
        quarter = Quarter(folder, portal)
        with_people(portal)
        with portal.served() as address, chromium() as browser:
            quarter.address, quarter.browser = address + PREFIX, browser
            yield quarter


@dataclass(frozen=True)
class Outcome:
    """What is to be judged: manifests of everything before and after, and what log and database say."""

    before: dict[bytes, Entry]
    after: dict[bytes, Entry]
    deleted: set[bytes]
    planned: set[bytes]
    told: list[str]
    whats: list[str]
    heads_agree: bool
    restored: int
    of_who_works: PurgeState


def played(quarter: Quarter, n_files: int, *, run: str = "run-003") -> Outcome:
    """Play a whole quarter over so many old files; one run of them is restored in the browser."""
    with quarter.timed("write the files"):
        quarter.fill(n_files)
    quarter.portal.launch("teammate")
    with quarter.timed("manifest before"):
        before = quarter.everything()
    with quarter.timed("dry run, plan, notice: days 1 to 15"):
        quarter.days_pass(15)
    with quarter.timed("quarantine: day 16"):
        quarter.days_pass(1)
    files = PER_FOLDER * FOLDERS_PER_RUN
    with quarter.timed("restore a folder by a click"):
        quarter.restores_a_folder(run, files)
    quarter.asks_to_keep(f"runs/{run}")
    with quarter.timed("window: days 17 to 29"):
        quarter.days_pass(13)
    with quarter.timed("deletion: day 30"):
        quarter.days_pass(1)
    with quarter.timed("the rest of the quarter"):
        quarter.days_pass(DAYS - quarter.day)
    with quarter.timed("manifest after"):
        after = quarter.everything()
    return _outcome(quarter, before, after)


def _outcome(quarter: Quarter, before: dict[bytes, Entry], after: dict[bytes, Entry]) -> Outcome:
    with quarter.portal.database.reading_scope() as session:
        (row,), (theirs,) = (purges.latest(session, [place]) for place in (SCRATCH, BUSY))
    records = quarter.folder / "records" / row.id.hex
    log = SignedLog(records / LOG, KEY)
    with quarter.timed("check the signed log"):
        events = log.read()
    top = f"{SCRATCH}/".encode()
    listed = list(purging.listed(quarter.work.ground(SCRATCH), row.id.hex))
    return Outcome(
        before, after,
        deleted={top + b"/".join(file.path) for file, state in listed if state is State.DELETED},
        planned={top + b"/".join(file.path) for file, _ in listed},
        told=next(event["told"] for event in events if event["what"] == "noticed"),
        whats=[event["what"] for event in events if event["what"] not in ("looked", "taken", "going")],
        heads_agree=row.log_head == log.head and row.digest == plans.digest_of(records / PLAN),
        restored=row.restored, of_who_works=theirs.state,
    )  # fmt: skip


def figures(quarter: Quarter) -> str:
    """Return the timings as lines, and as JSON where somebody reads them by machine."""
    lines = [f"{what:42} {wall:8.2f} s {cpu:8.2f} s CPU" for what, (wall, cpu) in quarter.timings.items()]
    return "\n".join([*lines, json.dumps({"cpu_s": sum(cpu for _, cpu in quarter.timings.values())})])
