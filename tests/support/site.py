"""A portal in a real Chromium: one in use by many people, and one on its first day."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select
from tests.support.fake_hub import running_hub
from tests.support.portal import (
    JUSTIFICATION,
    PREFIX,
    TEAM,
    VAULT,
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
    with_snapshots,
)

from nexus_allocator.domain.care import QuestionState
from nexus_allocator.domain.mailing import LetterKind
from nexus_allocator.domain.outbox import OutgoingState
from nexus_allocator.domain.panel import Window
from nexus_allocator.domain.places import Place, PlaceKind, Usage
from nexus_allocator.domain.quotas import GB
from nexus_allocator.services import (
    allocations,
    enterings,
    erasure,
    maintenance,
    outbox,
    panels,
    places,
    portal_lists,
    questions,
    requests,
    storage_quotas,
    suspensions,
    webhooks,
)
from nexus_allocator.services.rights import person_called
from nexus_allocator.store import outbox as outgoing_rows
from nexus_allocator.store import questions as question_rows
from nexus_allocator.store.tables import Person

# As long as the provider's names get, without a place to break them.
LONG_NAME = "Wilhelmina-Alexandrina-Constantia Featherstonehaugh-Cholmondeley-Majoribanks of Lower Peover"
LONG_TEAM = "High-Latitude-Wide-Area-Survey-Weak-Lensing-Shape-Measurement-Working-Group-2027"
LONG_TITLE = "Weak lensing shapes " + "https://example.org/proposals/" + "0123456789" * 10
LARGEST = 10**15


@dataclass(frozen=True)
class Site:
    """Browsers of people at a portal; ``words`` are the ids that pages name."""

    portal: PortalUnderTest
    browser: Browser
    root: str
    words: dict[str, str]

    def page(self, hub_name: str, *, scheme: str = "light", width: int = 1280) -> Page:
        """Return a page of a fresh browser in which ``hub_name`` has signed in."""
        self.portal.hub.at_the_keyboard = hub_name
        page = self.stranger(scheme=scheme, width=width)
        page.goto(self.root)
        expect(page.get_by_role("heading", name="My allocations")).to_be_visible()
        return page

    def stranger(self, *, scheme: str = "light", width: int = 1280) -> Page:
        """Return a page of a fresh browser in which nobody has signed in."""
        # Colours on their way from one scheme to the other are in neither.
        context = self.browser.new_context(
            color_scheme="dark" if scheme == "dark" else "light",
            viewport={"width": width, "height": 800},
            reduced_motion="reduce",
        )
        page = context.new_page()
        page.set_default_timeout(10_000)
        return page


@contextmanager
def busy_site(folder: Path, browser: Browser) -> Iterator[Site]:
    """Everything that the portal can show, filled."""
    with running_hub() as hub, portal_over(database_file(folder), hub) as portal:
        with_a_busy_month(portal)
        portal.person("newcomer", "Nia Newcomer")
        words = {"group": str(with_a_shared_team(portal)), "event": str(with_an_event(portal))}
        with_an_announcement(portal)
        words["question"] = str(with_a_question(portal))
        with portal.database.reading_scope() as session:
            words["request"] = str(portal_lists.waiting_requests(session)[0].id)
        words |= with_a_panel(portal) | with_care_of_people(portal) | with_long_names(portal)
        words |= with_purges(portal)
        with_an_outside(portal)
        with_places(portal)
        with_snapshots(portal.database, now=portal.clock())
        with portal.served() as address:
            yield Site(portal, browser, address + PREFIX, words)


@contextmanager
def bare_site(folder: Path, browser: Browser) -> Iterator[Site]:
    """An administrator and a reviewer, and nothing yet but launches that are held."""
    with running_hub() as hub, portal_over(database_file(folder), hub) as portal:
        portal.person("admin", "Alex Administrator", administrator=True)
        portal.person("reviewer", "Rae Reviewer")
        for name in ("admin", "reviewer"):
            portal.accept(name)
        words = with_an_empty_round(portal) | with_unanswered_questions(portal)
        with portal.database.session_scope() as session:
            maintenance.hold(
                session, message="The file system is being moved.", until=portal.clock() + timedelta(hours=3),
                actor="admin", now=portal.clock(),
            )  # fmt: skip
        with portal.served() as address:
            yield Site(portal, browser, address + PREFIX, words)


def with_care_of_people(portal: PortalUnderTest) -> dict[str, str]:
    """Somebody suspended, somebody erased, and Alex at Ada's server; return the ids that pages name."""
    for name in ("suspended", "leaving"):
        portal.person(name, name.title())
        portal.accept(name)
    now, rng = portal.clock(), random.Random(7)  # noqa: S311 - the same pseudonym each time
    with portal.database.session_scope() as session:
        admin = person_called(session, "admin").id
        suspensions.suspend(session, hub_name="suspended", reason="Mined coins.", actor="admin", now=now)
        erasure.erase(session, hub_name="leaving", typed="leaving", reason="Asked for.", actor=admin,
                      rng=rng, now=now)  # fmt: skip
        enterings.begin(session, administrator_id=admin, hub_name="astronomer", server_name="",
                        reason="The kernel does not start.", minutes=60, now=now)  # fmt: skip
        erased = session.scalars(select(Person.hub_name).where(Person.erased_at.is_not(None))).one()
    return {"erased": erased}


def with_long_names(portal: PortalUnderTest) -> dict[str, str]:
    """Somebody whose names, texts and credits are as long as they may be."""
    portal.person("long", LONG_NAME)
    portal.accept("long")
    portal.team("long-team", LONG_TEAM, lead="teammate", members=("long",))
    with portal.database.session_scope() as session:
        for account in ("long", "long-team"):
            allocations.grant(
                session, account=account, amount_micro=LARGEST - 1, reason="x" * 200, actor="admin",
                now=portal.clock(),
            )  # fmt: skip
        asked = requests.Ask("long", "team", JUSTIFICATION + "y" * 500, LONG_TITLE, 9_999_999,
                             grant_number="G" * 64, team_label="z" * 80,
                             members=tuple(f"colleague-{number}" for number in range(20)))  # fmt: skip
        made = requests.submit(session, asked, policy=portal.policy, hub_name="long", now=portal.clock()).id
    return {"long_person": "long", "long_team": "long-team", "long_request": str(made)}


def with_places(portal: PortalUnderTest) -> None:
    """A volume with everybody's home; Ada's is nearly full, the team's folder was looked into."""
    now = portal.clock()
    sizes = {"mosaics": 5, "catalogues-" + "of-the-deep-field-" * 6: 2, ".cache": 1}
    inner = [{"name": "F158", "bytes": GB}]
    folders = [{"name": name, "bytes": size * GB, "folders": inner} for name, size in sizes.items()]
    parts = {"folders": folders, "types": [{"name": ".asdf", "bytes": 8 * GB}],
             "ages": [{"name": "over a year", "bytes": 8 * GB}]}  # fmt: skip
    with portal.database.session_scope() as session:
        places.open_volume(session, "main", driver="btrfs", enforces=True, most_places=None, now=now)
    places.settle_all(portal.database, policy=portal.policy, now=now)
    with portal.database.session_scope() as session:
        for kind, name, size in ((PlaceKind.HOME, "astronomer", 9.5), (PlaceKind.TEAM, TEAM, 8)):
            found = places.called(session, Place(kind, name))
            used = Usage(round(size * GB), GB // 2, 0, None)
            storage_quotas.found(session, found.id, used, parts, terms=portal.policy.storage, now=now)


def with_an_outside(portal: PortalUnderTest) -> None:
    """An endpoint that is told of events, and mail that was given up."""
    now = portal.clock()
    with portal.database.session_scope() as session:
        webhooks.register(
            session, url="https://hooks.example.org/nexus/" + "a" * 120, events=["request.moved"], by=None,
            vault=VAULT, now=now,
        )  # fmt: skip
        ada = person_called(session, "astronomer").id
        outbox.mail(session, ada, LetterKind.SUSPENDED, key="given up", facts={}, now=now)
        row, _ = outgoing_rows.page(session, states=None, channel=None, limit=1, offset=0)[0]
        row.state, row.problem, row.attempts, row.over_at = OutgoingState.DEAD, "550 no such mailbox", 32, now


def with_an_empty_round(portal: PortalUnderTest) -> dict[str, str]:
    now = portal.clock()
    window = Window(now, now + timedelta(days=20), now + timedelta(days=40))
    with portal.database.session_scope() as session:
        made = panels.make_round(session, panels.RoundPlan("Autumn 2027", window), by=None, now=now)
        panels.appoint(session, "reviewer", by=None, now=now)
        return {"round": str(made.id)}


def with_unanswered_questions(portal: PortalUnderTest) -> dict[str, str]:
    """A what-if question whose answer failed, and one that is being computed."""
    asked: dict[str, UUID] = {}
    for name in ("failed", "running"):
        with portal.database.session_scope() as session:
            asked[name] = questions.ask(
                session, administrator_id=person_called(session, "admin").id, tiers_file=None,
                changes=["tiers.entry.credits=x0.5"], now=portal.clock(),
            )  # fmt: skip
            row = question_rows.by_id(session, asked[name])
            assert row is not None
            row.percent = 40
            if name == "failed":
                row.state, row.problem = QuestionState.FAILED, "The process that computed it ended with 1."
    return {name: str(found) for name, found in asked.items()}
