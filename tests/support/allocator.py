"""Builders and fakes for the allocation service: a world with a clock, people and accounts, and a hub."""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

import httpx
import uvicorn
from fastapi import FastAPI
from tests.support.postgres import free_port

from nexus_allocator.clients.hub import HubClient
from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.notices import notice_sentence
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.states import Role, ShareKind, TierSlug
from nexus_allocator.domain.stops import Evidence
from nexus_allocator.policy import load_policy
from nexus_allocator.services import (
    admission,
    allocations,
    endings,
    events,
    holds,
    invitations,
    memberships,
    metering,
    notices,
    offers,
    people,
    shares,
    stops,
    team_reading,
    teams,
)
from nexus_allocator.services.request_moves import turn_all
from nexus_allocator.store import accounts, ledger
from nexus_allocator.store import holds as hold_rows
from nexus_allocator.store.session import Database
from nexus_allocator.store.tables import Allocation, Hold

ISSUER = "https://provider.test"
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
GRACE_MINUTES = 10
HUB_TOKEN = "hub-token-for-tests"
INTERNAL_TOKEN = "internal-token-for-tests"
METRICS_TOKEN = "metrics-token-for-tests"
# Runs a command of the operator; its exit code and what it said on both streams.
Run = Callable[..., tuple[int, str, str]]
TERMS = metering.Terms(
    interval=timedelta(seconds=60), posting_interval=timedelta(hours=1), start_timeout=timedelta(seconds=30)
)


@dataclass
class Clock:
    """Time as the test wants it."""

    at: datetime = START

    def __call__(self) -> datetime:
        return self.at

    def forward(self, **span: float) -> datetime:
        self.at += timedelta(**span)
        return self.at


@dataclass
class World:
    """A migrated database with what the services need; its methods are the sentences of the tests."""

    database: Database
    clock: Clock = field(default_factory=Clock)
    policy: Policy = field(default_factory=load_policy)

    def signed_in(self, name: str, *, is_administrator: bool = False) -> UUID:
        with self.database.session_scope() as session:
            person = people.sign_in(
                session, issuer=ISSUER, subject=name, preferred_username=name, display_name=name.title(),
                email=f"{name}@example.org", is_administrator=is_administrator, now=self.clock(),
            )  # fmt: skip
            return person.id

    def accepts(self, hub_name: str, version: str | None = None) -> None:
        with self.database.session_scope() as session:
            people.accept_agreement(
                session, policy=self.policy, hub_name=hub_name, now=self.clock(),
                version=version or self.policy.agreement.version,
            )  # fmt: skip

    def astronomer(self, name: str = "astronomer") -> UUID:
        """A person who accepted the agreement, and so has an Entry account."""
        person_id = self.signed_in(name)
        self.accepts(name)
        return person_id

    def administrator(self, name: str = "admin") -> UUID:
        return self.signed_in(name, is_administrator=True)

    def team(self, slug: str, *members: str, tier: TierSlug = TierSlug.TEAM) -> None:
        """A team whose first member leads it."""
        with self.database.session_scope() as session:
            teams.create(
                session, policy=self.policy, slug=slug, label=slug.title(), tier=tier, actor="test",
                now=self.clock(),
            )  # fmt: skip
            for number, name in enumerate(members):
                role = Role.MEMBER if number else Role.LEAD
                teams.add_member(session, team=slug, hub_name=name, role=role, now=self.clock())

    def invite(self, team: str, whom: str, *, by: str | None = None, role: Role = Role.MEMBER) -> UUID:
        with self.database.session_scope() as session:
            made = invitations.invite(
                session, policy=self.policy, team=team, whom=whom, by=by, role=role, now=self.clock()
            )
            return made.id

    def answers(self, hub_name: str, invitation_id: UUID, *, yes: bool = True) -> None:
        answer = invitations.accept if yes else invitations.decline
        with self.database.session_scope() as session:
            answer(session, invitation_id, hub_name=hub_name, now=self.clock())

    def leaves(self, hub_name: str, team: str) -> list[stops.ToStop]:
        with self.database.session_scope() as session:
            return memberships.leave(session, team=team, hub_name=hub_name, now=self.clock())

    def remove(self, hub_name: str, team: str, *, by: str | None = None) -> list[stops.ToStop]:
        with self.database.session_scope() as session:
            return memberships.remove(
                session, team=team, member=hub_name, reason="for the test", by=by, now=self.clock()
            )

    def share(self, team: str, holder: str | UUID, amount: float, kind: ShareKind = ShareKind.CAP) -> None:
        """Give a member, or a sub-group by its id, a part of the team's credits."""
        named = shares.Holder(subgroup_id=holder) if isinstance(holder, UUID) else shares.Holder(holder)
        with self.database.session_scope() as session:
            shares.set_share(
                session, team=team, holder=named, kind=kind, amount_micro=round(amount * MICRO), by=None,
                now=self.clock(),
            )  # fmt: skip

    def unshare(self, team: str, holder: str | UUID) -> None:
        named = shares.Holder(subgroup_id=holder) if isinstance(holder, UUID) else shares.Holder(holder)
        with self.database.session_scope() as session:
            shares.lift_share(session, team=team, holder=named, by=None, now=self.clock())

    def group(self, team: str, label: str, *members: str) -> UUID:
        with self.database.session_scope() as session:
            made = shares.make_subgroup(session, team=team, label=label, by=None, now=self.clock()).id
            for name in members:
                shares.group(session, team=team, member=name, subgroup_id=made, by=None, now=self.clock())
            return made

    def regroup(self, team: str, member: str, group: UUID | None) -> None:
        with self.database.session_scope() as session:
            shares.group(session, team=team, member=member, subgroup_id=group, by=None, now=self.clock())

    def end_group(self, team: str, group: UUID) -> None:
        with self.database.session_scope() as session:
            shares.end_subgroup(session, team=team, subgroup_id=group, by=None, now=self.clock())

    def turn(self) -> int:
        """Let the clock move requests and allocations."""
        turn_all(self.database, policy=self.policy, now=self.clock())
        offers.turn_all(self.database, now=self.clock())
        invitations.turn_all(self.database, now=self.clock())
        events.turn_all(self.database, now=self.clock())
        return endings.turn_all(self.database, policy=self.policy, now=self.clock())

    def event(self, label: str = "Summer School", **changes: Any) -> events.EventRow:
        """An event that has just begun and lasts two days, of two credits for each of three people."""
        now = self.clock()
        plan = events.Plan(
            label=label, sizes=("small",), starts_at=now, ends_at=now + timedelta(days=2), most_people=3,
            per_person_micro=2 * MICRO,
        )  # fmt: skip
        with self.database.session_scope() as session:
            return events.make(
                session, replace(plan, **changes), policy=self.policy, actor="operator ops",
                rng=random.Random(label), now=now,  # noqa: S311 - the same code each time
            )  # fmt: skip

    def joins(self, hub_name: str, code: str) -> str:
        with self.database.session_scope() as session:
            return events.join(session, code=code, hub_name=hub_name, now=self.clock())

    def allocation(self, account: str) -> Allocation:
        with self.database.reading_scope() as session:
            found = accounts.by_slug(session, account)
            assert found is not None
            return found.allocation

    def ends(self, account: str, at: datetime, *, tier: TierSlug | None = None) -> None:
        """Let the allocation end at another moment, or be of another tier, as if it had been awarded so."""
        with self.database.session_scope() as session:
            found = accounts.by_slug(session, account)
            assert found is not None
            found.allocation.tier = tier or found.allocation.tier
            endings.begin_anew(session, found.allocation, expires_at=at)

    def team_page(self, team: str, viewer: str) -> team_reading.TeamPage:
        with self.database.reading_scope() as session:
            return team_reading.team_page(session, slug=team, hub_name=viewer, now=self.clock())

    def told(self, hub_name: str) -> list[str]:
        with self.database.reading_scope() as session:
            told = notices.unread(session, hub_name=hub_name)
        return [notice_sentence(each.kind, each.facts) for each in told]

    def grant(self, account: str, amount: float) -> None:
        self._enter(allocations.grant, account, amount)

    def correct(self, account: str, amount: float) -> None:
        self._enter(allocations.correct, account, amount)

    def transfer(self, source: str, target: str, amount: float) -> None:
        with self.database.session_scope() as session:
            allocations.transfer(
                session, source=source, target=target, amount_micro=round(amount * MICRO),
                reason="for the test", actor="test", now=self.clock(),
            )  # fmt: skip

    def _enter(self, act: Any, account: str, amount: float) -> None:
        with self.database.session_scope() as session:
            act(session, account=account, amount_micro=round(amount * MICRO), reason="for the test",
                actor="test", now=self.clock())  # fmt: skip

    def launch(self, hub_name: str = "astronomer", **changes: Any) -> admission.Admission:
        wish = admission.Launch(
            hub_name=hub_name, server_name="", account=hub_name, size="small", image="nexus", hours=2
        )
        with self.database.session_scope() as session:
            return admission.admit(
                session, replace(wish, **changes), policy=self.policy, grace_minutes=GRACE_MINUTES,
                now=self.clock(),
            )  # fmt: skip

    def started(self, hold_id: UUID, at: datetime | None = None) -> datetime:
        at = at or self.clock()
        with self.database.session_scope() as session:
            holds.started(session, hold_id, process_started_at=at)
        return at

    def seen(self, hold_id: UUID, started_at: datetime) -> None:
        with self.database.session_scope() as session:
            holds.witness(
                session, hold_id, process_started_at=started_at, at=self.clock(),
                posting_interval=TERMS.posting_interval,
            )  # fmt: skip

    def stopped(self, hold_id: UUID, **evidence: Any) -> None:
        with self.database.session_scope() as session:
            holds.stopped(session, hold_id, Evidence(**evidence), now=self.clock())

    def hold(self, hold_id: UUID) -> Hold:
        with self.database.reading_scope() as session:
            found = hold_rows.by_id(session, hold_id)
            assert found is not None
            return found

    def figures(self, account: str) -> "Figures":
        with self.database.reading_scope() as session:
            found = accounts.by_slug(session, account)
            assert found is not None
            allocation_id = found.allocation.id
            return Figures(
                ledger.balance(session, allocation_id),
                ledger.held(session, allocation_id),
                ledger.unposted(session, allocation_id),
            )


@dataclass(frozen=True)
class Figures:
    balance: int
    held: int
    unposted: int

    @property
    def available(self) -> int:
        return self.balance - self.held


@dataclass
class FakeHub:
    """A small hub over real HTTP: it pages at 50 as JupyterHub does, and can be starting, slow or broken."""

    port: int
    servers: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    status: int = 200
    broken_page: int | None = None
    asked: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    stops: list[tuple[str, str]] = field(default_factory=list)
    people_tokens: dict[str, list[str]] = field(default_factory=dict)
    while_stopping: Callable[[], None] | None = None
    strays: list[UUID] = field(default_factory=list)

    page_limit: int = 50

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hub/api"

    def client(self, timeout_s: float = 2.0) -> HubClient:
        return HubClient(self.api_url, HUB_TOKEN, timeout_s=timeout_s)

    def runs(self, hub_name: str, hold_id: UUID, started_at: datetime, server_name: str = "") -> None:
        state = {"hold_id": str(hold_id), "process_started_at": started_at.isoformat(), "pid": 4711}
        self.servers[hub_name, server_name] = server(ready=True, state=state)

    def starts(self, hub_name: str, server_name: str = "") -> None:
        self.servers[hub_name, server_name] = server(ready=False, pending="spawn")

    def checks(self, hub_name: str, server_name: str = "") -> None:
        """As after a hub's start, while it still looks whether the process lives."""
        self.servers[hub_name, server_name] |= {"ready": False, "pending": "check"}

    def has_stopped(self, hub_name: str, server_name: str = "", **last_stop: Any) -> None:
        state = {"last_stop": last_stop} if last_stop else {}
        self.servers[hub_name, server_name] = server(ready=False, stopped=True, state=state)

    def end_tokens(self, name: str) -> int:
        if self.status != 200 or name not in self.people_tokens:
            return self.status if self.status != 200 else 404
        self.people_tokens[name] = []
        return 204

    def active(self) -> list[str]:
        names = [name for (name, _), shown in self.servers.items() if not shown["stopped"]]
        return list(dict.fromkeys(names))

    def user(self, name: str, *, stopped_too: bool) -> dict[str, Any]:
        shown = {
            server_name: shown
            for (owner, server_name), shown in self.servers.items()
            if owner == name and (stopped_too or not shown["stopped"])
        }
        return {"kind": "user", "name": name, "servers": shown}

    def page(self, offset: int, limit: int, *, stopped_too: bool) -> dict[str, Any]:
        names = list(dict.fromkeys(name for name, _ in self.servers)) if stopped_too else self.active()
        limit = min(limit, self.page_limit)
        following = {"offset": offset + limit, "limit": limit} if offset + limit < len(names) else None
        items = [self.user(name, stopped_too=stopped_too) for name in names[offset : offset + limit]]
        place = {"offset": offset, "limit": limit, "total": len(names), "next": following}
        return {"items": items, "_pagination": place}


def server(
    *, ready: bool, pending: str | None = None, stopped: bool = False, state: Any = None
) -> dict[str, Any]:
    return {"ready": ready, "pending": pending, "stopped": stopped, "state": state or {}, "user_options": {}}


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            hub.asked.append(self.path)
            hub.tokens.append(self.headers["Authorization"])
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            if hub.status != 200:
                self.answer(hub.status, {"message": "the hub is not well"})
            elif parts.path == "/hub/api/users":
                offset, limit = int(query["offset"]), int(query["limit"])
                broken = hub.broken_page is not None and offset >= hub.broken_page * hub.page_limit
                stopped_too = query.get("include_stopped_servers") == "1"
                self.answer(500 if broken else 200, hub.page(offset, limit, stopped_too=stopped_too))
            else:
                name = unquote(parts.path.removeprefix("/hub/api/users/"))
                known = name in {owner for owner, _ in hub.servers}
                self.answer(200 if known else 404, hub.user(name, stopped_too=True))

        def do_DELETE(self) -> None:
            if self.path.startswith("/hub/api/nexus/tokens/"):
                self.answer(hub.end_tokens(unquote(self.path.rpartition("/")[2])), None)
                return
            if self.path == "/hub/api/nexus/strays":
                hub.asked.append(self.path)
                self.answer(hub.status, {"ended": [str(each) for each in hub.strays]})
                hub.strays.clear()
                return
            words = [unquote(word) for word in self.path.removeprefix("/hub/api/users/").split("/")]
            hub.stops.append((words[0], words[2] if words[1] == "servers" else ""))
            if hub.while_stopping is not None:
                hub.while_stopping()
            self.answer(hub.status if hub.status != 200 else 202, None)

        def answer(self, status: int, body: Any) -> None:
            sent = b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

    return Handler


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """Run a fake hub on a free loopback port."""
    hub = FakeHub(port=0)
    listener = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.port = listener.server_address[1]
    thread = threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join(5)


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Serve an app from a thread of this process, without its lifespan; yield its address."""
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=port, lifespan="off", log_config=None, ws="none")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


def service_environment(database_url: str, hub_api_url: str, **changes: str) -> dict[str, str]:
    """Return the environment of a service process, without what other processes' settings would add."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("NEXUS_")}
    return plain | {
        "NEXUS_DATABASE_URL": database_url,
        "NEXUS_HUB_API_URL": hub_api_url,
        "NEXUS_HUB_TOKEN": HUB_TOKEN,
        "NEXUS_INTERNAL_TOKEN": INTERNAL_TOKEN,
        **changes,
    }


@contextmanager
def running_service(environment: dict[str, str], log: Path) -> Iterator[str]:
    """Run the service in a process of its own; yield the address of its hub routes."""
    process, base = start_service(environment, log)
    try:
        yield base
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def running_rounds(environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Meter and deliver in a process of its own, for services with NEXUS_ROUNDS=elsewhere."""
    words = "from nexus_allocator.cli import main; main()"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", words, "rounds"], env=environment, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def start_service(environment: dict[str, str], log: Path) -> tuple[subprocess.Popen[bytes], str]:
    port = free_port()
    words = ["-m", "uvicorn", "--factory", "nexus_allocator.main:app_factory", "--host", "127.0.0.1"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, *words, "--port", str(port), "--no-access-log"], env=environment, stdout=output,
            stderr=output,
        )  # fmt: skip
    base = f"http://127.0.0.1:{port}/services/nexus/api/hub"
    _wait_until_healthy(process, base, log)
    return process, base


def _wait_until_healthy(process: subprocess.Popen[bytes], base: str, log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if httpx.get(f"{base}/health", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
