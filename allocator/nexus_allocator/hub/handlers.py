"""The hub's own small pages: agreement, launch and stop of one's server, the pages' style and scripts."""

from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jupyterhub import orm
from jupyterhub.handlers import BaseHandler
from jupyterhub.handlers.base import UserUrlHandler
from jupyterhub.handlers.pages import SpawnHandler, SpawnPendingHandler
from jupyterhub.handlers.static import CacheControlStaticFilesHandler
from tornado import web

from nexus_allocator.domain.teams import group_of_team
from nexus_allocator.hub.for_service import HANDLERS
from nexus_allocator.hub.refusals import OUT_OF_ORDER, readable
from nexus_allocator.hub.service import AllocationService, Refused, ServiceUnavailable, TeamServer

NOT_FOUND = 404
STATIC = Path(__file__).parent / "static"
# What a member may with the one server of the team's account: enter it; see, start and stop it.
TEAM_SCOPES = ("access:servers", "servers")
STOPPED_BY_TEAM = "team-hand"
NOT_IN_TEAM = "There is no team {team} in which you are a member, so it has no server to show you."


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


class NamesVisitor(BaseHandler):  # type: ignore[misc]
    """For pages on which the hub calls ``user`` whose server it is, which need not be who looks at it."""

    @property
    def template_namespace(self) -> dict[str, Any]:
        return {**super().template_namespace, "visitor": self.current_user}


class PendingHandler(NamesVisitor, SpawnPendingHandler):  # type: ignore[misc]
    """Shows a server's start, or stop."""


class StoppedHandler(NamesVisitor, UserUrlHandler):  # type: ignore[misc]
    """Stands at the address of a server that does not run."""

    @web.authenticated
    async def get(self, user_name: str, user_path: str | None) -> None:
        """Lead a member who came by a link to the team's page, from which on the hub lets them in."""
        groups = {group.name for group in getattr(self.current_user, "groups", ())}
        if group_of_team(user_name) in groups and not self.has_scope(f"access:servers!server={user_name}/"):
            self.redirect(self.hub.base_url + f"nexus/team/{quote(user_name)}")
            return
        await super().get(user_name, user_path)


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


class TeamServerHandler(BaseHandler):  # type: ignore[misc]
    """A team's own server: that of an account nobody signs in to, which the team's members share."""

    def initialize(self, service: AllocationService) -> None:
        self.service = service

    @web.authenticated
    async def get(self, team: str) -> None:
        """Show it to a member, for whom the hub opens the account if it has none yet."""
        server = await self.ask(team)
        spawner = self.shared(team)
        page = await self.render_template(
            "team_server.html", team=server, account=spawner.user, spawner=spawner
        )
        self.finish(page)

    @web.authenticated
    async def post(self, team: str) -> None:
        """Stop it, from a plain form."""
        await self.ask(team)
        spawner = self.shared(team)
        if spawner.ready:
            await spawner.announce_stop(STOPPED_BY_TEAM, self.current_user.name)
            await self.stop_single_user(spawner.user)
        elif spawner.pending:
            raise web.HTTPError(409, "The server is starting or stopping just now. Try again in a moment.")
        self.redirect(self.hub.base_url + f"nexus/team/{quote(team)}")

    async def ask(self, team: str) -> TeamServer:
        try:
            return await self.service.team_server(team, asked_by=self.current_user.name)
        except Refused as error:
            told = NOT_IN_TEAM.format(team=team) if error.status == NOT_FOUND else error.message
            raise readable(error.status, told) from error
        except ServiceUnavailable as error:
            raise web.HTTPError(503, OUT_OF_ORDER) from error

    def shared(self, team: str) -> Any:
        """Return the server of the team's account at the hub, which the visitor may use from now on."""
        spawner = self.user_from_username(team).spawner
        # Not with the team's group: of a group's shares JupyterHub 5 takes no account in tokens, and a
        # server asks with one. The authenticator takes it back from who is no member any more.
        orm.Share.grant(self.db, spawner.orm_spawner, self.current_user.orm_user, TEAM_SCOPES)
        return spawner


def handlers(service: AllocationService) -> list[tuple[Any, ...]]:
    return [
        (r"/nexus/agreement", AgreementHandler, {"service": service}),
        (r"/nexus/stop", StopHandler),
        (r"/nexus/static/(.*)", CacheControlStaticFilesHandler, {"path": str(STATIC)}),
        (r"/nexus/team/([a-z0-9-]+)", TeamServerHandler, {"service": service}),
        *HANDLERS,
    ]


# The hub's own pages stand at these addresses, too: these have to come before.
LAUNCHING = [
    *[(rf"/spawn{names}", LaunchHandler) for names in ("", "/([^/]+)", "/([^/]+)/([^/]+)")],
    *[(rf"/spawn-pending{names}", PendingHandler) for names in ("/([^/]+)", "/([^/]+)/([^/]+)")],
    (r"/user/(?P<user_name>[^/]+)(?P<user_path>/.*)?", StoppedHandler),
]
