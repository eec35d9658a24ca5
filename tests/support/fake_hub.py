"""A small hub over real HTTP: OAuth codes and tokens, who a token is, stopping servers, signing out."""

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

SERVICE_TOKEN = "the-service's-own-token"
DOORS = "/hub/api/nexus/doors/"
CLIENT_ID = "service-nexus"
SESSION_COOKIE = "jupyterhub-session-id"


@dataclass
class FakeHub:
    """What the hub remembers; a test changes it directly.

    ``public_url`` is where a browser finds the portal: a real hub and portal share it behind one proxy.
    """

    url: str = ""
    public_url: str = ""
    at_the_keyboard: str = "astronomer"
    scopes: list[str] = field(default_factory=lambda: ["access:services!service=nexus"])
    # Of single tokens, in place of `scopes`.
    scopes_of: dict[str, list[str]] = field(default_factory=dict)
    denies: bool = False
    is_down: bool = False
    codes: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    tokens: dict[str, tuple[str, str]] = field(default_factory=dict)
    stopped: list[str] = field(default_factory=list)
    # Who may enter whose server: ("ada/", "alex").
    shares: set[tuple[str, str]] = field(default_factory=set)
    stop_status: int = 202
    asked_who: int = 0
    on_stop: list[Any] = field(default_factory=list)
    # Each person's one server, as the hub's list shows it.
    servers: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def api_url(self) -> str:
        return f"{self.url}/hub/api"

    def forget(self) -> None:
        """Become a hub that was just started; the addresses stay."""
        vars(self).update(vars(FakeHub(self.url, self.public_url)))

    def user(self, name: str) -> dict[str, Any]:
        shown = {"": self.servers[name]} if name in self.servers else {}
        return {"kind": "user", "name": name, "servers": shown}

    def page_of_users(self, offset: int, limit: int) -> dict[str, Any]:
        names = list(self.servers)
        end = offset + limit
        following = {"offset": end, "limit": limit} if end < len(names) else None
        place = {"offset": offset, "limit": limit, "total": len(names), "next": following}
        return {"items": [self.user(name) for name in names[offset:end]], "_pagination": place}

    def sign_out(self) -> None:
        """Forget every token, as the hub does for the session that signs out."""
        self.tokens.clear()


class Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's own name
        pass

    def do_GET(self) -> None:
        path, query = self.parts()
        if path == "/hub/api/oauth2/authorize":
            self.authorize(query)
        elif self.hub.is_down:
            self.answer(503, {"message": "starting"})
        elif path == "/hub/api/users":
            self.answer(200, self.hub.page_of_users(int(query["offset"]), int(query["limit"])))
        elif path.startswith("/hub/api/users/"):
            self.answer(200, self.hub.user(unquote(path.removeprefix("/hub/api/users/"))))
        elif path == "/hub/api/user":
            self.who()
        elif path == "/hub/logout":
            self.hub.sign_out()
            self.redirect("/hub/signed-out", cookie=f"{SESSION_COOKIE}=; Path=/; Max-Age=0")
        else:
            self.html(f"<!doctype html><html lang=en><title>Hub</title><h1>Hub page {path}</h1>")

    def do_PUT(self) -> None:
        self.share(given=True)

    def share(self, *, given: bool) -> None:
        if self.hub.is_down:
            self.answer(503, {"message": "starting"})
            return
        if self.headers["Authorization"] != f"token {SERVICE_TOKEN}":
            self.answer(403, {"message": "not allowed"})
            return
        owner, server, guest = self.path.removeprefix(DOORS).split("/")
        share = f"{owner}/{'' if server == '-' else server}", guest
        if given:
            self.hub.shares.add(share)
        else:
            self.hub.shares.discard(share)
        self.answer(204, {})

    def do_POST(self) -> None:
        path, _ = self.parts()
        sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = parse_qs(sent)
        if self.hub.is_down:
            self.answer(503, {"message": "starting"})
        elif path == "/hub/api/oauth2/token":
            self.exchange({name: values[0] for name, values in form.items()})
        else:
            self.answer(404, {"message": "not here"})

    def do_DELETE(self) -> None:
        if self.path.startswith(DOORS):
            self.share(given=False)
            return
        if self.path.startswith("/hub/api/nexus/tokens/"):
            self.answer(503 if self.hub.is_down else 204, {})
            return
        if self.headers["Authorization"] != f"token {SERVICE_TOKEN}":
            self.answer(403, {"message": "not allowed"})
            return
        if self.path == "/hub/api/nexus/strays":
            self.answer(503 if self.hub.is_down else 200, {"ended": []})
            return
        for seen in self.hub.on_stop:
            seen()
        self.hub.stopped.append(self.path.removeprefix("/hub/api/users/"))
        self.answer(self.hub.stop_status, {})

    def authorize(self, query: dict[str, str]) -> None:
        back = self.hub.public_url + query["redirect_uri"]
        if self.hub.denies:
            self.redirect(f"{back}?{urlencode({'error': 'access_denied', 'state': query['state']})}")
            return
        session = self.session_cookie() or secrets.token_hex(8)
        code = secrets.token_hex(8)
        self.hub.codes[code] = (self.hub.at_the_keyboard, back, session)
        target = f"{back}?{urlencode({'code': code, 'state': query['state']})}"
        self.redirect(target, cookie=f"{SESSION_COOKIE}={session}; Path=/")

    def exchange(self, form: dict[str, str]) -> None:
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, SERVICE_TOKEN):
            self.answer(401, {"error": "invalid_client"})
            return
        name, back, session = self.hub.codes.pop(form["code"], ("", "", ""))
        if not name or back != self.hub.public_url + form["redirect_uri"]:
            self.answer(400, {"error": "invalid_grant"})
            return
        token = secrets.token_hex(16)
        self.hub.tokens[token] = (name, session)
        self.answer(200, {"access_token": token, "token_type": "Bearer"})

    def who(self) -> None:
        self.hub.asked_who += 1
        token = self.headers["Authorization"].removeprefix("token ")
        found = self.hub.tokens.get(token)
        if found is None:
            self.answer(403, {"message": "Forbidden"})
            return
        name, session = found
        scopes = self.hub.scopes_of.get(token, self.hub.scopes)
        self.answer(200, {"kind": "user", "name": name, "session_id": session, "scopes": scopes})

    def parts(self) -> tuple[str, dict[str, str]]:
        split = urlsplit(self.path)
        return split.path, {name: values[0] for name, values in parse_qs(split.query).items()}

    def session_cookie(self) -> str | None:
        cookie = SimpleCookie(self.headers.get("Cookie", "")).get(SESSION_COOKIE)
        return cookie.value if cookie and cookie.value else None

    def redirect(self, target: str, *, cookie: str | None = None) -> None:
        self.send_response(302)
        self.send_header("Location", target)
        self.send_header("Content-Length", "0")
        if cookie:
            self.send_header("Set-Cookie", cookie)
        self.end_headers()

    def answer(self, status: int, body: dict[str, Any]) -> None:
        self.send(status, json.dumps(body).encode(), "application/json")

    def html(self, text: str) -> None:
        self.send(200, text.encode(), "text/html; charset=utf-8")

    def send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def running_hub() -> Iterator[FakeHub]:
    hub = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
