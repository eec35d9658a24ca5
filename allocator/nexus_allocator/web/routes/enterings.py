"""Entering a person's server as an administrator: a form with a reason, and the way in while it is open."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response

from nexus_allocator.domain import wording
from nexus_allocator.domain.errors import AlreadyEntered
from nexus_allocator.domain.rights import Action, Reach, does
from nexus_allocator.services import enterings, portal_reading
from nexus_allocator.web import views
from nexus_allocator.web.context import Portal, Visitor
from nexus_allocator.web.flash import redirect
from nexus_allocator.web.forms import REASON, Errors, plain_newlines, text_problem
from nexus_allocator.web.rendering import page
from nexus_allocator.web.routes.servers import server_name
from nexus_allocator.web.sessions import Administrator, OwnForm, PortalHere

router = APIRouter(prefix="/admin/servers")

Typed = Annotated[str, Form()]
CHOICES = {"15": "15 minutes", "60": "1 hour", "240": "4 hours"}


@router.get("/{hub_name}/{path_name:path}/enter", response_class=HTMLResponse)
@does(Action.SERVER_ENTER, over=Reach.ANY)
def enter_form(
    *, request: Request, hub_name: str, path_name: str, portal: PortalHere, visitor: Administrator
) -> HTMLResponse:
    return enter_page(request, portal, visitor, hub_name=hub_name, path_name=path_name, reason="", errors={})


@router.post("/{hub_name}/{path_name:path}/enter", dependencies=[OwnForm])
@does(Action.SERVER_ENTER, over=Reach.ANY)
def enter(
    *,
    request: Request,
    hub_name: str,
    path_name: str,
    portal: PortalHere,
    visitor: Administrator,
    reason: Typed = "",
    minutes: Typed = "15",
) -> Response:
    text = plain_newlines(reason)
    errors: Errors = {}
    if problem := text_problem(text, REASON, "a reason"):
        errors["reason"] = problem
    if minutes not in CHOICES:
        errors["minutes"] = f"Choose one of {', '.join(CHOICES.values())}."
    if not errors:
        errors = begun(portal, visitor, hub_name, path_name, reason=text, minutes=int(minutes))
    if errors:
        return enter_page(
            request, portal, visitor, hub_name=hub_name, path_name=path_name, reason=text, errors=errors
        )
    return redirect(portal, f"admin/servers/{hub_name}/{path_name}/enter", "entered")


@router.post("/{hub_name}/{path_name:path}/leave", dependencies=[OwnForm])
@does(Action.SERVER_ENTER, over=Reach.ANY)
def leave(hub_name: str, path_name: str, portal: PortalHere, visitor: Administrator) -> Response:
    with portal.session_scope() as session:
        enterings.end(
            session, administrator_id=visitor.person_id, hub_name=hub_name,
            server_name=server_name(path_name), now=portal.clock(),
        )  # fmt: skip
    enterings.end_due(portal.reading_scope, portal.session_scope, portal.hub, now=portal.clock())
    return redirect(portal, f"admin/servers/{hub_name}/{path_name}/enter", "left")


def begun(
    portal: Portal, visitor: Visitor, hub_name: str, path_name: str, *, reason: str, minutes: int
) -> Errors:
    try:
        with portal.session_scope() as session:
            grant = enterings.begin(
                session, administrator_id=visitor.person_id, hub_name=hub_name,
                server_name=server_name(path_name), reason=reason, minutes=minutes, now=portal.clock(),
            )  # fmt: skip
    except AlreadyEntered as refusal:
        return {"minutes": wording.sentence(refusal)}
    enterings.open_door(portal.session_scope, portal.hub, grant, now=portal.clock())
    return {}


def enter_page(
    request: Request,
    portal: Portal,
    visitor: Visitor,
    *,
    hub_name: str,
    path_name: str,
    reason: str,
    errors: Errors,
) -> HTMLResponse:
    name = server_name(path_name)
    with portal.reading_scope() as session:
        found = portal_reading.live_server(session, hub_name=hub_name, server_name=name, now=portal.clock())
        grant = enterings.open_for(
            session, administrator_id=visitor.person_id, hub_name=hub_name, server_name=name
        )
        past = enterings.of_person(session, hub_name=hub_name)
    shown = views.server_view(found, portal.policy, own=False)
    values = {
        "server": shown,
        "grant": grant if grant and grant.until > portal.clock() else None,
        "past": [each for each in past if each.until <= portal.clock()],
        "is_own": hub_name == visitor.hub_name,
        "server_url": f"{portal.hub_public_url}{shown.hub_path}".rstrip("/") + "/",
        "choices": CHOICES,
        "errors": errors,
        "reason": reason,
        "limits": REASON,
    }
    status = 422 if errors else 200
    return page(request, "admin_enter.html", values, visitor=visitor, here="admin", status=status)
