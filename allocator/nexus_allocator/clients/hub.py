"""JupyterHub's REST API as the service reads it: which servers live, and stopping one.

Every doubt about an answer (no answer, an error, a page missing, a field unknown) is HubUnavailable:
who asks must conclude nothing from it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote
from uuid import UUID

import httpx

from nexus_allocator.domain.errors import HubUnavailable
from nexus_allocator.domain.leases import Lease, OfflineRefusal
from nexus_allocator.domain.stops import Evidence

PAGED = {"Accept": "application/jupyterhub-pagination+json"}
PAGE_SIZE = 100
OK, ACCEPTED, NO_CONTENT, NOT_FOUND = 200, 202, 204, 404
UNAUTHORIZED, FORBIDDEN = 401, 403


@dataclass(frozen=True)
class Sighting:
    """One server as the hub shows it; None where the hub does not say."""

    hub_name: str
    server_name: str
    pending: str | None
    ready: bool
    stopped: bool
    hold_id: UUID | None
    process_started_at: datetime | None
    last_stop: tuple[UUID, Evidence] | None
    leases: tuple[Lease, ...] = ()
    offline_refusals: tuple[OfflineRefusal, ...] = ()

    @property
    def is_alive(self) -> bool:
        """Whether the hub vouches for the process now: not while it still checks it or stops it."""
        known = self.hold_id is not None and self.process_started_at is not None
        return known and not self.stopped and (self.ready or self.pending == "spawn")

    @property
    def is_gone(self) -> bool:
        """Whether the hub says that nothing runs and nothing is under way."""
        return self.pending is None and not self.ready


@dataclass(frozen=True)
class TokenOwner:
    """Whose token it is, and its scopes, those that follow from others too."""

    hub_name: str
    scopes: frozenset[str]


class HubClient:
    """The hub, asked with the service's token. Safe to use from many threads."""

    def __init__(self, api_url: str, token: str, *, timeout_s: float = 10.0) -> None:
        self._http = httpx.Client(
            base_url=api_url.rstrip("/") + "/",
            headers={"Authorization": f"token {token}"},
            timeout=httpx.Timeout(timeout_s, connect=3.0),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def active_servers(self) -> list[Sighting]:
        """Return every active server of every page. Raises HubUnavailable when the list is not whole."""
        return [sighting for user in self._users({"state": "active"}) for sighting in _sightings(user)]

    def every_server(self) -> list[Sighting]:
        """Return every server the hub remembers, stopped ones too. Raises HubUnavailable."""
        query = {"include_stopped_servers": "1"}
        return [sighting for user in self._users(query) for sighting in _sightings(user)]

    def servers_of(self, hub_name: str) -> list[Sighting]:
        """Return one person's servers, stopped ones too; none when the hub knows no such person."""
        query = {"include_stopped_servers": "1"}
        answer = self._ask("GET", f"users/{quote(hub_name, safe='')}", params=query, fine=(OK, NOT_FOUND))
        return [] if answer.status_code == NOT_FOUND else list(_sightings(_body(answer)))

    def stop_server(self, hub_name: str, server_name: str) -> None:
        """Ask the hub to stop a server; one that is already gone is fine. Raises HubUnavailable."""
        name = quote(hub_name, safe="")
        path = (
            f"users/{name}/servers/{quote(server_name, safe='')}" if server_name else f"users/{name}/server"
        )
        self._ask("DELETE", path, fine=(ACCEPTED, NO_CONTENT, NOT_FOUND))

    def end_strays(self) -> list[UUID]:
        """Have servers ended that run without the hub's knowledge; return their holds. Raises HubUnavailable.

        A hub of an earlier version looks for none.
        """
        answer = self._ask("DELETE", "nexus/strays", fine=(OK, NOT_FOUND))
        if answer.status_code == NOT_FOUND:
            return []
        try:
            return [UUID(each) for each in _body(answer)["ended"]]
        except (KeyError, TypeError, ValueError) as error:
            raise HubUnavailable(problem=f"the answer about strays can't be read: {error!r}") from error

    def share_server(self, hub_name: str, server_name: str, with_whom: str) -> None:
        """Let an administrator enter this one server, until that is taken back. Raises HubUnavailable."""
        self._ask("PUT", _door(hub_name, server_name, with_whom), fine=(NO_CONTENT,))

    def unshare_server(self, hub_name: str, server_name: str, with_whom: str) -> None:
        """Take it back; a share or server that is not there is fine. Raises HubUnavailable."""
        self._ask("DELETE", _door(hub_name, server_name, with_whom), fine=(NO_CONTENT, NOT_FOUND))

    def revoke_tokens(self, hub_name: str) -> None:
        """Revoke every token of a person, those of servers and browsers too. Raises HubUnavailable."""
        self._ask("DELETE", f"nexus/tokens/{quote(hub_name, safe='')}", fine=(NO_CONTENT, NOT_FOUND))

    def owner_of_token(self, token: str) -> TokenOwner | None:
        """Return the person whose token it is and what it may, None for what is no person's token.

        Raises HubUnavailable.
        """
        if not (token and token.isascii() and token.isprintable()):
            return None
        answer = self._ask(
            "GET", "user", headers={"Authorization": f"token {token}"}, fine=(OK, UNAUTHORIZED, FORBIDDEN)
        )
        model = _body(answer) if answer.status_code == OK else {}
        if not isinstance(model, dict) or model.get("kind") != "user":
            return None
        return TokenOwner(model["name"], frozenset(model["scopes"]))

    def _users(self, wanted: dict[str, str]) -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            query = wanted | {"offset": str(offset), "limit": str(PAGE_SIZE)}
            page = _body(self._ask("GET", "users", params=query, headers=PAGED))
            if not isinstance(page, dict) or "items" not in page or "_pagination" not in page:
                raise HubUnavailable(problem="the list of servers has no pages")
            yield from page["items"]
            following = page["_pagination"]["next"]
            if following is None:
                return
            if following["offset"] <= offset:
                raise HubUnavailable(problem="the list of servers does not end")
            offset = following["offset"]

    def _ask(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        fine: tuple[int, ...] = (OK,),
    ) -> httpx.Response:
        try:
            answer = self._http.request(method, path, params=params, headers=headers)
        except httpx.HTTPError as error:
            raise HubUnavailable(problem=type(error).__name__) from error
        if answer.status_code not in fine:
            raise HubUnavailable(problem=f"status {answer.status_code}")
        return answer


def _door(hub_name: str, server_name: str, with_whom: str) -> str:
    # A path can't hold an empty segment, and the default server's name is empty.
    segments = (hub_name, server_name or "-", with_whom)
    return "nexus/doors/" + "/".join(quote(segment, safe="") for segment in segments)


def _body(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError as error:
        raise HubUnavailable(problem="the answer is not JSON") from error


def _sightings(user: dict[str, Any]) -> Iterator[Sighting]:
    try:
        servers = user["servers"]
        for name, server in servers.items():
            yield _sighting(user["name"], name, server)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise HubUnavailable(problem=f"a server can't be read: {error!r}") from error


def _sighting(hub_name: str, server_name: str, server: dict[str, Any]) -> Sighting:
    state = server.get("state") or {}
    offline = state.get("offline") or {"leases": (), "refusals": ()}
    return Sighting(
        hub_name=hub_name,
        server_name=server_name,
        pending=server["pending"],
        ready=server["ready"],
        stopped=server.get("stopped", False),
        hold_id=_uuid(state.get("hold_id")),
        process_started_at=_moment(state.get("process_started_at")),
        last_stop=_last_stop(state.get("last_stop")),
        leases=tuple(Lease.from_state(lease) for lease in offline["leases"]),
        offline_refusals=tuple(OfflineRefusal.from_state(each) for each in offline["refusals"]),
    )


def _last_stop(said: dict[str, Any] | None) -> tuple[UUID, Evidence] | None:
    hold_id = _uuid(said.get("hold_id")) if said else None
    if said is None or hold_id is None:
        return None
    evidence = Evidence(
        stopped_at=_moment(said.get("stopped_at")),
        alive_at_stop=said.get("alive_at_stop"),
        exit_signal=said.get("exit_signal"),
        exit_code=said.get("exit_code"),
        process_started_at=_moment(said.get("process_started_at")),
    )
    return hold_id, evidence


def _uuid(text: str | None) -> UUID | None:
    return UUID(text) if text else None


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return moment
