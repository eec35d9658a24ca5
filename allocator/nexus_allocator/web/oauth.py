"""Sign-in through the hub: the codes and tokens of OAuth, with a state that is bound to one browser.

Only ``token_for_code`` and ``user_for_token`` of JupyterHub's HubOAuth are used; its cookies, states and
XSRF checks belong to Tornado. Both calls block, so they are made from FastAPI's worker threads.
"""

import base64
import binascii
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from jupyterhub.services.auth import HubOAuth, check_scopes
from tornado.httpclient import AsyncHTTPClient
from tornado.web import HTTPError

TOKEN_CACHE_S = 30
STATE_AGE_S = 600
HUB_SESSION_COOKIE = "jupyterhub-session-id"


class HubUnreachableError(Exception):
    """The hub did not answer, or answered with an error of its own."""


class CodeRefusedError(Exception):
    """The hub would not exchange the code: it is wrong, old or used."""


@dataclass(frozen=True)
class HubPerson:
    """Whose token it is, and whether the token may open the portal."""

    hub_name: str
    may_enter: bool


class HubSignIn:
    """The hub as the portal's sign-in; one per process, safe to use from many threads."""

    def __init__(
        self,
        *,
        hub_api_url: str,
        hub_token: str,
        hub_public_url: str,
        prefix: str,
        service: str,
        portal_public_url: str = "",
    ) -> None:
        """Make it from the addresses the service (API) and a browser (public) use.

        A public address is "" where hub and portal share one origin; the hub knows ``service`` by the same
        redirect address, ``portal_public_url`` + ``prefix`` + "oauth_callback".
        """
        # A hub that hangs must not hold the portal's threads for Tornado's default of twenty seconds.
        AsyncHTTPClient.configure(None, defaults={"connect_timeout": 3.0, "request_timeout": 5.0})
        self.hub = HubOAuth(
            api_url=hub_api_url,
            api_token=hub_token,
            base_url=prefix,
            oauth_client_id=f"service-{service}",
            oauth_redirect_uri=f"{portal_public_url}{prefix}oauth_callback",
            oauth_authorization_url=f"{hub_public_url}/hub/api/oauth2/authorize",
            access_scopes={f"access:services!service={service}"},
            cache_max_age=TOKEN_CACHE_S,
        )
        # Made now: two first requests at the same time would each make a pool and share one event loop.
        _ = self.hub._pool
        self.logout_url = f"{hub_public_url}/hub/logout"

    def close(self) -> None:
        """End HubOAuth's background thread and its event loop."""
        self.hub._pool.submit(self.hub._thread_loop.close).result()
        self.hub._pool.shutdown()

    def authorize_url(self, state: str) -> str:
        query = {
            "client_id": self.hub.oauth_client_id,
            "redirect_uri": self.hub.oauth_redirect_uri,
            "response_type": "code",
            "state": state,
        }
        return f"{self.hub.oauth_authorization_url}?{urlencode(query)}"

    def token_for_code(self, code: str) -> str:
        """Exchange ``code``; raise CodeRefusedError or HubUnreachableError."""
        try:
            token: str = self.hub.token_for_code(code)
        except HTTPError as error:
            # HubOAuth turns the hub's 4xx into a 500 of its own with this message, its 5xx into a 502.
            if error.status_code == 500 and str(error.log_message).startswith(
                "Failed to check authorization"
            ):
                raise CodeRefusedError(str(error.log_message)) from error
            raise HubUnreachableError(str(error.log_message)) from error
        return token

    def person_for_token(self, token: str, *, hub_session: str) -> HubPerson | None:
        """Return whose token it is, None when the hub no longer knows it.

        ``hub_session`` is the hub's own session cookie: it is part of the cache's key, so a hub logout, which
        clears it, is seen at the browser's next request and not only when the cached answer has grown old.
        """
        try:
            model: dict[str, Any] | None = self.hub.user_for_token(token, session_id=hub_session)
        except HTTPError as error:
            raise HubUnreachableError(str(error.log_message)) from error
        if model is None:
            return None
        may_enter = model.get("kind") == "user" and bool(
            check_scopes(self.hub.access_scopes, set(model.get("scopes", [])))
        )
        return HubPerson(model["name"], may_enter)


@dataclass(frozen=True)
class SignInState:
    """What a browser must bring back from the hub: the state it was sent with, and where it wanted to go."""

    state: str
    next_path: str

    @property
    def cookie_name(self) -> str:
        # One cookie per attempt, so that two tabs can sign in at once.
        return f"nexus-state-{self.state[:8]}"

    def cookie_value(self) -> str:
        return f"{self.state}.{base64.urlsafe_b64encode(self.next_path.encode()).decode()}"


def new_state(next_path: str) -> SignInState:
    return SignInState(secrets.token_urlsafe(32), next_path)


def returned_state(state: str, cookies: dict[str, str]) -> SignInState | None:
    """Return the sign-in that ``state`` belongs to, None when this browser did not start it."""
    kept, _, encoded = cookies.get(f"nexus-state-{state[:8]}", "").partition(".")
    if not kept or not secrets.compare_digest(kept.encode(), state.encode()):
        return None
    try:
        return SignInState(state, base64.urlsafe_b64decode(encoded.encode()).decode())
    except (binascii.Error, UnicodeError):
        return None


def local_path(wanted: str, *, prefix: str) -> str:
    """Return ``wanted`` where it is a path of the portal, else the portal's front page.

    Backslashes and control characters are refused too: browsers read "/\\host" as another host.
    """
    clean = (
        len(wanted) <= 500 and wanted.isprintable() and not set(wanted) & {"\\", " "} and "/../" not in wanted
    )
    return wanted if clean and wanted.startswith(prefix) and not wanted.startswith("//") else prefix
