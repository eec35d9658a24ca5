"""Events: administrators make and end them; anybody signed in joins by a code."""

import random
from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response

from nexus_allocator.domain import wording
from nexus_allocator.domain.errors import AllocatorError
from nexus_allocator.domain.rights import Action, does
from nexus_allocator.domain.states import TierSlug
from nexus_allocator.services import events
from nexus_allocator.web.context import Portal, Visitor
from nexus_allocator.web.event_forms import EventForm
from nexus_allocator.web.flash import redirect
from nexus_allocator.web.forms import REASON, Errors, plain_newlines, text_problem
from nexus_allocator.web.rendering import page
from nexus_allocator.web.sessions import Administrator, OwnForm, PortalHere, SignedIn

router = APIRouter()

Typed = Annotated[str, Form()]
LONGEST_CODE = 40


@router.get("/events/join", response_class=HTMLResponse)
@does(Action.EVENT_JOIN)
def join_form(request: Request, portal: PortalHere, visitor: SignedIn) -> HTMLResponse:
    return join_page(request, visitor, code="", errors={}, status=200)


@router.post("/events/join", dependencies=[OwnForm])
@does(Action.EVENT_JOIN)
def join(*, request: Request, portal: PortalHere, visitor: SignedIn, code: Typed = "") -> Response:
    text = plain_newlines(code).strip()
    if not text or len(text) > LONGEST_CODE:
        problem = {"code": "Type the code that you were given, such as BCDF-2345."}
        return join_page(request, visitor, code=text[:LONGEST_CODE], errors=problem, status=422)
    try:
        # Before the code is looked at, and kept whatever comes of it.
        with portal.session_scope() as session:
            events.note_try(session, hub_name=visitor.hub_name, now=portal.clock())
        with portal.session_scope() as session:
            events.join(session, code=text, hub_name=visitor.hub_name, now=portal.clock())
    except AllocatorError as error:
        errors = {"code": wording.sentence(error)}
        return join_page(request, visitor, code=text, errors=errors, status=error.status)
    return redirect(portal, "teams", "joined-event")


@router.get("/admin/events", response_class=HTMLResponse)
@does(Action.EVENT_SEE)
def all_events(request: Request, portal: PortalHere, visitor: Administrator) -> HTMLResponse:
    return events_page(request, portal, visitor, form=None, errors={})


@router.post("/admin/events", dependencies=[OwnForm])
@does(Action.EVENT_MAKE)
def make(
    *,
    request: Request,
    portal: PortalHere,
    visitor: Administrator,
    label: Typed = "",
    starts: Typed = "",
    ends: Typed = "",
    sizes: Annotated[list[str] | None, Form()] = None,
    kind: Typed = "",
    amount: Typed = "",
    people: Typed = "",
) -> Response:
    form, now = EventForm(label, starts, ends, tuple(sizes or ()), kind, amount, people), portal.clock()
    if errors := form.errors(portal.policy, now=now):
        return events_page(request, portal, visitor, form=form, errors=errors)
    with portal.session_scope() as session:
        made = events.make_as_administrator(
            session,
            form.plan(),
            policy=portal.policy,
            administrator_id=visitor.person_id,
            rng=random.SystemRandom(),
            now=now,
        )
    return redirect(portal, f"admin/events/{made.id}", "event-made")


@router.get("/admin/events/{event_id}", response_class=HTMLResponse)
@does(Action.EVENT_SEE)
def one_event(request: Request, event_id: UUID, portal: PortalHere, visitor: Administrator) -> HTMLResponse:
    return event_page(request, portal, visitor, event_id=event_id, reason="", errors={})


@router.post("/admin/events/{event_id}/end", dependencies=[OwnForm])
@does(Action.EVENT_END)
def end(
    *, request: Request, event_id: UUID, portal: PortalHere, visitor: Administrator, reason: Typed = ""
) -> Response:
    text = plain_newlines(reason)
    if problem := text_problem(text, REASON, "a reason"):
        errors = {"reason": problem}
        return event_page(request, portal, visitor, event_id=event_id, reason=text, errors=errors)
    with portal.session_scope() as session:
        events.end_as_administrator(
            session, event_id, administrator_id=visitor.person_id, reason=text, now=portal.clock()
        )
    return redirect(portal, f"admin/events/{event_id}", "event-ended")


def join_page(request: Request, visitor: Visitor, *, code: str, errors: Errors, status: int) -> HTMLResponse:
    values = {"code": code, "errors": errors, "longest": LONGEST_CODE}
    return page(request, "join_event.html", values, visitor=visitor, here="teams", status=status)


def events_page(
    request: Request, portal: Portal, visitor: Visitor, *, form: EventForm | None, errors: Errors
) -> HTMLResponse:
    now = portal.clock()
    with portal.reading_scope() as session:
        rows = events.listing(session)
    tomorrow = (now + timedelta(days=1)).replace(hour=9, minute=0)
    evening = tomorrow + timedelta(hours=9)
    usual = EventForm(starts=f"{tomorrow:%Y-%m-%dT%H:%M}", ends=f"{evening:%Y-%m-%dT%H:%M}", sizes=("small",))
    values = {
        "events": rows,
        "now": now,
        "form": form or usual,
        "sizes": portal.policy.sizes_of(TierSlug.SPECIAL),
        "errors": errors,
    }
    status = 422 if errors else 200
    return page(request, "admin_events.html", values, visitor=visitor, here="admin", status=status)


def event_page(
    request: Request, portal: Portal, visitor: Visitor, *, event_id: UUID, reason: str, errors: Errors
) -> HTMLResponse:
    with portal.reading_scope() as session:
        row = events.row_of(session, event_id)
    values = {
        "event": row,
        "sizes": [portal.policy.sizes[slug].label for slug in row.sizes if slug in portal.policy.sizes],
        "is_over": row.ends_at <= portal.clock(),
        "reason": reason,
        "errors": errors,
        "limits": REASON,
    }
    status = 422 if errors else 200
    return page(request, "admin_event.html", values, visitor=visitor, here="admin", status=status)
