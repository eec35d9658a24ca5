"""Snapshots: the days that a person's places were kept as they were, and files brought back from one."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response

from nexus_allocator.domain import wording
from nexus_allocator.domain.errors import BadName, NothingToRestore
from nexus_allocator.domain.places import Place
from nexus_allocator.domain.rights import Action, does
from nexus_allocator.services import snapshot_asks
from nexus_allocator.web.context import Portal, Visitor
from nexus_allocator.web.flash import redirect
from nexus_allocator.web.forms import Errors
from nexus_allocator.web.rendering import page
from nexus_allocator.web.sessions import OwnForm, PortalHere, SignedIn

router = APIRouter(prefix="/storage/snapshots")
Typed = Annotated[str, Form()]
NOTHING = {"place": "", "day": "", "file": ""}
NOT_KEPT = "This day is not kept any more; choose another one."


@router.get("", response_class=HTMLResponse)
@does(Action.SNAPSHOT_SEE)
def own_snapshots(request: Request, portal: PortalHere, visitor: SignedIn) -> HTMLResponse:
    return snapshots_page(request, portal, visitor, typed=NOTHING, errors={})


@router.post("", dependencies=[OwnForm])
@does(Action.SNAPSHOT_RESTORE)
def bring_back(
    *,
    request: Request,
    portal: PortalHere,
    visitor: SignedIn,
    place: Typed = "",
    day: Typed = "",
    file: Typed = "",
) -> Response:
    where = Place.named(place)
    errors: Errors = {}
    try:
        with portal.session_scope() as session:
            snapshot_asks.ask(session, where, day, file, hub_name=visitor.hub_name, now=portal.clock())
    except NothingToRestore:
        errors = {f"day-{ident(where)}": NOT_KEPT}
    except BadName as error:
        errors = {f"file-{ident(where)}": wording.sentence(error)}
    if errors:
        typed = {"place": place, "day": day, "file": file}
        return snapshots_page(request, portal, visitor, typed=typed, errors=errors)
    return redirect(portal, "storage/snapshots", "bringing-back")


def ident(place: Place) -> str:
    """Return by what a place is told apart within the page."""
    return f"{place.kind}-{place.name}"


def snapshots_page(
    request: Request, portal: Portal, visitor: Visitor, *, typed: dict[str, str], errors: Errors
) -> HTMLResponse:
    with portal.reading_scope() as session:
        found = snapshot_asks.of_person(session, hub_name=visitor.hub_name, policy=portal.policy)
    values = {
        "places": [(ident(each.place), each) for each in found], "terms": portal.policy.snapshots,
        "typed": typed, "errors": errors,
    }  # fmt: skip
    status = 422 if errors else 200
    return page(request, "snapshots.html", values, visitor=visitor, here="storage", status=status)
