"""Webhooks, for administrators: endpoints, their events and secrets."""

from dataclasses import dataclass
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response

from nexus_allocator.domain import wording
from nexus_allocator.domain.errors import BadEvents, BadUrl, EndpointRegistered
from nexus_allocator.domain.rights import Action, does
from nexus_allocator.domain.webhooks import LONGEST_URL, MOST_FAILURES, EventKind
from nexus_allocator.services import webhook_reading, webhooks
from nexus_allocator.web.context import Portal, Visitor
from nexus_allocator.web.flash import redirect
from nexus_allocator.web.forms import Errors
from nexus_allocator.web.mail_views import EVENTS
from nexus_allocator.web.rendering import page
from nexus_allocator.web.sessions import Administrator, OwnForm, PortalHere

router = APIRouter(prefix="/admin/webhooks")


@dataclass(frozen=True)
class Made:
    """A new secret, shown this once."""

    url: str
    secret: str


@router.get("", response_class=HTMLResponse)
@does(Action.WEBHOOK_KEEP)
def all_endpoints(request: Request, portal: PortalHere, visitor: Administrator) -> HTMLResponse:
    return webhooks_page(request, portal, visitor)


@router.post("", dependencies=[OwnForm], response_class=HTMLResponse)
@does(Action.WEBHOOK_KEEP)
def register(
    *,
    request: Request,
    portal: PortalHere,
    visitor: Administrator,
    url: Annotated[str, Form()] = "",
    events: Annotated[list[str] | None, Form()] = None,
) -> HTMLResponse:
    chosen = list(events or [])
    try:
        with portal.session_scope() as session:
            endpoint, secret = webhooks.register(
                session, url=url, events=chosen, vault=portal.vault, by=visitor.person_id, now=portal.clock()
            )
            made = Made(endpoint.url, secret)
    except (BadUrl, EndpointRegistered) as refusal:
        errors = {"url": wording.sentence(refusal)}
        return webhooks_page(request, portal, visitor, url=url[:LONGEST_URL], chosen=chosen, errors=errors)
    except BadEvents:
        errors = {"events": "Choose at least one of the events."}
        return webhooks_page(request, portal, visitor, url=url[:LONGEST_URL], chosen=chosen, errors=errors)
    return webhooks_page(request, portal, visitor, made=made)


@router.post("/{endpoint_id}/rotate", dependencies=[OwnForm], response_class=HTMLResponse)
@does(Action.WEBHOOK_KEEP)
def rotate(request: Request, endpoint_id: UUID, portal: PortalHere, visitor: Administrator) -> HTMLResponse:
    with portal.session_scope() as session:
        endpoint, secret = webhooks.rotate(
            session, endpoint_id, vault=portal.vault, by=visitor.person_id, now=portal.clock()
        )
        made = Made(endpoint.url, secret)
    return webhooks_page(request, portal, visitor, made=made)


@router.post("/{endpoint_id}/switch", dependencies=[OwnForm])
@does(Action.WEBHOOK_KEEP)
def switch(
    endpoint_id: UUID, portal: PortalHere, visitor: Administrator, to: Annotated[Literal["on", "off"], Form()]
) -> Response:
    with portal.session_scope() as session:
        webhooks.switch(session, endpoint_id, on=to == "on", by=visitor.person_id, now=portal.clock())
    return redirect(portal, "admin/webhooks", f"webhook-{to}")


@router.post("/{endpoint_id}/test", dependencies=[OwnForm])
@does(Action.WEBHOOK_KEEP)
def send_test(endpoint_id: UUID, portal: PortalHere, visitor: Administrator) -> Response:
    with portal.session_scope() as session:
        webhooks.send_test(session, endpoint_id, by=visitor.person_id, now=portal.clock())
    return redirect(portal, "admin/webhooks", "webhook-tested")


@router.post("/{endpoint_id}/remove", dependencies=[OwnForm])
@does(Action.WEBHOOK_KEEP)
def remove(endpoint_id: UUID, portal: PortalHere, visitor: Administrator) -> Response:
    with portal.session_scope() as session:
        webhooks.remove(session, endpoint_id, by=visitor.person_id, now=portal.clock())
    return redirect(portal, "admin/webhooks", "webhook-removed")


def webhooks_page(
    request: Request,
    portal: Portal,
    visitor: Visitor,
    *,
    url: str = "",
    chosen: list[str] | None = None,
    errors: Errors | None = None,
    made: Made | None = None,
) -> HTMLResponse:
    with portal.reading_scope() as session:
        endpoints = webhook_reading.endpoints(session)
    values = {
        "endpoints": endpoints,
        "events": EVENTS,
        "chosen": [kind.value for kind in EventKind] if chosen is None else chosen,
        "url": url,
        "longest": LONGEST_URL,
        "most_failures": MOST_FAILURES,
        "errors": errors or {},
        "made": made,
    }
    status = 422 if errors else 200
    return page(request, "admin_webhooks.html", values, visitor=visitor, here="admin", status=status)
