"""Which mail a person gets, and what leaves the service as administrators see it."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, Response

from nexus_allocator.domain.mailing import ESSENTIAL, MailKind, Timing
from nexus_allocator.domain.outbox import Channel
from nexus_allocator.domain.rights import Action, does
from nexus_allocator.services import mail_choices, outbox, outbox_reading
from nexus_allocator.services.outbox_reading import Show
from nexus_allocator.web.context import Portal, Visitor
from nexus_allocator.web.filters import PageNumber
from nexus_allocator.web.flash import redirect
from nexus_allocator.web.forms import Errors
from nexus_allocator.web.mail_views import CHANNELS, KINDS, STATE_TAGS, TIMINGS, row_label
from nexus_allocator.web.rendering import page
from nexus_allocator.web.sessions import Administrator, OwnForm, PortalHere, SignedIn

router = APIRouter()
administration = APIRouter(prefix="/admin/outbox")


@router.get("/preferences", response_class=HTMLResponse)
@does(Action.MAIL_CHOOSE)
def preferences(request: Request, portal: PortalHere, visitor: SignedIn) -> HTMLResponse:
    return preferences_page(request, portal, visitor, typed={}, errors={})


async def typed_timings(request: Request) -> dict[str, str]:
    """Return what was chosen for each kind that a person may choose, as typed."""
    form = await request.form()
    kinds = [kind.value for kind in MailKind if kind not in ESSENTIAL]
    return {kind: str(form[kind]) for kind in kinds if kind in form}


@router.post("/preferences", dependencies=[OwnForm])
@does(Action.MAIL_CHOOSE)
def choose(
    *,
    request: Request,
    portal: PortalHere,
    visitor: SignedIn,
    typed: Annotated[dict[str, str], Depends(typed_timings)],
) -> Response:
    known = {timing.value for timing in Timing}
    errors = {
        kind: f"Choose when to get mail about {KINDS[MailKind(kind)].label.lower()}."
        for kind, timing in typed.items()
        if timing not in known
    }
    if errors:
        return preferences_page(request, portal, visitor, typed=typed, errors=errors)
    wanted = {MailKind(kind): Timing(timing) for kind, timing in typed.items()}
    with portal.session_scope() as session:
        mail_choices.choose(session, wanted, hub_name=visitor.hub_name, now=portal.clock())
    return redirect(portal, "preferences", "mail-chosen")


def preferences_page(
    request: Request, portal: Portal, visitor: Visitor, *, typed: dict[str, str], errors: Errors
) -> HTMLResponse:
    with portal.reading_scope() as session:
        choices = mail_choices.of_person(session, hub_name=visitor.hub_name)
    values = {"choices": choices, "kinds": KINDS, "timings": TIMINGS, "typed": typed, "errors": errors}
    status = 422 if errors else 200
    return page(request, "preferences.html", values, visitor=visitor, here="preferences", status=status)


@administration.get("", response_class=HTMLResponse)
@does(Action.OUTBOX_SEE)
def look_through(
    *,
    request: Request,
    portal: PortalHere,
    visitor: Administrator,
    show: Annotated[Show, Query()] = Show.DEAD,
    channel: Annotated[Channel | None, Query()] = None,
    page_number: PageNumber = 1,
) -> HTMLResponse:
    with portal.reading_scope() as session:
        found = outbox_reading.page(session, show=show, channel=channel, number=page_number)
    values = {
        "outbox": found,
        "labels": {row.id: row_label(row) for row in found.rows},
        "channels": CHANNELS,
        "tags": STATE_TAGS,
        "shows": list(Show),
    }
    return page(request, "admin_outbox.html", values, visitor=visitor, here="admin")


@administration.post("/retry", dependencies=[OwnForm])
@does(Action.OUTBOX_RETRY)
def retry_all(portal: PortalHere, visitor: Administrator) -> Response:
    with portal.session_scope() as session:
        outbox.retry_all(session, channel=None, administrator_id=visitor.person_id, now=portal.clock())
    return redirect(portal, "admin/outbox", "retried")


@administration.post("/{row_id}/retry", dependencies=[OwnForm])
@does(Action.OUTBOX_RETRY)
def retry(row_id: UUID, portal: PortalHere, visitor: Administrator) -> Response:
    with portal.session_scope() as session:
        outbox.retry(session, row_id, administrator_id=visitor.person_id, now=portal.clock())
    return redirect(portal, "admin/outbox", "retried")
