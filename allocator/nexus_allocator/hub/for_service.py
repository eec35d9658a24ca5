"""What the hub does for the allocation service where its own scopes would let the service do far more.

`tokens` could also make tokens for anybody, and `shares` enter every server. Behind scopes of ours stand
only these: ending all tokens of a person, an administrator's way into one server and out of it again, and the
end of what runs without the hub's knowledge.
"""

from datetime import timedelta
from typing import Any

from jupyterhub import orm
from jupyterhub.apihandlers.base import APIHandler
from tornado import web

from nexus_allocator.domain.scopes import ADMINISTRATORS

END_TOKENS, OPEN_DOORS = "custom:nexus:service:end-tokens", "custom:nexus:service:open-doors"
END_STRAYS = "custom:nexus:service:end-strays"
CUSTOM_SCOPES = {
    END_TOKENS: {"description": "End all tokens of a person"},
    OPEN_DOORS: {"description": "Let an administrator of the Nexus into one server, and out again"},
    END_STRAYS: {"description": "End servers that the hub does not know of"},
}


class ForService(APIHandler):  # type: ignore[misc]
    """Answers who has the scope, and nobody else."""

    needs: str

    def prepare_for(self, *names: str) -> list[Any]:
        """Return these people; raise 403 without the scope, and 404 for whom the hub does not know."""
        if not self.has_scope(self.needs):
            raise web.HTTPError(403, f"This needs the scope {self.needs}.")
        found = [self.find_user(name) for name in names]
        if None in found:
            raise web.HTTPError(404)
        return found


class TokensHandler(ForService):
    needs = END_TOKENS

    def delete(self, name: str) -> None:
        """End every token of the person, those of browsers and servers too."""
        (person,) = self.prepare_for(name)
        for token in person.api_tokens:
            token.expires_at = token.now() - timedelta(seconds=1)
        orm.APIToken.purge_expired(self.db)
        self.set_status(204)


class DoorHandler(ForService):
    needs = OPEN_DOORS

    def put(self, owner: str, server: str, guest: str) -> None:
        """Let an administrator of the Nexus into the server, until that is taken back."""
        spawner, visitor = self.door(owner, server, guest)
        if ADMINISTRATORS not in {group.name for group in visitor.groups}:
            raise web.HTTPError(403, f"{guest} is no administrator of the Nexus.")
        orm.Share.grant(self.db, spawner, visitor.orm_user)
        self.set_status(204)

    def delete(self, owner: str, server: str, guest: str) -> None:
        spawner, visitor = self.door(owner, server, guest)
        orm.Share.revoke(self.db, spawner, visitor.orm_user)
        self.set_status(204)

    def door(self, owner: str, server: str, guest: str) -> tuple[Any, Any]:
        host, visitor = self.prepare_for(owner, guest)
        # A path can't hold an empty segment, and the default server's name is empty.
        spawner = host.orm_spawners.get("" if server == "-" else server)
        if spawner is None:
            raise web.HTTPError(404)
        return spawner, visitor


class StraysHandler(ForService):
    needs = END_STRAYS

    async def delete(self) -> None:
        """End servers that run and are none of the hub's: one that was restored may lack what still runs."""
        self.prepare_for()
        anybody = self.db.query(orm.User).first()
        ended: list[str] = []
        # Any spawner will do. A hub that knows nobody has a wrong database rather than strays.
        if anybody is not None and hasattr(self.settings["spawner_class"], "end_strays"):
            ended = await self.user_from_username(anybody.name).spawner.end_strays(self.holds_alive)
        self.write({"ended": ended})

    def holds_alive(self) -> set[str]:
        """Return the holds of servers that the hub runs, starts, stops or still checks."""
        rows = self.db.query(orm.Spawner).filter(orm.Spawner.server_id.is_not(None))
        kept = ((row.state or {}).get("hold_id") for row in rows)
        loaded = (each for user in self.users.values() for each in user.spawners.values())
        running = (each.hold_id for each in loaded if each.active)
        return {hold_id for hold_id in (*kept, *running) if hold_id is not None}


HANDLERS = [
    (r"/api/nexus/tokens/([^/]+)", TokensHandler),
    (r"/api/nexus/doors/([^/]+)/([^/]+)/([^/]+)", DoorHandler),
    (r"/api/nexus/strays", StraysHandler),
]
