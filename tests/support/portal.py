"""The portal over a real SQLite database and the small hub, with people who have a past."""

import random
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import httpx
import uvicorn
from fastapi import FastAPI
from sqlalchemy.orm import Session
from tests.support.fake_hub import SERVICE_TOKEN, FakeHub

from nexus_allocator.clients.hub import HubClient
from nexus_allocator.domain.care import Level
from nexus_allocator.domain.panel import Opinion, Window
from nexus_allocator.domain.places import Place, PlaceKind
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.purges import PurgeState
from nexus_allocator.domain.states import NoticeKind, Role, ShareKind, StopReason, TierSlug
from nexus_allocator.domain.stops import Evidence
from nexus_allocator.domain.webhooks import Reach
from nexus_allocator.policy import load_policy
from nexus_allocator.services import (
    admission,
    announcements,
    decisions,
    events,
    holds,
    invitations,
    notices,
    offers,
    panels,
    people,
    questions,
    requests,
    reviews,
    shares,
    snapshot_asks,
    stops,
    storage,
    teams,
)
from nexus_allocator.services.rights import person_called
from nexus_allocator.services.webhooks import Vault
from nexus_allocator.store import places, purges
from nexus_allocator.store.purge_tables import Purge, PurgeReport
from nexus_allocator.store.schema import upgrade
from nexus_allocator.store.session import Database
from nexus_allocator.web.app import portal_app
from nexus_allocator.web.context import Portal
from nexus_allocator.web.oauth import HubSignIn

PREFIX = "/services/nexus/"
TEAM = "wide-field-demo"
NOW = datetime(2027, 3, 15, 14, 30, tzinfo=UTC)
GRACE_MINUTES = 10
VAULT = Vault("a key for tests", Reach.PUBLIC)
JUSTIFICATION = (
    "We measure the shapes of 40,000 galaxies in the simulated high-latitude survey and compare two PSF "
    "models. Pilot runs on 3 detectors took 0.4 h each on a Small server; the whole field needs about "
    "900 Medium hours."
)


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **length: float) -> None:
        self.now += timedelta(**length)


@dataclass
class PortalUnderTest:
    database: Database
    hub: FakeHub
    policy: Policy
    clock: Clock = field(default_factory=Clock)
    signed_in_by: HubSignIn | None = None
    clients: list[HubClient] = field(default_factory=list)
    app: FastAPI | None = None
    purge_records: Path | None = None
    store_bucket: str | None = "nexus"
    # In place of the database's own.
    scope: Callable[[], AbstractContextManager[Session]] | None = None

    def application(self, *, prefix: str = PREFIX) -> FastAPI:
        self.clients.append(HubClient(self.hub.api_url, SERVICE_TOKEN, timeout_s=5))
        self.signed_in_by = HubSignIn(
            hub_api_url=self.hub.api_url,
            hub_token=SERVICE_TOKEN,
            hub_public_url=self.hub.url,
            prefix=prefix,
            service="nexus",
        )
        portal = Portal(
            session_scope=self.scope or self.database.session_scope,
            reading_scope=self.database.reading_scope,
            policy=self.policy,
            hub=self.clients[-1],
            sign_in=self.signed_in_by,
            prefix=prefix,
            hub_public_url=self.hub.url,
            secure_cookies=False,
            clock=self.clock,
            vault=VAULT,
            purge_records=self.purge_records,
            store_bucket=self.store_bucket,
        )
        self.app = FastAPI()
        self.app.mount(prefix.rstrip("/"), portal_app(portal))
        return self.app

    def begin_again(self, database: Path) -> None:
        """Forget everything: the database becomes a copy of ``database``, hub and clock are as at first."""
        self.database.dispose()
        file = Path(str(self.database.url.database))
        for rest in (file, file.with_name(f"{file.name}-wal"), file.with_name(f"{file.name}-shm")):
            rest.unlink(missing_ok=True)
        shutil.copy(database, file)
        self.hub.forget()
        self.clock.now = NOW
        if self.signed_in_by is not None:
            self.signed_in_by.hub.cache.clear()

    @contextmanager
    def served(self) -> Iterator[str]:
        """Serve the portal and tell the hub where a browser finds it."""
        with served(self.application()) as address:
            self.hub.public_url = address
            yield address

    def person(self, hub_name: str, display_name: str, *, administrator: bool = False) -> UUID:
        with self.database.session_scope() as session:
            person = people.sign_in(
                session,
                issuer="https://provider.example",
                subject=hub_name,
                preferred_username=hub_name,
                display_name=display_name,
                email=f"{hub_name}@example.org",
                is_administrator=administrator,
                now=self.clock(),
            )
            assert person.hub_name == hub_name
            return person.id

    def accept(self, hub_name: str) -> None:
        with self.database.session_scope() as session:
            people.accept_agreement(
                session,
                policy=self.policy,
                hub_name=hub_name,
                version=self.policy.agreement.version,
                now=self.clock(),
            )

    def team(self, slug: str, label: str, *, lead: str, members: tuple[str, ...] = ()) -> None:
        with self.database.session_scope() as session:
            teams.create(
                session,
                policy=self.policy,
                slug=slug,
                label=label,
                tier=TierSlug.TEAM,
                actor="nexus",
                now=self.clock(),
            )
            for name, role in [(lead, Role.LEAD), *((member, Role.MEMBER) for member in members)]:
                teams.add_member(session, team=slug, hub_name=name, role=role, now=self.clock())

    def launch(
        self,
        hub_name: str,
        *,
        server: str = "",
        account: str | None = None,
        size: str = "small",
        hours: float = 2,
        started: bool = True,
    ) -> UUID:
        asked = admission.Launch(hub_name, server, account or hub_name, size, "nexus", hours)
        with self.database.session_scope() as session:
            admitted = admission.admit(
                session, asked, policy=self.policy, grace_minutes=GRACE_MINUTES, now=self.clock()
            )
            if started:
                holds.started(session, admitted.hold_id, process_started_at=self.clock())
        return admitted.hold_id

    def seen(self, hold_id: UUID, *, started_at: datetime) -> None:
        with self.database.session_scope() as session:
            holds.witness(
                session,
                hold_id,
                process_started_at=started_at,
                at=self.clock(),
                posting_interval=timedelta(hours=1),
            )

    def stopped(self, hold_id: UUID, evidence: Evidence) -> None:
        with self.database.session_scope() as session:
            holds.stopped(session, hold_id, evidence, now=self.clock())

    def intend(self, hub_name: str, reason: str, actor: str, *, server: str = "") -> None:
        with self.database.session_scope() as session:
            stops.record_intent(
                session,
                hub_name=hub_name,
                server_name=server,
                reason=reason,
                actor=actor,
                now=self.clock(),
            )

    def ran(self, hub_name: str, *, hours: float, reason: str | None = None, **launched: Any) -> UUID:
        """Run a server from now on for ``hours``; the clock stands at its end afterwards."""
        began = self.clock()
        hold_id = self.launch(hub_name, hours=min(24, max(0.25, -(-hours // 0.25) * 0.25)), **launched)
        self.clock.forward(hours=hours)
        self.seen(hold_id, started_at=began)
        if reason:
            self.intend(hub_name, reason, "nexus", server=launched.get("server", ""))
        self.stopped(hold_id, Evidence(stopped_at=self.clock(), alive_at_stop=True))
        return hold_id

    def ask(
        self, hub_name: str, tier: str, *, account: str | None = None, team_label: str | None = None
    ) -> UUID:
        with self.database.session_scope() as session:
            asked = requests.Ask(account or hub_name, tier, JUSTIFICATION, team_label=team_label)
            return requests.submit(session, asked, policy=self.policy, hub_name=hub_name, now=self.clock()).id


def database_file(folder: Path) -> Path:
    """Make a migrated SQLite database and return its file, which can be copied."""
    file = folder / "allocator.sqlite"
    database = Database(f"sqlite:///{file}")
    upgrade(database)
    database.dispose()
    return file


@contextmanager
def portal_over(database: Path | str, hub: FakeHub) -> Iterator[PortalUnderTest]:
    """Yield a portal over a SQLite file or the database at a URL; it may still be empty."""
    opened = Database(f"sqlite:///{database}" if isinstance(database, Path) else database)
    portal = PortalUnderTest(opened, hub, load_policy())
    try:
        yield portal
    finally:
        for client in portal.clients:
            client.close()
        opened.dispose()


def with_people(portal: PortalUnderTest) -> None:
    """Ada (leads the team), Tomo (in the team) and Alex (administrator); all have accepted."""
    portal.person("astronomer", "Ada Astronomer")
    portal.person("teammate", "Tomo Teammate")
    portal.person("admin", "Alex Administrator", administrator=True)
    for name in ("astronomer", "teammate", "admin"):
        portal.accept(name)
    portal.team("wide-field-demo", "Wide Field Demo", lead="astronomer", members=("teammate",))


def with_a_busy_month(portal: PortalUnderTest) -> None:
    """Thirty days of servers of three people, running servers, and requests in every state."""
    end, rng = portal.clock.now, random.Random(20270315)  # noqa: S311 - the same past each time
    portal.clock.now = end - timedelta(days=31)
    with_people(portal)
    reasons = [None, None, StopReason.IDLE, None, StopReason.PLANNED_HOURS, None]
    for day in range(30):
        portal.clock.now = (end - timedelta(days=30 - day)).replace(hour=8, minute=rng.randrange(60))
        if rng.random() < 0.72:
            portal.ran("astronomer", hours=rng.uniform(0.4, 6), reason=rng.choice(reasons))
        if rng.random() < 0.6:
            size = rng.choice(["medium", "large"])
            portal.ran("teammate", account="wide-field-demo", size=size, hours=rng.uniform(1, 9))
        if rng.random() < 0.4:
            portal.ran("astronomer", account="wide-field-demo", size="large", hours=rng.uniform(1, 7))
    denied = portal.ask("teammate", "research")
    portal.clock.now = end - timedelta(hours=3)
    began = portal.clock.now
    own = portal.launch("astronomer", hours=4)
    portal.clock.forward(minutes=1)
    shared = portal.launch("teammate", account="wide-field-demo", size="large", hours=8, server="mosaics")
    portal.clock.now = end
    portal.seen(own, started_at=began)
    portal.seen(shared, started_at=began + timedelta(minutes=1))
    portal.launch("astronomer", server="survey", account="wide-field-demo", size="medium", started=False)
    decide(portal, denied)
    portal.ask("astronomer", "research")
    send_back(portal, portal.ask("teammate", "research"))


def with_a_shared_team(portal: PortalUnderTest) -> UUID:
    """The team of the busy month divides its credits and invites; return its sub-group."""
    by, now = "astronomer", portal.clock()
    with portal.database.session_scope() as session:
        group = shares.make_subgroup(session, team=TEAM, label="Grism", by=by, now=now).id
        shares.group(session, team=TEAM, member="teammate", subgroup_id=group, by=by, now=now)
        for holder, kind, credits_micro in (
            (shares.Holder(subgroup_id=group), ShareKind.FAIR, 1_500_000_000),
            (shares.Holder("teammate"), ShareKind.CAP, 400_000_000),
        ):
            shares.set_share(
                session, team=TEAM, holder=holder, kind=kind, amount_micro=credits_micro, by=by, now=now
            )
        for whom in ("newcomer", "somebody.new@example.org"):
            invitations.invite(session, policy=portal.policy, team=TEAM, whom=whom, by=by, now=now)
        notices.tell(
            session, people.person_called(session, "astronomer").id, NoticeKind.MEMBER_JOINED, key="past",
            facts={"team": "Wide Field Demo", "person": "teammate"}, now=now,
        )  # fmt: skip
    return group


def with_a_panel(portal: PortalUnderTest) -> dict[str, str]:
    """A round with a request reviewed once and one offered other terms; return the ids that pages name."""
    now, policy = portal.clock(), portal.policy
    for name in ("reviewer", "colleague", "solo", "duo"):
        portal.person(name, f"{name.title()} Person")
        portal.accept(name)
    window = Window(now - timedelta(days=9), now + timedelta(days=20), now + timedelta(days=40))
    with portal.database.session_scope() as session:
        by = people.person_called(session, "admin").id
        made = panels.make_round(
            session, panels.RoundPlan("Spring 2027", window, 20_000_000_000), by=by, now=now
        )
        for name in ("reviewer", "colleague"):
            panels.appoint(session, name, by=by, now=now)
    with portal.database.session_scope() as session:
        ids = {}
        for name, exposures in (("solo", 4_000), ("duo", 40_000)):
            asked = requests.Ask(name, "team", JUSTIFICATION, f"Survey of {name}", exposures, team_label=name)
            ids[name] = requests.submit(session, asked, policy=policy, hub_name=name, now=now).id
            for reviewer, score in (("colleague", 4), ("reviewer", 2))[: 2 if name == "duo" else 1]:
                said = Opinion(
                    {each.slug: score for each in policy.panel.criteria}, "Well argued.", "Go deeper."
                )
                reviews.give(session, ids[name], said, hub_name=reviewer, policy=policy, now=now)
        award = decisions.Award(900_000_000, note="One field first, please.")
        offers.make(session, policy=policy, request_id=ids["duo"], administrator_id=by, award=award, now=now)
    return {"case": str(ids["solo"]), "offered": str(ids["duo"]), "round": str(made.id)}


def with_an_event(portal: PortalUnderTest) -> UUID:
    """A workshop of this week, which Tomo has joined; return its id."""
    now = portal.clock()
    plan = events.Plan(
        label="Roman Summer School", sizes=("small", "medium"), starts_at=now, most_people=60,
        ends_at=now + timedelta(days=4), per_person_micro=5_000_000,
    )  # fmt: skip
    with portal.database.session_scope() as session:
        rng = random.Random(1)  # noqa: S311 - the same code each time
        made = events.make(session, plan, policy=portal.policy, actor="admin", rng=rng, now=now)
        events.join(session, code=made.code, hub_name="teammate", now=now)
    return made.id


def with_an_announcement(portal: PortalUnderTest) -> UUID:
    now = portal.clock()
    with portal.database.session_scope() as session:
        return announcements.announce(
            session, level=Level.WARNING, text="The archive is slow today: large mosaics take longer.",
            starts_at=now, ends_at=now + timedelta(days=1), actor="admin", now=now,
        )  # fmt: skip


def with_a_question(portal: PortalUnderTest, *, people: int = 60) -> UUID:
    """An administrator's what-if question with its answer, of a small population."""
    changes = ["tiers.entry.credits=x0.5"]
    with portal.database.session_scope() as session:
        asked = questions.ask(
            session, administrator_id=person_called(session, "admin").id, changes=changes, tiers_file=None,
            now=portal.clock(),
        )  # fmt: skip
    questions.answer_in_background(
        portal.database.session_scope, asked, changes, tiers_file=None, people=people, clock=portal.clock
    ).join(60)
    return asked


def with_snapshots(database: Database, *, now: datetime) -> None:
    """Every home and team folder was seen to have a snapshot of a Sunday and one of the Monday before."""
    with database.session_scope() as session:
        for row in places.every(session):
            snapshot_asks.keep_seen(session, row.place, ("2026-02-23", "2026-03-01"), now=now)


def with_purges(portal: PortalUnderTest) -> dict[str, str]:
    """Ada's scratch and the team's folder wait in quarantine, and she asks to keep some; return the ids."""
    now = portal.clock()
    with portal.database.session_scope() as session:
        ada = person_called(session, "astronomer")
        plans = {
            "purge": a_plan(session, Place(PlaceKind.SCRATCH, "astronomer"), now=now),
            "teams_purge": a_plan(session, Place(PlaceKind.TEAM, TEAM), now=now),
        }
        asked = storage.exempt(
            session, Place(PlaceKind.SCRATCH, "astronomer"), (b"thesis",), until=now + timedelta(days=90),
            reason="The referee asked for it", by=ada.id, asked_by=ada.id, now=now,
        )  # fmt: skip
    return {name: str(each) for name, each in {**plans, "exemption_id": asked}.items()}


def a_plan(session: Session, place: Place, *, now: datetime) -> UUID:
    """A plan of two folders whose files were taken yesterday, one of them restored; return its id."""
    facts = {"policy": "unused for 60 days", "grace_days": 14, "window_days": 14, "left": 0, "deleted": 0}
    row = Purge(
        id=uuid4(), place_kind=place.kind, place_name=place.name, rule="scratch", files=3, waiting=2,
        size_bytes=7_300_000_000, state=PurgeState.RESTORED_IN_PART, restored=1, digest="d" * 64,
        log_head="f" * 64, planned_at=now - timedelta(days=15), announced_at=now - timedelta(days=15),
        quarantined_at=now - timedelta(days=1), next_at=now + timedelta(days=13), **facts,
    )  # fmt: skip
    purges.add(session, row)
    parts = (("runs", 0, 2, "23"), ("runs/a%20folder/of%20one", 2, 1, "2"))
    purges.add_folders(
        session,
        [{"purge_id": row.id, "first": first, "path": path, "files": files, "size_bytes": 10**9,
          "list_offset": 0, "fates": fates} for path, first, files, fates in parts],
    )  # fmt: skip
    purges.note_told(session, row.id, storage.answerable(session, place), NoticeKind.PURGE_PLANNED, now=now)
    found = PurgeReport(
        rule="scratch", place_kind=place.kind, place_name=place.name, policy="unused for 60 days", files=3,
        size_bytes=7_300_000_000, since=now, made_at=now,
    )  # fmt: skip
    purges.put_report(session, found)
    return row.id


def decide(portal: PortalUnderTest, denied: UUID) -> None:
    with portal.database.session_scope() as session:
        admin = people.person_called(session, "admin").id
        decisions.deny(
            session,
            request_id=denied,
            administrator_id=admin,
            reason="The team account you belong to covers this work; please charge it there.",
            now=portal.clock(),
        )


def send_back(portal: PortalUnderTest, request_id: UUID) -> None:
    with portal.database.session_scope() as session:
        admin = people.person_called(session, "admin").id
        decisions.send_back(
            session,
            request_id=request_id,
            administrator_id=admin,
            reason="Which field, and how deep?",
            now=portal.clock(),
        )


@contextmanager
def served(application: FastAPI) -> Iterator[str]:
    """Serve an application over real HTTP on a free loopback port; yield its address."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(application, lifespan="off", ws="none", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started:
        assert time.monotonic() < deadline, "the portal did not start"
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()


class Visitor:
    """A browser without scripts: keeps cookies, follows redirects by hand, fills the forms it was given."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.client = httpx.Client(base_url=address, timeout=10, trust_env=False, verify=False)  # noqa: S501 - plain HTTP
        self.page = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()

    def at_the_hub(self, location: str) -> str:
        """Visit the hub's page that authorises; return where it sends the browser."""
        with httpx.Client(cookies=self.hub_cookies(), trust_env=False, verify=False) as other:  # noqa: S501
            answer = other.get(location)
        for name, value in answer.cookies.items():
            self.client.cookies.set(name, value)
        return answer.headers["Location"]

    def hub_cookies(self) -> dict[str, str]:
        return {name: value for name, value in self.client.cookies.items() if name == "jupyterhub-session-id"}

    def sign_in(self, path: str = "") -> httpx.Response:
        """Open a page and go all the way through the hub and back to it."""
        to_sign_in = self.client.get(PREFIX + path)
        assert to_sign_in.status_code == 303, to_sign_in.text
        to_hub = self.client.get(to_sign_in.headers["Location"])
        back = self.client.get(self.at_the_hub(to_hub.headers["Location"]))
        assert back.status_code == 303, back.text
        return self.follow(back)

    def open(self, path: str = "", **query: str) -> httpx.Response:
        return self.keep(self.client.get(PREFIX + path, params=query))

    def post(self, path: str, *, csrf: str | None = None, **form: str) -> httpx.Response:
        """Post a form with the proof of the page opened before, or with the one given."""
        proof = {"csrf": self.csrf if csrf is None else csrf}
        return self.keep(self.client.post(PREFIX + path, data={**proof, **form}))

    def follow(self, answer: httpx.Response) -> httpx.Response:
        assert answer.status_code == 303, answer.text
        return self.keep(self.client.get(answer.headers["Location"]))

    def keep(self, answer: httpx.Response) -> httpx.Response:
        if 'name="csrf"' in answer.text:
            self.page = answer.text
        return answer

    @property
    def csrf(self) -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', self.page)
        assert found, "no form was opened before"
        return found.group(1)


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def text_of(html: str) -> str:
    """Return what a page says, tags and repeated space taken out."""
    body = re.sub(r"<(script|style|title|desc)\b.*?</\1>", " ", html, flags=re.S)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", body))).strip()
