"""Who is looking: the session cookie, checked against the hub, and the proof that a form is ours."""

import secrets
from typing import Annotated
from urllib.parse import unquote

from fastapi import Depends, Form, Request, Response
from fastapi.concurrency import run_in_threadpool

from nexus_allocator.domain.errors import InvalidRequest
from nexus_allocator.domain.rights import NOBODY_KNOWN, deed_of, lets, somewhere, whose
from nexus_allocator.services import web_sessions
from nexus_allocator.web.context import ForbiddenError, Portal, SignInNeededError, Visitor
from nexus_allocator.web.oauth import HUB_SESSION_COOKIE, HubUnreachableError

COOKIE = "nexus-session"
# No name or text has one, and PostgreSQL can't keep it.
NUL = "\x00"


async def portal_of(request: Request) -> Portal:
    portal: Portal = request.app.state.portal
    return portal


PortalHere = Annotated[Portal, Depends(portal_of)]


def hub_session_of(request: Request) -> str:
    return request.cookies.get(HUB_SESSION_COOKIE, "")


async def current_visitor(request: Request, portal: PortalHere) -> Visitor:
    """Return who is signed in, looked up once per request.

    Raises SignInNeededError where session or hub token has ended, HubUnreachableError.
    """
    if not hasattr(request.state, "visitor"):
        request.state.visitor = await run_in_threadpool(_looked_up, request, portal)
    found: Visitor = request.state.visitor
    return found


def _looked_up(request: Request, portal: Portal) -> Visitor:
    session_id = request.cookies.get(COOKIE, "")
    with portal.reading_scope() as session:
        found = web_sessions.find_session(session, session_id, now=portal.clock()) if session_id else None
    if found is None:
        raise SignInNeededError
    person = portal.sign_in.person_for_token(found.hub_token, hub_session=hub_session_of(request))
    if person is None or not person.may_enter or person.hub_name != found.hub_name:
        with portal.session_scope() as session:
            web_sessions.close_session(session, session_id)
        raise SignInNeededError
    return Visitor(
        person_id=found.person_id,
        hub_name=found.hub_name,
        display_name=found.display_name,
        is_administrator=found.is_administrator,
        csrf=found.csrf,
        is_reviewer=found.is_reviewer,
    )


SignedIn = Annotated[Visitor, Depends(current_visitor)]


async def visitor_if_known(request: Request, portal: PortalHere) -> Visitor | None:
    """Return who is signed in; None where nobody is, or where the hub can't be asked: for public pages."""
    try:
        return await current_visitor(request, portal)
    except (SignInNeededError, HubUnreachableError):
        return None


Anybody = Annotated[Visitor | None, Depends(visitor_if_known)]


# On a route whose deed the table gives to administrators only.
Administrator = SignedIn


async def allowed(request: Request, portal: PortalHere) -> None:
    """Let pass who may do what the route names: before every page, and before what it asks for is read.

    Raises SignInNeededError, ForbiddenError, InvalidRequest for an address that the database can't look for.
    """
    if NUL in request.url.path or NUL in unquote(request.url.path):
        raise InvalidRequest(problem="its address holds a NUL character")
    deed = deed_of(request.scope["endpoint"])
    if lets(NOBODY_KNOWN, deed):
        return
    visitor = await current_visitor(request, portal)
    is_reviewer = visitor.is_reviewer
    if not lets(somewhere(is_administrator=visitor.is_administrator, is_reviewer=is_reviewer), deed):
        raise ForbiddenError(f"This page is for {whose(deed)}.")


async def own_form(request: Request, visitor: SignedIn, csrf: Annotated[str, Form()] = "") -> None:
    """Refuse a POST that does not come from a form this session was given, and what nobody can type."""
    if not secrets.compare_digest(csrf.encode(), visitor.csrf.encode()):
        raise ForbiddenError(
            "This form was not made for your present session, so nothing was changed. "
            "Open the page again and repeat what you wanted to do."
        )
    typed = await request.form()
    if any(NUL in value for value in typed.values() if isinstance(value, str)):
        raise InvalidRequest(problem="it holds a NUL character")


OwnForm = Depends(own_form)


def keep_session(response: Response, session_id: str, portal: Portal) -> None:
    """Hand the session's id to the browser, for the portal's own pages only. Writes into ``response``."""
    response.set_cookie(
        COOKIE,
        session_id,
        max_age=int(web_sessions.SESSION_AGE.total_seconds()),
        path=portal.prefix,
        httponly=True,
        samesite="lax",
        secure=portal.secure_cookies,
    )
