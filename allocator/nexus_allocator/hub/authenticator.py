"""Who signs in: an OpenID provider's person, known by issuer and subject, under a hub name given once."""

import asyncio
from typing import Any

from jupyterhub import orm
from oauthenticator.generic import GenericOAuthenticator
from oauthenticator.oauth2 import OAuthCallbackHandler, OAuthLoginHandler
from tornado import web
from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from traitlets import Instance, Unicode

from nexus_allocator.domain.teams import group_of_team
from nexus_allocator.hub.discovery import ForeignToken, Provider, ProviderUnavailable
from nexus_allocator.hub.handlers import LAUNCHING, TEAM_SCOPES
from nexus_allocator.hub.refusals import readable
from nexus_allocator.hub.service import AllocationService, Refused, ServiceUnavailable
from nexus_allocator.hub.sign_out import SignedOutHandler, SignOutHandler

SUSPENDED = (
    "Your access to the Nexus is suspended. Write to the administrators if you think this is a mistake."
)
SIGN_IN_AGAIN = (
    "Your sign-in has ended, so nothing was started and nothing was charged. Sign in again, then launch."
)
GONE = "{account} has no servers any more: it is suspended, or no team. Nothing was started."
# Parallel requests share one refresh: a rotated refresh token used twice ends the whole grant.
REFRESH_SHARED_FOR_S = 2.0
CONNECTIONS = 100


class DiscoveringLoginHandler(OAuthLoginHandler):  # type: ignore[misc]
    async def get(self) -> None:
        try:
            await self.authenticator.discover()
        except ProviderUnavailable as error:
            raise web.HTTPError(
                503, "The sign-in provider does not answer. Try again in a minute."
            ) from error
        super().get()


class ReadableCallbackHandler(OAuthCallbackHandler):  # type: ignore[misc]
    """Says what happened, and what to do, when the step back from the provider cannot be taken."""

    def check_state(self) -> None:
        try:
            super().check_state()
        except web.HTTPError as error:
            message = "This sign-in was begun in another window, or too long ago. Please sign in again."
            raise web.HTTPError(400, message) from error

    async def login_user(self, data: Any = None) -> Any:
        user = await super().login_user(data)
        if user is not None:
            leave_team_servers(user, {group.name for group in user.groups})
        return user


class NexusAuthenticator(GenericOAuthenticator):  # type: ignore[misc]
    issuer = Unicode(
        config=True, help="The OpenID provider's issuer URL; everything else is discovered from it."
    )
    service = Instance(
        AllocationService, config=True, help="The allocation service, which knows persons and groups."
    )

    login_handler = DiscoveringLoginHandler
    callback_handler = ReadableCallbackHandler
    logout_handler = SignOutHandler

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # The hub asks provider, proxy and notebook servers by one client, whose ten connections as many
        # servers that do not answer yet would take.
        AsyncHTTPClient.configure(AsyncHTTPClient.configured_class(), max_clients=CONNECTIONS)
        self.provider = Provider(self.issuer)
        self.auth_state_groups_key = "nexus_groups"
        self._refreshes: dict[str, asyncio.Task[Any]] = {}

    def get_handlers(self, app: Any) -> list[tuple[str, type]]:
        return [*super().get_handlers(app), (r"/signed-out", SignedOutHandler), *LAUNCHING]

    async def discover(self) -> None:
        """Fill in the provider's addresses."""
        endpoints = await self.provider.endpoints()
        self.authorize_url = endpoints.authorize_url
        self.token_url = endpoints.token_url
        self.userdata_url = endpoints.userdata_url

    async def authenticate(self, handler: Any, data: Any = None, **kwargs: Any) -> Any:
        try:
            await self.discover()
            return await super().authenticate(handler, data, **kwargs)
        except ServiceUnavailable as error:
            message = "You are signed in, but the allocation service does not answer. Try again in a minute."
            raise web.HTTPError(503, message) from error
        except ProviderUnavailable as error:
            raise web.HTTPError(
                503, "The sign-in provider does not answer. Try again in a minute."
            ) from error
        except ForeignToken as error:
            raise web.HTTPError(403, "The sign-in provider's answer could not be verified.") from error

    async def get_token_info(self, handler: Any, params: dict[str, Any]) -> Any:
        """As upstream, and the ID token that comes along is verified here, where every token comes in."""
        token_info = await super().get_token_info(handler, params)
        token_info["verified"] = await self.provider.verify(token_info["id_token"], self.client_id)
        return token_info

    async def token_to_user(self, token_info: dict[str, Any]) -> Any:
        claims = await super().token_to_user(token_info)
        if claims["sub"] != token_info["verified"]["sub"]:
            raise ForeignToken("userinfo speaks of somebody else than the ID token")
        return claims

    async def update_auth_model(self, auth_model: dict[str, Any]) -> dict[str, Any]:
        """Give the person their hub name; raise 403 for the suspended. Nobody administers the hub itself."""
        claims = auth_model["auth_state"][self.user_auth_state_key]
        person = await self.service.put_person(self.issuer, claims)
        if person.suspended:
            reason = f" Reason given: {person.suspension_reason}" if person.suspension_reason else ""
            raise readable(403, SUSPENDED + reason)
        state = {
            **auth_model["auth_state"],
            "hub_name": person.hub_name,
            "nexus_groups": person.groups,
            "is_administrator": person.is_administrator,
        }
        return {**auth_model, "name": person.hub_name, "admin": False, "auth_state": state}

    async def refresh_user(self, user: Any, handler: Any = None, **kwargs: Any) -> Any:
        """Return a fresh model, True where it is the old one; False when the provider ended the sign-in.

        An outage of provider or service signs nobody out: it says nothing about the person,
        and admission asks the service anyway.

        Who asks for another's server is signed in themselves; whose server it is need not be. A team's
        account never signs in: the service says whether it may have a server.
        """
        if is_for_another(user, handler):
            if not (goes_on := await self._may_go_on(user)) and is_launch(handler):
                raise readable(403, GONE.format(account=user.name))
            return goes_on
        try:
            refreshed = await self._shared_refresh(user, handler)
        except (ProviderUnavailable, ServiceUnavailable, OSError) as error:
            self.log.warning("Cannot refresh %s, keeping the sign-in as it is: %s", user.name, error)
            return True
        except Refused as error:
            self.log.warning("The service refuses %s: %s", user.name, error.code)
            refreshed = False
        if refreshed and refreshed["name"] != user.name:
            # They are called otherwise now: the hub can't rename a user under way.
            refreshed = False
        if refreshed:
            leave_team_servers(user, set(refreshed["groups"]))
        if not refreshed and is_launch(handler):
            raise readable(403, SIGN_IN_AGAIN)
        return refreshed and (await self._is_known(user, refreshed) or refreshed)

    async def _is_known(self, user: Any, model: dict[str, Any]) -> bool:
        """Say whether the hub has all of this already: it would write it, with roles and groups, anew."""
        same_groups = {group.name for group in user.groups} == set(model["groups"])
        return same_groups and await user.get_auth_state() == model["auth_state"]

    async def _may_go_on(self, user: Any) -> bool:
        try:
            return await self.service.may_go_on(user.name)
        except ServiceUnavailable as error:
            self.log.warning("Cannot ask about %s: %s", user.name, error)
            return True

    async def _shared_refresh(self, user: Any, handler: Any) -> Any:
        state = await user.get_auth_state()
        if not state:
            return False
        # By token, not by name: a new sign-in must not be given what an older one came to.
        key = state["access_token"]
        task = self._refreshes.get(key)
        if task is None:
            task = self._refreshes[key] = asyncio.ensure_future(self._refresh(user, state, handler))
            forget = lambda _: asyncio.get_running_loop().call_later(  # noqa: E731
                REFRESH_SHARED_FOR_S, self._refreshes.pop, key, None
            )
            task.add_done_callback(forget)
        return await asyncio.shield(task)

    async def _refresh(self, user: Any, state: dict[str, Any], handler: Any) -> Any:
        await self.discover()
        for renew in (None, state.get("refresh_token")):
            try:
                token_info = state["token_response"] if renew is None else await self._renew(handler, renew)
                return await self._token_to_auth_model(token_info)
            except HTTPClientError as error:
                if not 400 <= error.code < 500:
                    raise ProviderUnavailable(str(error)) from error
                self.log.info(
                    "%s: the %s token is no longer good", user.name, "refresh" if renew else "access"
                )
        return False

    async def _renew(self, handler: Any, refresh_token: str) -> Any:
        token_info = await self.get_token_info(
            handler, self.build_refresh_token_request_params(refresh_token)
        )
        return {"refresh_token": refresh_token, **token_info}


def leave_team_servers(user: Any, groups: set[str]) -> None:
    """Take back what the user may do with servers of teams in whose group they are no more."""
    for share in list(user.orm_user.shared_with_me):
        owner = share.spawner.user.name
        # An administrator's way into a server has other scopes, and an end of its own.
        of_team = any(scope.startswith(TEAM_SCOPES[1]) for scope in share.scopes)
        if of_team and group_of_team(owner) not in groups:
            orm.Share.revoke(user.db, share.spawner, user.orm_user)


def is_for_another(user: Any, handler: Any) -> bool:
    """Say whether somebody else's request, a person's or a service's, is about the user's server."""
    # Until the hub knows who asks it refreshes them, and nobody else.
    visitor = getattr(handler, "_jupyterhub_user", None)
    return visitor is not None and (getattr(visitor, "kind", None) != "user" or visitor.name != user.name)


def is_launch(handler: Any) -> bool:
    """Say whether a request asks for a server: there the hub renews the person first, and shows our text."""
    return handler is not None and handler.request.method == "POST" and "spawn" in handler.request.path
