"""An applicant's answer to a counter-offer."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from nexus_allocator.domain import wording
from nexus_allocator.domain.errors import BadReason
from nexus_allocator.domain.rights import Action, does
from nexus_allocator.services import offers
from nexus_allocator.web.flash import redirect
from nexus_allocator.web.forms import REASON, AskForm, plain_newlines, text_problem
from nexus_allocator.web.routes.requests import Shown, requests_page
from nexus_allocator.web.sessions import OwnForm, PortalHere, SignedIn

router = APIRouter(prefix="/requests")

Number = Annotated[int, Form(ge=1, le=1_000_000)]


@router.post("/{request_id}/offer/accept", dependencies=[OwnForm])
@does(Action.OFFER_ANSWER)
def accept(request_id: UUID, portal: PortalHere, visitor: SignedIn, number: Number) -> Response:
    with portal.session_scope() as session:
        offers.accept(
            session,
            request_id,
            number,
            hub_name=visitor.hub_name,
            policy=portal.policy,
            now=portal.clock(),
        )
    return redirect(portal, "requests", "offer-accepted")


@router.post("/{request_id}/offer/decline", dependencies=[OwnForm])
@does(Action.OFFER_ANSWER)
def decline(
    *,
    request: Request,
    request_id: UUID,
    portal: PortalHere,
    visitor: SignedIn,
    number: Number,
    reason: Annotated[str, Form()] = "",
) -> Response:
    text = plain_newlines(reason)
    try:
        with portal.session_scope() as session:
            offers.decline(
                session, request_id, number, hub_name=visitor.hub_name, reason=text, now=portal.clock()
            )
    except BadReason as refusal:
        problem = text_problem(text, REASON, "a reason") or wording.sentence(refusal)
        errors = {f"reason-{request_id}": problem}
        return requests_page(request, portal, visitor, Shown(AskForm(), errors, declined=text))
    return redirect(portal, "requests", "offer-declined")
