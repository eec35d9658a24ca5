"""Care of people: suspending and reinstating somebody, and holding launches for maintenance."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response

from nexus_allocator.domain.errors import UnknownPerson
from nexus_allocator.domain.rights import Action, Reach, does
from nexus_allocator.services import maintenance, portal_lists, suspensions
from nexus_allocator.services.hub_calls import ask_at_once
from nexus_allocator.web import views
from nexus_allocator.web.context import Portal, Visitor
from nexus_allocator.web.flash import redirect
from nexus_allocator.web.forms import REASON, Errors, number, plain_newlines, text_problem
from nexus_allocator.web.rendering import page
from nexus_allocator.web.sessions import Administrator, OwnForm, PortalHere

router = APIRouter(prefix="/admin")

Typed = Annotated[str, Form()]
LONGEST_MINUTES = 60 * 24 * 30


@router.get("/people/{hub_name}", response_class=HTMLResponse)
@does(Action.PERSON_SEE, over=Reach.ANY)
def person(request: Request, hub_name: str, portal: PortalHere, visitor: Administrator) -> HTMLResponse:
    return person_page(request, portal, visitor, hub_name=hub_name, reason="", errors={})


@router.post("/people/{hub_name}/suspend", dependencies=[OwnForm])
@does(Action.PERSON_SUSPEND)
def suspend(
    *, request: Request, hub_name: str, portal: PortalHere, visitor: Administrator, reason: Typed = ""
) -> Response:
    text = plain_newlines(reason)
    if problem := text_problem(text, REASON, "a reason"):
        errors = {"reason": problem}
        return person_page(request, portal, visitor, hub_name=hub_name, reason=text, errors=errors)
    with portal.session_scope() as session:
        servers = suspensions.suspend_as_administrator(
            session,
            administrator_id=visitor.person_id,
            hub_name=hub_name,
            reason=text,
            now=portal.clock(),
        )
    ask_at_once(portal, portal.hub, servers, now=portal.clock())
    return redirect(portal, f"admin/people/{hub_name}", "suspended")


@router.post("/people/{hub_name}/reinstate", dependencies=[OwnForm])
@does(Action.PERSON_REINSTATE)
def reinstate(hub_name: str, portal: PortalHere, visitor: Administrator) -> Response:
    with portal.session_scope() as session:
        suspensions.reinstate_as_administrator(
            session, administrator_id=visitor.person_id, hub_name=hub_name, now=portal.clock()
        )
    return redirect(portal, f"admin/people/{hub_name}", "reinstated")


@router.get("/maintenance", response_class=HTMLResponse)
@does(Action.LAUNCHES_HOLD)
def maintenance_form(request: Request, portal: PortalHere, visitor: Administrator) -> HTMLResponse:
    return maintenance_page(request, portal, visitor, message="", minutes="", errors={})


@router.post("/maintenance", dependencies=[OwnForm])
@does(Action.LAUNCHES_HOLD)
def hold_launches(
    *,
    request: Request,
    portal: PortalHere,
    visitor: Administrator,
    message: Typed = "",
    minutes: Typed = "",
) -> Response:
    text, length = plain_newlines(message), number(minutes)
    errors: Errors = {}
    if problem := text_problem(text, REASON, "a message"):
        errors["message"] = problem
    if minutes.strip() and (length is None or length % 1 or not 0 < length <= LONGEST_MINUTES):
        errors["minutes"] = f"Leave it empty, or give whole minutes from 1 to {LONGEST_MINUTES:,}."
    if errors:
        return maintenance_page(request, portal, visitor, message=text, minutes=minutes, errors=errors)
    until = portal.clock() + timedelta(minutes=int(length)) if length else None
    with portal.session_scope() as session:
        maintenance.hold_as_administrator(
            session, administrator_id=visitor.person_id, message=text, until=until, now=portal.clock()
        )
    return redirect(portal, "admin/maintenance", "held")


@router.post("/maintenance/lift", dependencies=[OwnForm])
@does(Action.LAUNCHES_HOLD)
def lift(portal: PortalHere, visitor: Administrator) -> Response:
    with portal.session_scope() as session:
        maintenance.lift_as_administrator(session, administrator_id=visitor.person_id, now=portal.clock())
    return redirect(portal, "admin/maintenance", "let-through")


def person_page(
    request: Request, portal: Portal, visitor: Visitor, *, hub_name: str, reason: str, errors: Errors
) -> HTMLResponse:
    with portal.reading_scope() as session:
        found = portal_lists.people(session, policy=portal.policy, query=hub_name[:100], number=1)
        running = portal_lists.servers(session, now=portal.clock())
    rows = [row for row in found.rows if row.hub_name == hub_name]
    if not rows:
        raise UnknownPerson(person=hub_name[:40])
    values = {
        "person": rows[0],
        "is_self": hub_name == visitor.hub_name,
        "servers": [
            views.server_view(server, portal.policy, own=False)
            for server in running
            if server.hub_name == hub_name
        ],
        "reason": reason,
        "errors": errors,
        "limits": REASON,
    }
    status = 422 if errors else 200
    return page(request, "admin_person.html", values, visitor=visitor, here="admin", status=status)


def maintenance_page(
    request: Request, portal: Portal, visitor: Visitor, *, message: str, minutes: str, errors: Errors
) -> HTMLResponse:
    with portal.reading_scope() as session:
        held = maintenance.standing(session, now=portal.clock())
    values = {"held": held, "message": message, "minutes": minutes, "errors": errors, "limits": REASON}
    status = 422 if errors else 200
    return page(request, "admin_maintenance.html", values, visitor=visitor, here="admin", status=status)
