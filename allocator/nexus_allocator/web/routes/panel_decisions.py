"""What administrators do to one request beside a yes or a no: refer it, place it, offer other terms."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import Response

from nexus_allocator.domain.rights import Action, does
from nexus_allocator.services import offers, panels
from nexus_allocator.web.flash import redirect
from nexus_allocator.web.forms import REASON, Award, plain_newlines, text_problem
from nexus_allocator.web.routes.administration import not_given, request_page, typed_award
from nexus_allocator.web.sessions import Administrator, OwnForm, PortalHere

router = APIRouter(prefix="/admin/panel/requests")

Typed = Annotated[str, Form()]


@router.post("/{request_id}/offer", dependencies=[OwnForm])
@does(Action.REQUEST_DECIDE)
def offer(
    *,
    request: Request,
    request_id: UUID,
    portal: PortalHere,
    visitor: Administrator,
    award: Annotated[Award, Depends(typed_award)],
) -> Response:
    if refused := not_given(request, portal, visitor, request_id=request_id, award=award, give=offers.make):
        return refused
    return redirect(portal, f"admin/requests/{request_id}", "offered")


@router.post("/{request_id}/take-back", dependencies=[OwnForm])
@does(Action.REQUEST_DECIDE)
def take_back(
    *,
    request: Request,
    request_id: UUID,
    portal: PortalHere,
    visitor: Administrator,
    reason: Typed = "",
) -> Response:
    text = plain_newlines(reason)
    if problem := text_problem(text, REASON, "a reason"):
        return request_page(
            request, portal, visitor, request_id=request_id, errors={"reason": problem}, award=None,
            reason=text,
        )  # fmt: skip
    with portal.session_scope() as session:
        offers.take_back(
            session, request_id, administrator_id=visitor.person_id, reason=text, now=portal.clock()
        )
    return redirect(portal, f"admin/requests/{request_id}", "taken-back")


@router.post("/{request_id}/refer", dependencies=[OwnForm])
@does(Action.REQUEST_DECIDE)
def refer(
    *,
    request: Request,
    request_id: UUID,
    portal: PortalHere,
    visitor: Administrator,
    referral: Typed = "",
) -> Response:
    text = plain_newlines(referral)
    if problem := text_problem(text, REASON, "a reason"):
        return request_page(
            request, portal, visitor, request_id=request_id, errors={"referral": problem}, award=None,
            reason="", referral=text,
        )  # fmt: skip
    with portal.session_scope() as session:
        panels.refer(session, request_id, administrator_id=visitor.person_id, reason=text, now=portal.clock())
    return redirect(portal, f"admin/requests/{request_id}", "referred")


@router.post("/{request_id}/place", dependencies=[OwnForm])
@does(Action.REQUEST_DECIDE)
def place(
    *, request_id: UUID, portal: PortalHere, visitor: Administrator, round_id: Annotated[UUID, Form()]
) -> Response:
    with portal.session_scope() as session:
        panels.place(session, request_id, round_id, administrator_id=visitor.person_id, now=portal.clock())
    return redirect(portal, f"admin/requests/{request_id}", "placed")
