"""Signing out for good: of the hub, of what the hub signed in (the portal), and of the provider."""

from typing import Any

from jupyterhub.handlers import BaseHandler
from oauthenticator.oauth2 import OAuthLogoutHandler
from tornado import web
from tornado.httputil import url_concat

from nexus_allocator.hub.discovery import ProviderUnavailable


class SignOutHandler(OAuthLogoutHandler):  # type: ignore[misc]
    """The hub's own log-out revokes the portal's tokens of this session; then the provider forgets, too."""

    id_token: str | None = None

    async def handle_logout(self) -> None:
        await super().handle_logout()
        user = self.current_user
        state = await user.get_auth_state() if user else None
        self.id_token = (state or {}).get("id_token")

    async def render_logout_page(self) -> None:
        self.redirect(await self.provider_end_session_url() or self.signed_out_url())

    async def provider_end_session_url(self) -> str | None:
        """Return the provider's page that ends the session there and comes back; None where there is none."""
        try:
            endpoints = await self.authenticator.provider.endpoints()
        except ProviderUnavailable as error:
            message = (
                "You are signed out here, but the sign-in provider does not answer and may still know you."
            )
            raise web.HTTPError(503, message) from error
        if self.id_token is None or endpoints.end_session_url is None:
            return None
        back = self.authenticator.oauth_callback_url.rsplit("/", 1)[0] + "/signed-out"
        query = {"id_token_hint": self.id_token, "post_logout_redirect_uri": back}
        return str(url_concat(endpoints.end_session_url, query))

    def signed_out_url(self) -> str:
        return str(self.hub.base_url) + "signed-out"


class SignedOutHandler(BaseHandler):  # type: ignore[misc]
    """Where the provider sends people back to, once they are signed out."""

    async def get(self) -> None:
        if self.current_user:
            self.redirect(self.hub.base_url)
            return
        self.finish(await self.render_template("logout.html", **self.names()))

    def names(self) -> dict[str, Any]:
        return {"sign_in_url": self.settings["login_url"]}
