"""The API over a real database and the small hub, with people whose tokens the hub knows."""

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from fastapi import FastAPI
from sqlalchemy.orm import Session
from tests.support.allocator import INTERNAL_TOKEN, START, World, served
from tests.support.fake_hub import SERVICE_TOKEN, FakeHub
from tests.support.portal import a_plan, with_snapshots

from nexus_allocator.config import Settings
from nexus_allocator.domain.care import Level
from nexus_allocator.domain.panel import Window
from nexus_allocator.domain.places import Place, PlaceKind
from nexus_allocator.domain.purges import PurgeState
from nexus_allocator.domain.scopes import SCOPES
from nexus_allocator.domain.states import NoticeKind, Role
from nexus_allocator.main import create_app
from nexus_allocator.policy import load_policy
from nexus_allocator.services import (
    announcements,
    decisions,
    events,
    notices,
    offers,
    panels,
    questions,
    requests,
    storage,
    webhooks,
)
from nexus_allocator.services.rights import person_called
from nexus_allocator.store import meter, outbox, purges
from nexus_allocator.store.session import Database

V1 = "/services/nexus/api/v1"
EVERY_SCOPE = [scope.name for scope in SCOPES]
JUSTIFICATION = "We measure the shapes of 40,000 galaxies in the simulated survey and compare two PSF models."
ASK = {"account": "ada", "tier": "research", "justification": JUSTIFICATION}


@dataclass
class Api:
    """The service as programs of people ask it."""

    app: FastAPI
    world: World
    hub: FakeHub
    address: str
    http: httpx.Client
    words: dict[str, str] = field(default_factory=dict)

    def token(self, hub_name: str, *scopes: str) -> str:
        """Return a token of this person; without scopes named, with every one there is."""
        token = f"token-of-{hub_name}-{len(self.hub.tokens)}"
        self.hub.tokens[token] = (hub_name, "")
        self.hub.scopes_of[token] = list(scopes or EVERY_SCOPE)
        return token

    def ask(
        self, method: str, path: str, token: str | None, *, key: str | None = None, **request: Any
    ) -> httpx.Response:
        headers = {"Authorization": f"token {token}"} if token else {}
        if key is not None:
            headers["Idempotency-Key"] = key
        return self.http.request(method, V1 + path, headers=headers, **request)

    def restore(self, file: Path) -> None:
        """Bring the SQLite database back to a copy of it."""
        mine: Database = self.app.state.context.database
        mine.dispose()
        self.world.database.dispose()
        target = Path(str(mine.url.database))
        for rest in (target, target.with_name(f"{target.name}-wal"), target.with_name(f"{target.name}-shm")):
            rest.unlink(missing_ok=True)
        shutil.copy(file, target)


@contextmanager
def running_api(world: World, hub: FakeHub, database_url: str) -> Iterator[Api]:
    with running_service(world, hub.api_url, SERVICE_TOKEN, database_url) as (app, address, http):
        yield Api(app, world, hub, address, http)


@contextmanager
def running_service(
    world: World, hub_api_url: str, hub_token: str, database_url: str
) -> Iterator[tuple[FastAPI, str, httpx.Client]]:
    """Yield the service on the world's clock, before this hub, with its address and a client."""
    settings = Settings(
        database_url=database_url, hub_api_url=hub_api_url, hub_token=hub_token,
        internal_token=INTERNAL_TOKEN, worker_threads=4,
    )  # type: ignore[arg-type] # fmt: skip
    with world.database.session_scope() as session:
        # The meter goes by the real clock and would end what the world's clock lets run.
        meter.claim(session, meter.METER, holder="a test", until=datetime.max.replace(tzinfo=UTC), now=START)
    app = create_app(settings, load_policy())
    app.state.context = replace(app.state.context, clock=world.clock)
    with served(app) as address, httpx.Client(base_url=address, timeout=20, trust_env=False) as http:
        yield app, address, http
    app.state.portal.sign_in.close()
    app.state.portal.hub.close()
    app.state.context.database.dispose()


def with_people(api: Api) -> None:
    """Ada leads the team, Max manages it, Mia is in it, Sam is in none, and Alex administers.

    Everybody runs a server; Ada has a request and a notice; Sam is invited to another team.
    """
    world = api.world
    for name in ("ada", "max", "second", "mia", "sam", "guest"):
        world.astronomer(name)
    world.administrator("alex")
    world.accepts("alex")
    world.team("grism", "ada", "mia")
    for name in ("max", "second"):
        world.answers(name, world.invite("grism", name, by="ada", role=Role.MANAGER))
    world.team("deep", "alex")
    api.words = {
        "subgroup_id": str(world.group("grism", "Mosaics")),
        "invitation_id": str(world.invite("grism", "guest", by="ada")),
        "to_sam": str(world.invite("deep", "sam", by="alex")),
        "request_id": str(asked(world)),
        "notice_id": str(told(world)),
        **with_care(world),
        **with_purges(world),
        "row_id": str(outgoing(world)),
        "endpoint_id": str(endpoint(api)),
    }
    with_snapshots(world.database, now=world.clock())
    for name in ("ada", "max", "mia", "sam", "alex"):
        world.started(world.launch(name, account="grism" if name == "mia" else name).hold_id)


def with_a_panel(api: Api) -> None:
    """Rae reviews; Guest's request is before the panel, Max has an offer, and a what-if question stands."""
    world, now = api.world, api.world.clock()
    world.astronomer("rae")
    world.started(world.launch("rae").hold_id)
    window = Window(now - timedelta(days=1), now + timedelta(days=9), now + timedelta(days=20))
    with world.database.session_scope() as session:
        admin = person_called(session, "alex").id
        made = panels.make_round(session, panels.RoundPlan("Spring", window), by=admin, now=now)
        panels.appoint(session, "rae", by=admin, now=now)
        case, offered = (asked_for_a_team(session, world, name) for name in ("guest", "max"))
        given = decisions.Award(5_000_000, bypass="Urgent, and small.")
        offers.make(session, policy=world.policy, request_id=offered, administrator_id=admin, award=given,
                    now=now)  # fmt: skip
        question = questions.ask(
            session, administrator_id=admin, changes=["tiers.entry.credits=x0.5"], tiers_file=None, now=now
        )
        api.words |= {"round_id": str(made.id), "case_id": str(case), "offered_id": str(offered),
                      "question_id": str(question)}  # fmt: skip


def asked_for_a_team(session: Session, world: World, hub_name: str) -> UUID:
    ask = requests.Ask(hub_name, "team", JUSTIFICATION, team_label=f"Team of {hub_name}")
    return requests.submit(session, ask, policy=world.policy, hub_name=hub_name, now=world.clock()).id


def with_care(world: World) -> dict[str, str]:
    """An announcement, and a workshop that nobody has joined yet."""
    now = world.clock()
    with world.database.session_scope() as session:
        said = announcements.announce(
            session, level=Level.INFO, text="The archive is slow today", starts_at=now,
            ends_at=now + timedelta(days=1), actor="alex", now=now,
        )  # fmt: skip
        plan = events.Plan(
            label="Summer School", sizes=("small",), starts_at=now, ends_at=now + timedelta(days=4),
            most_people=60, per_person_micro=5_000_000,
        )  # fmt: skip
        rng = random.Random(1)  # noqa: S311 - the same code each time
        made = events.make(session, plan, policy=world.policy, actor="alex", rng=rng, now=now)
        return {"announcement_id": str(said), "event_id": str(made.id), "code": made.code}


def with_purges(world: World) -> dict[str, str]:
    """Ada's scratch and the team's folder in quarantine, her home announced, and an exemption asked for."""
    now, home = world.clock(), Place(PlaceKind.HOME, "ada")
    with world.database.session_scope() as session:
        ada = person_called(session, "ada")
        purge = a_plan(session, Place(PlaceKind.SCRATCH, "ada"), now=now)
        teams = a_plan(session, Place(PlaceKind.TEAM, "grism"), now=now)
        early = a_plan(session, home, now=now)
        found = purges.by_id(session, early)
        assert found is not None
        found.state = PurgeState.ANNOUNCED
        asked = storage.exempt(
            session, home, (), until=now + timedelta(days=9), reason="A thesis", by=ada.id, asked_by=ada.id,
            now=now,
        )  # fmt: skip
    words = {"purge": purge, "purge_id": purge, "teams_purge": teams, "early_purge": early}
    return {name: str(each) for name, each in {**words, "exemption_id": asked}.items()}


def asked(world: World) -> UUID:
    with world.database.session_scope() as session:
        ask = requests.Ask(**ASK)
        return requests.submit(session, ask, policy=world.policy, hub_name="ada", now=world.clock()).id


def told(world: World) -> UUID:
    with world.database.session_scope() as session:
        ada = person_called(session, "ada")
        notices.tell(
            session, ada.id, NoticeKind.LEADS_TEAM, key="leads", facts={"team": "x"}, now=world.clock()
        )
        return notices.unread(session, hub_name="ada")[0].id


def outgoing(world: World) -> UUID:
    """Return a row of the outbox."""
    with world.database.reading_scope() as session:
        return outbox.page(session, states=None, channel=None, limit=1, offset=0)[0][0].id


def endpoint(api: Api) -> UUID:
    with api.world.database.session_scope() as session:
        return webhooks.register(
            session, url="https://hooks.example", events=["request.moved"], by=None, now=api.world.clock(),
            vault=api.app.state.context.vault,
        )[0].id  # fmt: skip
