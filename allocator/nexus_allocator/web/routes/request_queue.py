"""The administrators' queue of requests: what waits and what was decided lately, or what a filter finds."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from nexus_allocator.domain.panel import median_wait
from nexus_allocator.domain.rights import Action, Reach, does
from nexus_allocator.services import panel_lists, portal_lists
from nexus_allocator.services.portal_lists import SENT
from nexus_allocator.web import views
from nexus_allocator.web.context import Portal
from nexus_allocator.web.filters import PageNumber, QueueFilter
from nexus_allocator.web.panel_views import wait_text
from nexus_allocator.web.rendering import page
from nexus_allocator.web.sessions import Administrator, PortalHere

router = APIRouter(prefix="/admin")


@router.get("/requests", response_class=HTMLResponse)
@does(Action.REQUEST_SEE, over=Reach.ANY)
def all_requests(
    *,
    request: Request,
    portal: PortalHere,
    visitor: Administrator,
    wanted: Annotated[QueueFilter, Depends()],
    page_number: PageNumber = 1,
) -> HTMLResponse:
    with portal.reading_scope() as session:
        rows = found(session, portal, wanted, page_number) if wanted.is_set else queue(session, portal)
    tiers = portal.policy.tiers.values()
    values = {"filter": wanted, "tiers": tiers, "states": [each for each in views.MOVE_TEXTS if each in SENT]}
    return page(request, "admin_requests.html", values | rows, visitor=visitor, here="admin")


def queue(session: Session, portal: Portal) -> dict[str, Any]:
    waiting = portal_lists.waiting_requests(session)
    waits = panel_lists.waits(session, [row.id for row in waiting], now=portal.clock())
    return {
        "waits": {request_id: wait_text(wait) for request_id, wait in waits.items()},
        "median_wait": wait_text(median_wait(waits.values())),
        "waiting": [views.request_view(row, portal.policy) for row in waiting],
        "decided": [views.request_view(row, portal.policy) for row in portal_lists.decided_requests(session)],
    }


def found(session: Session, portal: Portal, wanted: QueueFilter, number: int) -> dict[str, Any]:
    listing = portal_lists.every_request(
        session, query=wanted.q, tier=wanted.tier, state=wanted.state, number=number
    )
    return {
        "listing": listing,
        "found": [views.request_view(row, portal.policy) for row in listing.rows],
    }
