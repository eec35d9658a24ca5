"""Stopping one's own server, and keeping it alive."""

from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Form
from fastapi.responses import RedirectResponse

from nexus_allocator.domain.errors import UnknownServer
from nexus_allocator.domain.rights import Action, Reach, does
from nexus_allocator.services import stops
from nexus_allocator.services.hub_calls import ask_at_once
from nexus_allocator.web.flash import redirect
from nexus_allocator.web.sessions import OwnForm, PortalHere, SignedIn
from nexus_allocator.web.views import DEFAULT_SERVER

router = APIRouter(prefix="/servers", dependencies=[OwnForm])

# The service cuts it at the server's planned end.
KEEP_ALIVE = timedelta(days=1)


@router.post("/{path_name:path}/stop")
@does(Action.SERVER_STOP, over=Reach.OWN)
def stop(path_name: str, portal: PortalHere, visitor: SignedIn) -> RedirectResponse:
    try:
        with portal.session_scope() as session:
            server = stops.stop_own(
                session,
                hub_name=visitor.hub_name,
                owner=visitor.hub_name,
                server_name=server_name(path_name),
                now=portal.clock(),
            )
    except UnknownServer:
        # Pressed twice, or stopped by itself meanwhile: what was wanted is so.
        return redirect(portal, "", "was-stopped")
    ask_at_once(portal, portal.hub, [server], now=portal.clock())
    return redirect(portal, "", "stopping")


@router.post("/{path_name:path}/keep-alive")
@does(Action.SERVER_KEEP, over=Reach.OWN)
def keep_alive(
    path_name: str, portal: PortalHere, visitor: SignedIn, keep: Annotated[Literal["yes", "no"], Form()]
) -> RedirectResponse:
    now = portal.clock()
    with portal.session_scope() as session:
        stops.keep_alive(
            session,
            hub_name=visitor.hub_name,
            server_name=server_name(path_name),
            until=now + KEEP_ALIVE if keep == "yes" else now,
            now=now,
        )
    return redirect(portal, "", "kept" if keep == "yes" else "not-kept")


def server_name(path_name: str) -> str:
    """Return the hub's name of a server; the default server's is empty, which no address can hold."""
    return "" if path_name == DEFAULT_SERVER else path_name
