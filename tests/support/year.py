"""The whole service with a clock that a test sets, its meter's rounds, and a hub that has servers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
from playwright.sync_api import Browser, BrowserContext, Page, expect
from tests.support.fake_hub import SERVICE_TOKEN, FakeHub, Handler
from tests.support.portal import NOW, PREFIX, Clock, database_file, served

from nexus_allocator.clients.hub import HubClient
from nexus_allocator.config import Settings
from nexus_allocator.domain.credits import MICRO
from nexus_allocator.main import create_app
from nexus_allocator.policy import load_policy
from nexus_allocator.services import allocations
from nexus_allocator.services.meter_loop import MeterLoop
from nexus_allocator.services.metering import Terms
from nexus_allocator.store.session import Database

INTERNAL_TOKEN = "internal-token-for-the-year"
ISSUER = "https://provider.example"
ADMINISTRATORS = "nexus-admins"
# A page of a loaded machine may take long; a quiet one answers in a tenth of a second.
PATIENCE_MS = 60_000


@dataclass
class HubOfServers(FakeHub):
    """The small hub; a server it is asked to stop it reports as stopped."""

    report: Any = None


class HandlerOfServers(Handler):
    hub: HubOfServers

    def do_DELETE(self) -> None:  # noqa: N802 - the library's own name
        name = unquote(self.path.removeprefix("/hub/api/users/").split("/")[0])
        gone = self.hub.servers.pop(name, None)
        if gone is not None:
            self.hub.report(gone["state"]["hold_id"])
        super().do_DELETE()


@dataclass
class Year:
    """What the story needs: people at browsers, the hub's side of launches, and time."""

    address: str
    hub: HubOfServers
    clock: Clock
    meter: MeterLoop
    browser: Browser
    contexts: dict[str, BrowserContext] = field(default_factory=dict)

    @property
    def api(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {INTERNAL_TOKEN}"}
        base = f"{self.address}{PREFIX}api/hub"
        return httpx.Client(base_url=base, headers=headers, timeout=60, trust_env=False)

    def signs_in_at_the_hub(self, name: str, label: str, *groups: str) -> None:
        """What the hub tells the service when somebody signs in there."""
        identity = {"issuer": ISSUER, "subject": name, "preferred_username": name, "display_name": label,
                    "email": f"{name}@example.org", "groups": list(groups)}  # fmt: skip
        with self.api as api:
            assert api.put("/people", json=identity).json()["hub_name"] == name

    def accepts(self, name: str) -> None:
        """The box on the hub's launch page."""
        version = load_policy().agreement.version
        with self.api as api:
            assert api.post(f"/people/{name}/agreement", json={"version": version}).status_code == 204

    def at(self, name: str, path: str = "") -> Page:
        """Return the page at ``path`` in the browser of a person, who signs in again where that is needed."""
        self.hub.at_the_keyboard = name
        if name not in self.contexts:
            context = self.browser.new_context(viewport={"width": 1280, "height": 900})
            context.set_default_timeout(PATIENCE_MS)
            context.new_page()
            self.contexts[name] = context
        page = self.contexts[name].pages[0]
        page.goto(f"{self.address}{PREFIX}{path}")
        expect(page.get_by_role("link", name="Sign out")).to_be_visible(timeout=PATIENCE_MS)
        return page

    def launch(self, name: str, *, account: str, size: str, hours: float) -> httpx.Response:
        """Ask for a server as the hub does, and start it when it is admitted."""
        wish = {"hub_name": name, "server_name": "", "account": account, "size": size, "image": "nexus",
                "hours": hours}  # fmt: skip
        with self.api as api:
            answer = api.post("/admissions", json=wish)
            if answer.status_code == 201:
                hold_id, began = answer.json()["hold_id"], self.clock().isoformat()
                told = api.post(f"/holds/{hold_id}/started", json={"process_started_at": began})
                assert told.status_code == 204
                state = {"hold_id": hold_id, "process_started_at": began}
                self.hub.servers[name] = {"ready": True, "pending": None, "stopped": False, "state": state}
        return answer

    def stops(self, name: str) -> None:
        """A person stops their server at the hub, which tells why before and what came of it after."""
        with self.api as api:
            intent = {"reason": "own-hand", "actor": name}
            assert api.post(f"/servers/{name}/-/stop-intent", json=intent).status_code == 204
        self.report(self.hub.servers.pop(name)["state"]["hold_id"])

    def report(self, hold_id: str) -> None:
        with self.api as api:
            body = {"stopped_at": self.clock().isoformat(), "alive_at_stop": True}
            assert api.post(f"/holds/{hold_id}/stopped", json=body).status_code == 204

    def operator_takes(self, account: str, credits_taken: int) -> None:
        """What `nexus-allocator correct` does, by this clock."""
        with self.meter.database.session_scope() as session:
            allocations.correct(
                session, account=account, amount_micro=-credits_taken * MICRO, reason="Counted twice.",
                actor="operator", now=self.clock(),
            )  # fmt: skip

    def passes(self, **length: float) -> None:
        """Let time pass, and the meter make its round."""
        self.clock.forward(**length)
        assert self.meter.turn()

    def until(self, day: datetime) -> None:
        self.passes(seconds=(day - self.clock()).total_seconds())


@contextmanager
def a_year(folder: Path, browser: Browser) -> Iterator[Year]:
    """Run the service's own application over HTTP, on a fresh database, from 15 March 2027 on."""
    hub, clock, policy = HubOfServers(), Clock(NOW), load_policy()
    listener = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (HandlerOfServers,), {"hub": hub}))
    listener.daemon_threads = True
    hub.url = f"http://127.0.0.1:{listener.server_address[1]}"
    settings = Settings(
        database_url=f"sqlite:///{database_file(folder)}", hub_api_url=hub.api_url, hub_public_url=hub.url,
        hub_token=SERVICE_TOKEN, internal_token=INTERNAL_TOKEN, issuer_admins=ADMINISTRATORS,
    )  # type: ignore[arg-type] # fmt: skip
    app = create_app(settings, policy, clock=clock)
    database: Database = app.state.context.database
    client = HubClient(hub.api_url, SERVICE_TOKEN, timeout_s=30)
    terms = Terms(timedelta(seconds=60), timedelta(hours=1), timedelta(seconds=30))
    meter = MeterLoop(database, client, terms=terms, policy=policy, clock=clock)
    threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True).start()
    try:
        with served(app) as address:
            hub.public_url = address
            year = Year(address, hub, clock, meter, browser)
            hub.report = year.report
            yield year
            for context in year.contexts.values():
                context.close()
    finally:
        app.state.portal.sign_in.close()
        app.state.portal.hub.close()
        client.close()
        database.dispose()
        listener.shutdown()
        listener.server_close()
