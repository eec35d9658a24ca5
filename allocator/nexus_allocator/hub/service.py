"""The allocation service as the hub sees it: a few HTTP calls, each async and over within three seconds.

The three seconds begin when a call is sent: in a crowd it waits for its turn before.
"""

import asyncio
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from nexus_allocator.domain.lab_tokens import lab_token

DEADLINE_S = 3.0
# So few calls at once that a busy service, too, answers each within the deadline.
LANES = 8
# How long a call waits for its turn; people are told to come again sooner than a browser gives up.
PATIENCE_S = 30.0


class Refused(Exception):  # noqa: N818 -- a refusal is an answer, not a fault
    """The service answered no; ``code`` is its slug, ``message`` is meant for people."""

    def __init__(self, code: str, status: int, message: str, facts: dict[str, Any]) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.message = message
        self.facts = facts


class ServiceUnavailable(Exception):  # noqa: N818 -- names a state of the world
    """The service did not answer in time, or answered with a fault of its own."""


@dataclass(frozen=True)
class Person:
    hub_name: str
    is_administrator: bool
    suspended: bool
    groups: list[str]
    suspension_reason: str | None = None


@dataclass(frozen=True)
class TeamServer:
    """A team's own server as a member may see it."""

    label: str
    size: str | None
    started_by: str | None
    until: datetime | None


@dataclass(frozen=True)
class Admission:
    """A yes: the hold that pays for one server, and what the server may have.

    ``team`` is the team whose own server it is: that has no home but a folder of the team's.
    """

    hold_id: str
    cpu: float
    memory_bytes: int
    image: str
    uid: int
    gid: int
    supplemental_gids: tuple[int, ...]
    umask: int
    home: str
    teams: tuple[str, ...]
    until: str
    account: str
    rate_micro_per_hour: int
    gpu: int = 0
    scratch: tuple[str, ...] = ()
    volumes: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    read_only: bool = False
    rescue: bool = False
    team: str | None = None

    @classmethod
    def from_answer(cls, answer: dict[str, Any]) -> "Admission":
        known = {name: answer[name] for name in cls.__dataclass_fields__ if name in answer}
        known["supplemental_gids"] = tuple(answer["supplemental_gids"])
        known["teams"] = tuple(answer["teams"])
        known["scratch"] = tuple(answer.get("scratch", ()))
        known["umask"] = int(answer["umask"], 8)
        return cls(**known)


class ServiceClient(SimpleAsyncHTTPClient):
    """The hub's own lanes to the service, one set for each event loop.

    What waits for notebook servers, the proxy or the sign-in provider shares another client,
    where a crowd's admissions would wait behind it.
    """

    lanes: asyncio.Semaphore

    def initialize(self, **given: Any) -> None:  # type: ignore[override]
        super().initialize(max_clients=LANES, **given)
        self.lanes = asyncio.Semaphore(LANES)


@dataclass(frozen=True)
class AllocationService:
    """``url`` ends before ``/people``: {service}/services/nexus/api/hub."""

    url: str
    token: str
    deadline_s: float = DEADLINE_S

    async def put_person(self, issuer: str, claims: dict[str, Any]) -> Person:
        """Make the person known, or fetch them: keyed by issuer and subject."""
        username = claims.get("preferred_username") or claims["sub"]
        answer = await self._call(
            "PUT",
            "/people",
            {
                "issuer": issuer,
                "subject": claims["sub"],
                "preferred_username": username,
                "display_name": claims.get("name") or username,
                "email": claims.get("email"),
                "groups": claims.get("groups") or [],
            },
        )
        return Person(
            answer["hub_name"],
            answer["is_administrator"],
            answer["suspended"],
            answer["groups"],
            answer.get("suspension_reason"),
        )

    async def may_go_on(self, account: str) -> bool:
        """Say whether an account that is not signed in may have servers: a team's, or a person's."""
        try:
            answer = await self._call("GET", f"/people/{quote(account)}/standing")
        except Refused:
            return False
        return not answer["suspended"]

    async def launch_model(self, account: str, *, asked_by: str) -> dict[str, Any]:
        """Return what may be started on a person's account of the hub, or by a member on a team's."""
        if account == asked_by:
            return await self._call("GET", f"/people/{quote(account)}/launch")
        return await self._call("GET", f"/teams/{quote(account)}/launch?hub_name={quote(asked_by)}")

    async def team_server(self, team: str, *, asked_by: str) -> TeamServer:
        """Return the team's own server to a member. Raises Refused for who is not in the team."""
        answer = await self._call("GET", f"/teams/{quote(team)}/server?hub_name={quote(asked_by)}")
        until = answer["until"]
        return TeamServer(**answer | {"until": datetime.fromisoformat(until) if until else None})

    async def accept_agreement(self, hub_name: str, version: str) -> None:
        await self._call("POST", f"/people/{quote(hub_name)}/agreement", {"version": version})

    async def admit(
        self, hub_name: str, server_name: str, options: dict[str, Any], *, started_by: str | None
    ) -> Admission:
        """Ask for a hold. ``options`` is {account, size, image, hours}; the service judges them.

        ``started_by`` is the person who asked for the server, None when a service of the hub did.
        """
        body = {"hub_name": hub_name, "server_name": server_name, "started_by": started_by, **options}
        return Admission.from_answer(await self._call("POST", "/admissions", body))

    async def started(self, hold_id: str, process_started_at: datetime, pid: int) -> None:
        body = {"process_started_at": process_started_at.isoformat(), "evidence": {"pid": pid}}
        await self._call("POST", f"/holds/{quote(hold_id)}/started", body)

    async def stopped(self, hold_id: str, evidence: dict[str, Any]) -> None:
        """Settle a hold; safe to repeat. ``evidence``: the fields of `Evidence`."""
        await self._call("POST", f"/holds/{quote(hold_id)}/stopped", evidence)

    async def announce_stop(self, hub_name: str, server_name: str, *, reason: str, actor: str) -> None:
        """Record why a server is about to be stopped, before it is."""
        path = f"/servers/{quote(hub_name)}/{quote(server_name) or '-'}/stop-intent"
        await self._call("POST", path, {"reason": reason, "actor": actor})

    async def keep_alive_until(self, hub_name: str, server_name: str) -> datetime | None:
        answer = await self._call("GET", f"/servers/{quote(hub_name)}/{quote(server_name) or '-'}/keep-alive")
        until = answer["keep_alive_until"]
        return datetime.fromisoformat(until) if until else None

    @property
    def lab_url(self) -> str:
        """Where a running server asks about itself, with the token of its hold."""
        return self.url.rpartition("/")[0] + "/lab"

    def lab_token(self, hold_id: str) -> str:
        return lab_token(self.token, hold_id)

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = HTTPRequest(
            self.url + path,
            method=method,
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
            body=None if body is None else json.dumps(body),
            request_timeout=self.deadline_s,
            connect_timeout=self.deadline_s,
        )
        client = ServiceClient()
        try:
            await asyncio.wait_for(client.lanes.acquire(), PATIENCE_S)
        except TimeoutError as error:
            raise ServiceUnavailable(f"{method} {path}: no turn within {PATIENCE_S:.0f} s") from error
        try:
            response = await client.fetch(request)
        except HTTPClientError as error:
            raise read_refusal(error) from error
        except OSError as error:
            raise ServiceUnavailable(f"{method} {path}: {error}") from error
        finally:
            client.lanes.release()
        return json.loads(response.body) if response.body else {}


def read_refusal(error: HTTPClientError) -> Refused | ServiceUnavailable:
    """Tell the service's no (4xx with a slug) from its faults (everything else)."""
    if error.response is None or not 400 <= error.code < 500:
        return ServiceUnavailable(f"HTTP {error.code}: {error.message}")
    try:
        answer = json.loads(error.response.body)
        return Refused(answer["error"], error.code, answer["message"], answer.get("facts") or {})
    except (ValueError, KeyError, TypeError):
        return ServiceUnavailable(f"HTTP {error.code}: {error.message}")
