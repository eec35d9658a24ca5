"""Part of a person's notebook server: hands JupyterLab's card to the allocation service and back.

JupyterLab's page never learns the server's token, and needs no way to the service of its own.
"""

import hmac
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

DEADLINE_S = 5.0
OK = 200
# What a container's credentials are called, for AWS's clients in any language.
AWS_NAMES = {
    "AccessKeyId": "access_key_id",
    "SecretAccessKey": "secret_access_key",
    "Token": "session_token",
    "Expiration": "ends_at",
}
UNAVAILABLE = "The allocation service does not answer; your server goes on."


@dataclass(frozen=True)
class OwnServer:
    """``url`` ends in /api/lab; ``token`` speaks for this server only."""

    url: str
    token: str

    async def ask(self, method: str, path: str) -> tuple[int, dict[str, Any]]:
        """Return status and answer; 503 with a message when the service does not answer."""
        request = HTTPRequest(
            f"{self.url}{path}",
            method=method,
            headers={"Authorization": f"Bearer {self.token}"},
            body="" if method == "POST" else None,
            request_timeout=DEADLINE_S,
            connect_timeout=DEADLINE_S,
        )
        try:
            answer = await AsyncHTTPClient().fetch(request, raise_error=False)
        except (HTTPClientError, OSError):
            return 503, {"message": UNAVAILABLE}
        # 599 is tornado's own: no connection, or none in time.
        if answer.code == 599 or not answer.headers.get("Content-Type", "json").startswith(
            "application/json"
        ):
            return (answer.code, {}) if answer.code == 202 else (503, {"message": UNAVAILABLE})
        return answer.code, json.loads(answer.body or b"{}")


class CardHandler(APIHandler):
    def initialize(self, server: OwnServer) -> None:
        self.server = server

    async def pass_on(self, method: str, path: str) -> None:
        status, answer = await self.server.ask(method, path)
        self.set_status(status)
        await self.finish(json.dumps(answer))

    @web.authenticated
    async def get(self) -> None:
        await self.pass_on("GET", "/card")


class CredentialsHandler(web.RequestHandler):
    """Hands out credentials for the object store as AWS's clients ask for a container's.

    They know no sign-in: what they show is this server's token, which all programs started in it have.
    """

    def initialize(self, server: OwnServer) -> None:
        self.server = server

    @allow_unauthenticated
    async def get(self) -> None:
        shown = self.request.headers.get("Authorization", "")
        if not hmac.compare_digest(shown.encode(), self.server.token.encode()):
            raise web.HTTPError(403)
        status, answer = await self.server.ask("GET", "/credentials")
        self.set_status(status)
        if status != OK:
            # As they show it to people.
            answer = {"code": answer.get("error", "unavailable"), "message": answer.get("message", "")}
        else:
            answer = {theirs: answer[ours] for theirs, ours in AWS_NAMES.items()}
        await self.finish(answer)


class StopHandler(CardHandler):
    @web.authenticated
    async def post(self) -> None:
        await self.pass_on("POST", "/stop")


HANDLERS: dict[str, type[web.RequestHandler]] = {
    "card": CardHandler,
    "stop": StopHandler,
    "credentials": CredentialsHandler,
}


def routes(
    base_url: str, server: OwnServer
) -> Iterator[tuple[str, type[web.RequestHandler], dict[str, Any]]]:
    for path, handler in HANDLERS.items():
        yield url_path_join(base_url, "nexus", path), handler, {"server": server}


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(server_app: Any) -> None:
    """Add our routes; without the Nexus's environment there is nothing to show."""
    url, token = os.environ.get("NEXUS_LAB_URL"), os.environ.get("NEXUS_LAB_TOKEN")
    if url and token:
        own = routes(server_app.web_app.settings["base_url"], OwnServer(url, token))
        server_app.web_app.add_handlers(".*$", list(own))
