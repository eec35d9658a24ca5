"""The user agreement: anybody reads it, who is signed in accepts it, again when it changes."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response

from nexus_allocator.domain.rights import Action, Reach, does
from nexus_allocator.services import agreements, people
from nexus_allocator.web.flash import redirect
from nexus_allocator.web.rendering import page
from nexus_allocator.web.sessions import Anybody, OwnForm, PortalHere, SignedIn

router = APIRouter(prefix="/agreement")


@router.get("", response_class=HTMLResponse)
@does(Action.AGREEMENT_SEE)
def read(request: Request, portal: PortalHere, visitor: Anybody) -> HTMLResponse:
    standing = None
    if visitor is not None:
        with portal.reading_scope() as session:
            standing = agreements.standing(session, portal.policy.agreement, hub_name=visitor.hub_name)
    values = {"agreement": portal.policy.agreement, "standing": standing}
    return page(request, "agreement.html", values, visitor=visitor)


@router.post("", dependencies=[OwnForm])
@does(Action.AGREEMENT_ACCEPT, over=Reach.OWN)
def accept(portal: PortalHere, visitor: SignedIn, version: Annotated[str, Form()] = "") -> Response:
    with portal.session_scope() as session:
        people.accept_agreement(
            session, policy=portal.policy, hub_name=visitor.hub_name, version=version, now=portal.clock()
        )
    return redirect(portal, "agreement", "accepted")
