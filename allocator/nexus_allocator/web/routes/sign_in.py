"""Signing in through the hub, and the portal's own health."""

import logging
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from nexus_allocator.domain.errors import UnknownPerson
from nexus_allocator.domain.rights import Action, does
from nexus_allocator.services import web_sessions
from nexus_allocator.web.context import Portal
from nexus_allocator.web.oauth import (
    STATE_AGE_S,
    CodeRefusedError,
    HubPerson,
    local_path,
    new_state,
    returned_state,
)
from nexus_allocator.web.rendering import page
from nexus_allocator.web.sessions import PortalHere, hub_session_of, keep_session

router = APIRouter()
log = logging.getLogger("nexus_allocator.web")


@router.get("/sign-in")
@does(Action.SIGN_IN)
def sign_in(portal: PortalHere, next: Annotated[str, Query()] = "") -> Response:  # noqa: A002 - as in the address
    attempt = new_state(local_path(next, prefix=portal.prefix))
    response = RedirectResponse(portal.sign_in.authorize_url(attempt.state), 303)
    response.set_cookie(
        attempt.cookie_name,
        attempt.cookie_value(),
        max_age=STATE_AGE_S,
        path=portal.prefix,
        httponly=True,
        samesite="lax",
        secure=portal.secure_cookies,
    )
    return response


@router.get("/oauth_callback")
@does(Action.SIGN_IN)
def oauth_callback(
    *,
    request: Request,
    portal: PortalHere,
    state: Annotated[str, Query(max_length=200)] = "",
    code: Annotated[str, Query(max_length=2000)] = "",
    error: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    attempt = returned_state(state, request.cookies)
    if attempt is None:
        return refused(
            request,
            400,
            "This sign-in was not started in this browser, or it took longer than ten minutes. "
            "Please start again.",
        )
    if error == "access_denied":
        return refused(
            request, 403, "You, or the hub on your behalf, did not allow the portal to know who you are."
        )
    if error or not code:
        log.warning("the hub refused a sign-in: %s", error or "no code")
        return refused(request, 400, "The hub did not complete the sign-in. Please try again.")
    response = enter(request, portal, code, attempt.next_path)
    response.delete_cookie(attempt.cookie_name, path=portal.prefix)
    return response


def enter(request: Request, portal: Portal, code: str, next_path: str) -> Response:
    try:
        token = portal.sign_in.token_for_code(code)
    except CodeRefusedError as problem:
        log.warning("the hub refused a code: %s", problem)
        return refused(request, 400, "The hub did not accept this sign-in; it may have been used already.")
    person = portal.sign_in.person_for_token(token, hub_session=hub_session_of(request))
    if person is None or not person.may_enter:
        return refused(request, 403, "Your hub account is not allowed to use the portal.")
    session_id = open_for(portal, person, token)
    if session_id is None:
        return refused(
            request, 403, "The Nexus does not know you yet. Open the launch page once, then come back."
        )
    response = RedirectResponse(local_path(next_path, prefix=portal.prefix), 303)
    keep_session(response, session_id, portal)
    return response


def open_for(portal: Portal, person: HubPerson, token: str) -> str | None:
    try:
        with portal.session_scope() as session:
            return web_sessions.open_session(
                session, hub_name=person.hub_name, hub_token=token, now=portal.clock()
            )
    except UnknownPerson:
        return None


def refused(request: Request, status: int, text: str) -> Response:
    portal: Portal = request.app.state.portal
    action = {"href": f"{portal.prefix}sign-in", "label": "Sign in again"}
    values = {"heading": "You are not signed in", "text": text, "action": action}
    return page(request, "message.html", values, visitor=None, status=status)


@router.get("/health")
@does(Action.HEALTH_SEE)
def health() -> dict[str, str]:
    return {"status": "ok"}
