"""Part of a person's notebook server: hands JupyterLab's card to the allocation service and back.

JupyterLab's page never learns the server's token, and needs no way to the service of its own.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

DEADLINE_S = 5.0
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


class StopHandler(CardHandler):
    @web.authenticated
    async def post(self) -> None:
        await self.pass_on("POST", "/stop")


def routes(base_url: str, server: OwnServer) -> Iterator[tuple[str, type[CardHandler], dict[str, Any]]]:
    for path, handler in (("card", CardHandler), ("stop", StopHandler)):
        yield url_path_join(base_url, "nexus", path), handler, {"server": server}


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(server_app: Any) -> None:
    """Add the card's two routes; without the Nexus's environment there is nothing to show."""
    url, token = os.environ.get("NEXUS_LAB_URL"), os.environ.get("NEXUS_LAB_TOKEN")
    if url and token:
        own = routes(server_app.web_app.settings["base_url"], OwnServer(url, token))
        server_app.web_app.add_handlers(".*$", list(own))
