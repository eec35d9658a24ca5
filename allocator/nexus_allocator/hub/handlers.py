"""The hub's own small pages: agreement, launch and stop of one's server, the pages' style and scripts."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from jupyterhub.handlers import BaseHandler
from jupyterhub.handlers.pages import SpawnHandler
from jupyterhub.handlers.static import CacheControlStaticFilesHandler
from tornado import web

from nexus_allocator.hub.for_service import HANDLERS
from nexus_allocator.hub.refusals import OUT_OF_ORDER
from nexus_allocator.hub.service import AllocationService, Refused, ServiceUnavailable

STATIC = Path(__file__).parent / "static"


class AgreementHandler(BaseHandler):  # type: ignore[misc]
    """Takes the acceptance from the launch page; the service opens the account in one transaction."""

    def initialize(self, service: AllocationService) -> None:
        self.service = service

    @web.authenticated
    async def post(self) -> None:
        if self.get_body_argument("accepted", "") != "yes":
            raise web.HTTPError(422, "Tick the box to accept the agreement.")
        version = self.get_body_argument("agreement_version")
        try:
            await self.service.accept_agreement(self.current_user.name, version)
        except Refused as error:
            raise web.HTTPError(error.status, error.message.replace("%", "%%")) from error
        except ServiceUnavailable as error:
            raise web.HTTPError(503, OUT_OF_ORDER) from error
        self.redirect(self.hub.base_url + "spawn")


class LaunchHandler(SpawnHandler):  # type: ignore[misc]
    """Takes the launch form once the person was renewed.

    The hub renews them itself, but leads them on to the launch's progress after one second: where it takes
    longer, nobody would hear that the launch was put off (429), and there would be no progress to see yet.
    """

    @web.authenticated
    async def post(self, user_name: str | None = None, server_name: str = "") -> None:
        with suppress(web.HTTPError):
            # The hub's own renewal shares this one's answer, and shows what speaks against it in the form.
            await self.authenticator.refresh_user(self.current_user, self)
        await super().post(user_name, server_name)


class StopHandler(BaseHandler):  # type: ignore[misc]
    """Stops the person's own server, from a plain form."""

    @web.authenticated
    async def post(self) -> None:
        user = self.current_user
        spawner = user.spawner
        if spawner.ready:
            await self.stop_single_user(user)
        elif spawner.pending:
            raise web.HTTPError(409, "Your server is starting or stopping just now. Try again in a moment.")
        self.redirect(self.hub.base_url + "home")


def handlers(service: AllocationService) -> list[tuple[Any, ...]]:
    return [
        (r"/nexus/agreement", AgreementHandler, {"service": service}),
        (r"/nexus/stop", StopHandler),
        (r"/nexus/static/(.*)", CacheControlStaticFilesHandler, {"path": str(STATIC)}),
        *HANDLERS,
    ]


# The hub's own page stands at this address, too: these have to come before.
LAUNCHING = [(rf"/spawn{names}", LaunchHandler) for names in ("", "/([^/]+)", "/([^/]+)/([^/]+)")]
