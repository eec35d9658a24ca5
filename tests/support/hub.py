"""A real hub with a real proxy and a real sign-in provider, before a stand-in of the allocation service."""

import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import jupyterhub
import psutil
from tests.support.nexus import ROOT
from tests.support.ports import own_ports

from nexus_allocator.embedded import commands
from nexus_allocator.embedded.children import Child
from nexus_allocator.embedded.parent import is_ready
from nexus_allocator.embedded.settings import OWN, Settings, read_settings
from nexus_allocator.embedded.state import Secrets, make_folders, read_secrets
from nexus_allocator.embedded.surroundings import notebook_servers

# Closed after each answer: what a test leaves open would be a warning, and so an error.
CLOSED = httpx.Limits(max_keepalive_connections=0)
# Nothing here speaks TLS, and making a context for it takes longer than most requests.
PLAIN = httpx.Client(verify=False, trust_env=False, limits=CLOSED)  # noqa: S501
SMALL = {"account": "astronomer", "size": "small", "image": "nexus", "hours": "1"}
TOO_LONG = {**SMALL, "hours": "24"}


def until(condition: Callable[[], Any], what: str, timeout_s: float = 90.0) -> Any:
    """Return the first true answer of ``condition``; fail with ``what`` after the time-out."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if answer := condition():
            return answer
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {timeout_s:.0f} s")


@dataclass
class HubUnderTest:
    settings: Settings
    secrets: Secrets
    environment: dict[str, str]
    children: dict[str, Child] = field(default_factory=dict)

    version = jupyterhub.version_info[0]

    @property
    def url(self) -> str:
        return self.settings.public_url

    def start(self, command: commands.Command) -> None:
        child = self.children.setdefault(command.name, Child(command, self.settings.state))
        child.start()
        until(lambda: self.ready(child), f"{command.name} ready", 120)

    def ready(self, child: Child) -> bool:
        assert child.exit_status() is None, f"{child.command.name} ended:\n{child.last_words(60)}"
        return is_ready(child)

    def kill(self, name: str) -> None:
        child = self.children[name]
        if child.process is not None:
            child.process.kill()
            child.process.wait(10)

    def restart(self, name: str) -> None:
        self.start(self.children[name].command)

    def log(self, name: str) -> str:
        return self.children[name].last_words(100000)

    # -- the stand-in

    def control(self, **changes: Any) -> None:
        PLAIN.post(f"{self.settings.service_url}/control", json=changes).raise_for_status()

    def calls(self, method: str, pattern: str) -> list[dict[str, Any]]:
        calls = PLAIN.get(f"{self.settings.service_url}/control/calls").json()
        return [call for call in calls if call["method"] == method and re.fullmatch(pattern, call["path"])]

    # -- people

    def sign_in(self, subject: str = "astronomer", *, accept: bool = True) -> "Visitor":
        visitor = Visitor(self.url)
        visitor.sign_in(subject)
        if accept:
            visitor.accept_agreement()
        return visitor

    def server(self, name: str) -> dict[str, Any] | None:
        """Return the hub's model of a person's default server, None when they have none."""
        answer = self.as_parent("GET", f"/users/{name}")
        return answer.raise_for_status().json()["servers"].get("")

    def wait_until_ready(self, name: str = "astronomer") -> dict[str, Any]:
        return until(lambda: (s := self.server(name)) and s["ready"] and s, f"{name}'s server ready", 90)

    def stop_servers(self) -> None:
        """Stop whoever's servers, and wait until the hub knows of none."""
        for name in self.active():
            until(lambda name=name: not (self.server(name) or {}).get("pending"), "nothing pending")
            self.as_parent("DELETE", f"/users/{name}/server")
        until(lambda: not self.active(), "no server active")

    def active(self) -> list[str]:
        return [user["name"] for user in self.as_parent("GET", "/users?state=active").json()]

    def as_parent(self, method: str, path: str) -> httpx.Response:
        headers = {"Authorization": f"token {self.secrets.parent}"}
        return PLAIN.request(method, f"{self.settings.hub_url}/hub/api{path}", headers=headers, timeout=30)

    def pid(self, name: str = "astronomer") -> int:
        server = self.server(name)
        assert server is not None
        return int(server["state"]["pid"])

    def wait_until_gone(self, name: str = "astronomer") -> None:
        until(lambda: self.server(name) is None, f"{name}'s server gone")


class Visitor:
    """A person at a browser without scripts: follows redirects, fills in forms."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.Client(follow_redirects=True, timeout=60, verify=False, limits=CLOSED)  # noqa: S501

    def get(self, path: str) -> httpx.Response:
        return self.http.get(self.url + path)

    def xsrf(self) -> str:
        for cookie in self.http.cookies.jar:
            if cookie.name == "_xsrf" and cookie.path == "/hub/":
                return str(cookie.value)
        raise AssertionError("no XSRF cookie")

    def choose_person(self, page: httpx.Response, subject: str) -> httpx.Response:
        assert "Who are you?" in page.text, page.text[:2000]
        return self.http.post(page.url.join(form_action(page)), data={"subject": subject})

    def sign_in(self, subject: str) -> httpx.Response:
        return self.choose_person(self.go_to_provider(), subject)

    def go_to_provider(self) -> httpx.Response:
        page = self.get("/hub/login")
        link = re.search(r'href="([^"]*oauth_login[^"]*)"', page.text)
        assert link, page.text
        return self.http.get(page.url.join(unescape(link[1])))

    def sign_out(self) -> httpx.Response:
        page = self.get("/hub/logout")
        fields = re.search(r'name="xsrf" value="([^"]+)"', page.text)
        if fields:
            page = self.http.post(page.url.join(form_action(page)), data={"xsrf": fields[1], "logout": "yes"})
        return page

    def accept_agreement(self, page: httpx.Response | None = None) -> httpx.Response:
        """Accept on the page given, or on a fresh one; return the launch page to which that leads."""
        page = page or self.get("/hub/spawn")
        if 'name="agreement_version"' not in page.text:
            return page
        answer = self.press_accept(page)
        assert answer.status_code == 200, answer.text
        return answer

    def press_accept(self, page: httpx.Response) -> httpx.Response:
        fields = {**hidden_fields(page), "accepted": "yes"}
        return self.http.post(page.url.join(form_action(page)), data=fields)

    def launch_by_form(self, options: dict[str, str], page: httpx.Response | None = None) -> httpx.Response:
        page = page or self.get("/hub/spawn")
        assert page.status_code == 200, page.text
        fields = hidden_fields(page) | {name: value for name, value in options.items() if name != "size"}
        fields[f"size-{options['account']}"] = options["size"]
        return self.http.post(page.url.join(form_action(page)), data=fields)

    def api(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Call the hub's API as this person, with the browser's cookies."""
        self.get("/hub/home")
        headers = {"X-XSRFToken": self.xsrf(), "Referer": f"{self.url}/hub/home", "Sec-Fetch-Mode": "cors"}
        return self.http.request(method, f"{self.url}/hub/api{path}", json=body, headers=headers)

    def launch_by_api(self, options: dict[str, Any], name: str = "astronomer") -> httpx.Response:
        return self.api("POST", f"/users/{name}/server", as_posted(options))

    def stop(self) -> httpx.Response:
        page = self.get("/hub/home")
        assert "nexus/stop" in form_action(page), page.text
        return self.http.post(page.url.join(form_action(page)), data=hidden_fields(page))


def as_posted(options: dict[str, Any]) -> dict[str, Any]:
    """JupyterHub 6 wants the options below ``user_options``."""
    return {"user_options": options} if HubUnderTest.version >= 6 else options


def hidden_fields(page: httpx.Response) -> dict[str, str]:
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text)
    return {name: unescape(value) for name, value in found}


def form_action(page: httpx.Response) -> str:
    """Return where the page's form goes: to the page itself where it does not say."""
    found = re.search(r"<form[^>]*>", page.text)
    assert found, page.text
    action = re.search(r'action="([^"]+)"', found[0])
    return unescape(action[1]) if action else str(page.url)


def stand_in(settings: Settings, secrets: Secrets) -> commands.Command:
    arguments = (
        *(sys.executable, "-m", "uvicorn", "tests.support.fake_allocator:app", "--app-dir", str(ROOT)),
        *("--host", "127.0.0.1", "--port", str(settings.port + 3), "--log-level", "warning"),
    )
    environment = {**commands.plain_environment(), "NEXUS_INTERNAL_TOKEN": secrets.internal}
    health = f"{settings.service_api_url}/health"
    return commands.Command("allocation service", arguments, environment, health)


def hub_command(settings: Settings, own: dict[str, str], config: Path | None = None) -> commands.Command:
    """Return what starts the hub, with another configuration where one is given."""
    command = commands.hub(settings)
    arguments = command.arguments if config is None else (*command.arguments[:-1], str(config))
    return commands.Command(command.name, arguments, {**command.environment, **own}, command.health_url)


@contextmanager
def running_hub(*, config: Path | None = None, **changes: str) -> Iterator[HubUnderTest]:
    """Yield a hub ready for people; end it and every server it started."""
    with hub_to_be(**changes) as hub:
        hub.start(commands.provider(hub.settings, hub.secrets))
        hub.start(commands.proxy(hub.settings, hub.secrets))
        hub.start(stand_in(hub.settings, hub.secrets))
        hub.start(hub_command(hub.settings, hub.environment, config))
        yield hub


@contextmanager
def hub_to_be(**changes: str) -> Iterator[HubUnderTest]:
    """Yield a hub of which nothing runs yet; end whatever was started."""
    # Not pytest's tmp_path: people's servers run with their own uids and must be able to enter.
    state = Path(tempfile.mkdtemp(prefix="nexus-hub-"))
    own = {
        "NEXUS_STATE": str(state),
        "NEXUS_PORT": str(own_ports()),
        "NEXUS_POLL_INTERVAL_S": "1",
        **changes,
    }
    settings = read_settings({**{k: v for k, v in os.environ.items() if k not in OWN}, **own})
    make_folders(settings)
    hub = HubUnderTest(settings, read_secrets(settings), own)
    try:
        yield hub
    finally:
        for name in reversed(hub.children):
            hub.kill(name)
        for pid in notebook_servers(settings):
            psutil.Process(pid).send_signal(signal.SIGKILL)
        if os.environ.get("NEXUS_KEEP_TEST_STATE"):
            print(f"state kept in {state}")
        else:
            shutil.rmtree(state, ignore_errors=True)


def people_file(folder: Path, people: list[dict[str, Any]]) -> Path:
    path = folder / "people.json"
    path.write_text(json.dumps(people))
    return path
