"""What administrators see and decide: requests, people, accounts, running servers."""

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Path, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from nexus_allocator.domain import wording
from nexus_allocator.domain.errors import PanelNotHeard
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.rights import Action, Reach, does
from nexus_allocator.services import (
    decisions,
    forecasts,
    panel_lists,
    portal_lists,
    portal_reading,
    stops,
    workbench,
)
from nexus_allocator.services.hub_calls import ask_at_once
from nexus_allocator.services.portal_lists import RequestRow
from nexus_allocator.web import views
from nexus_allocator.web.context import Portal, Visitor
from nexus_allocator.web.filters import PageNumber, Search
from nexus_allocator.web.flash import redirect
from nexus_allocator.web.formats import credits_field
from nexus_allocator.web.forms import REASON, Award, Errors, plain_newlines, text_problem
from nexus_allocator.web.panel_views import bench_view
from nexus_allocator.web.rendering import page
from nexus_allocator.web.routes.servers import server_name
from nexus_allocator.web.sessions import Administrator, OwnForm, PortalHere

router = APIRouter(prefix="/admin")


@router.get("")
@does(Action.REQUEST_SEE, over=Reach.ANY)
def administration(portal: PortalHere) -> RedirectResponse:
    return RedirectResponse(f"{portal.prefix}admin/requests", 303)


@router.get("/requests/{request_id}", response_class=HTMLResponse)
@does(Action.REQUEST_SEE, over=Reach.ANY)
def one_request(
    request: Request, request_id: UUID, portal: PortalHere, visitor: Administrator
) -> HTMLResponse:
    return request_page(request, portal, visitor, request_id=request_id, errors={}, award=None, reason="")


def typed_award(
    amount: Annotated[str, Form()] = "",
    ends_on: Annotated[str, Form()] = "",
    note: Annotated[str, Form()] = "",
    bypass: Annotated[str, Form()] = "",
) -> Award:
    return Award(amount, ends_on, plain_newlines(note), plain_newlines(bypass))


def given(award: Award) -> decisions.Award:
    """Return what is awarded or offered. Only for a form without errors."""
    return decisions.Award(
        award.amount_micro(),
        expires_at=award.expires_at(),
        note=award.note.strip() or None,
        bypass=award.bypass.strip() or None,
    )


def not_given(
    request: Request,
    portal: Portal,
    visitor: Visitor,
    *,
    request_id: UUID,
    award: Award,
    give: Callable[..., object],
) -> Response | None:
    """Award or offer with ``give`` what was typed; return the form with what is wrong, None when done."""
    errors, now = award.errors(now=portal.clock()), portal.clock()
    if not errors:
        try:
            with portal.session_scope() as session:
                give(
                    session,
                    policy=portal.policy,
                    request_id=request_id,
                    administrator_id=visitor.person_id,
                    award=given(award),
                    now=now,
                )
        except PanelNotHeard as refusal:
            errors = {"bypass": wording.sentence(refusal)}
        else:
            return None
    return request_page(
        request, portal, visitor, request_id=request_id, errors=errors, award=award, reason=""
    )


@router.post("/requests/{request_id}/approve", dependencies=[OwnForm])
@does(Action.REQUEST_DECIDE)
def approve(
    *,
    request: Request,
    request_id: UUID,
    portal: PortalHere,
    visitor: Administrator,
    award: Annotated[Award, Depends(typed_award)],
) -> Response:
    if refused := not_given(
        request, portal, visitor, request_id=request_id, award=award, give=decisions.award
    ):
        return refused
    return redirect(portal, "admin/requests", "awarded")


@router.post("/requests/{request_id}/review", dependencies=[OwnForm])
@does(Action.REQUEST_DECIDE)
def review(request_id: UUID, portal: PortalHere, visitor: Administrator) -> Response:
    with portal.session_scope() as session:
        decisions.review(
            session, request_id=request_id, administrator_id=visitor.person_id, now=portal.clock()
        )
    return redirect(portal, f"admin/requests/{request_id}", "in-review")


# What one reason and one form end in: the decision and the notice of it.
NEGATIVE = {"deny": (decisions.deny, "denied"), "return": (decisions.send_back, "returned")}


@router.post("/requests/{request_id}/{decision}", dependencies=[OwnForm])
@does(Action.REQUEST_DECIDE)
def deny_or_return(
    *,
    request: Request,
    request_id: UUID,
    decision: Annotated[str, Path(pattern="^(deny|return)$")],
    portal: PortalHere,
    visitor: Administrator,
    reason: Annotated[str, Form()] = "",
) -> Response:
    reason = plain_newlines(reason)
    if problem := text_problem(reason, REASON, "a reason"):
        errors = {"reason": problem}
        return request_page(
            request, portal, visitor, request_id=request_id, errors=errors, award=None, reason=reason
        )
    decide, notice = NEGATIVE[decision]
    with portal.session_scope() as session:
        decide(
            session,
            request_id=request_id,
            administrator_id=visitor.person_id,
            reason=reason,
            now=portal.clock(),
        )
    return redirect(portal, "admin/requests", notice)


@router.get("/people", response_class=HTMLResponse)
@does(Action.PERSON_SEE, over=Reach.ANY)
def all_people(
    *,
    request: Request,
    portal: PortalHere,
    visitor: Administrator,
    q: Search = "",
    page_number: PageNumber = 1,
) -> HTMLResponse:
    with portal.reading_scope() as session:
        listing = portal_lists.people(session, policy=portal.policy, query=q, number=page_number)
    return page(request, "admin_people.html", {"listing": listing}, visitor=visitor, here="admin")


@router.get("/accounts", response_class=HTMLResponse)
@does(Action.ACCOUNT_SEE, over=Reach.ANY)
def all_accounts(
    *,
    request: Request,
    portal: PortalHere,
    visitor: Administrator,
    q: Search = "",
    page_number: PageNumber = 1,
) -> HTMLResponse:
    with portal.reading_scope() as session:
        listing = portal_lists.accounts(session, query=q, number=page_number, now=portal.clock())
    values = {
        "listing": listing,
        "accounts": [views.account_row_view(row, portal.policy) for row in listing.rows],
    }
    return page(request, "admin_accounts.html", values, visitor=visitor, here="admin")


@router.get("/servers", response_class=HTMLResponse)
@does(Action.SERVER_SEE, over=Reach.ANY)
def all_servers(request: Request, portal: PortalHere, visitor: Administrator, q: Search = "") -> HTMLResponse:
    with portal.reading_scope() as session:
        servers = portal_lists.servers(session, now=portal.clock(), query=q)
    values = {
        "query": q,
        "servers": [views.server_view(server, portal.policy, own=False) for server in servers],
        "rate_micro_per_hour": sum(server.rate_micro_per_hour for server in servers),
    }
    return page(request, "admin_servers.html", values, visitor=visitor, here="admin")


@router.get("/servers/{hub_name}/{path_name:path}/stop", response_class=HTMLResponse)
@does(Action.SERVER_STOP, over=Reach.ANY)
def stop_form(
    *, request: Request, hub_name: str, path_name: str, portal: PortalHere, visitor: Administrator
) -> HTMLResponse:
    return stop_page(request, portal, visitor, hub_name=hub_name, path_name=path_name, errors={}, reason="")


@router.post("/servers/{hub_name}/{path_name:path}/stop", dependencies=[OwnForm])
@does(Action.SERVER_STOP, over=Reach.ANY)
def stop_any(
    *,
    request: Request,
    hub_name: str,
    path_name: str,
    portal: PortalHere,
    visitor: Administrator,
    reason: Annotated[str, Form()] = "",
) -> Response:
    reason = plain_newlines(reason)
    if problem := text_problem(reason, REASON, "a reason"):
        errors = {"reason": problem}
        return stop_page(
            request, portal, visitor, hub_name=hub_name, path_name=path_name, errors=errors, reason=reason
        )
    with portal.session_scope() as session:
        server = stops.stop_as_administrator(
            session,
            administrator_id=visitor.person_id,
            hub_name=hub_name,
            server_name=server_name(path_name),
            note=reason.strip(),
            now=portal.clock(),
        )
    ask_at_once(portal, portal.hub, [server], now=portal.clock())
    return redirect(portal, "admin/servers", "stopping")


@router.get("/forecast", response_class=HTMLResponse)
@does(Action.FORECAST_SEE)
def forecast(request: Request, portal: PortalHere, visitor: Administrator) -> HTMLResponse:
    now = portal.clock()
    with portal.reading_scope() as session:
        found = forecasts.of_platform(session, now=now)
    values = {
        "pool": found,
        "charts": views.spend_charts(found.spend, title="All accounts: credits spent per day"),
        "course": views.course_of_pool(found, now=now),
    }
    return page(request, "admin_forecast.html", values, visitor=visitor, here="admin")


def request_page(
    request: Request,
    portal: Portal,
    visitor: Visitor,
    *,
    request_id: UUID,
    errors: Errors,
    award: Award | None,
    reason: str,
    referral: str = "",
) -> HTMLResponse:
    with portal.reading_scope() as session:
        row, account = portal_lists.request(session, request_id=request_id, now=portal.clock())
        bench = workbench.workbench(
            session, request_id, viewer=visitor.person_id, policy=portal.policy, now=portal.clock()
        )
        rounds = panel_lists.rounds(session) if bench else []
        offer = panel_lists.for_applicants(session, [row.id])[row.id].offer
    values = {
        "offer": offer,
        "panel": bench_view(bench, portal.policy) if bench else None,
        "rounds": [found for found, _ in rounds],
        "referral": referral,
        "request": views.request_view(row, portal.policy),
        "account": views.account_view(account, portal.policy),
        "award": award or usual_award(row, account, portal),
        "reason": reason,
        "errors": errors,
        "limits": REASON,
    }
    status = 422 if errors else 200
    return page(request, "admin_request.html", values, visitor=visitor, here="admin", status=status)


def usual_award(row: RequestRow, account: portal_reading.AccountReading, portal: Portal) -> Award:
    """Return the award as the tier states it, for the administrator to change."""
    policy: Policy = portal.policy
    terms = policy.tiers[row.tier]
    ends_at = max(account.expires_at - timedelta(days=1), portal.clock() + terms.length)
    amount = "" if terms.credits_micro is None else credits_field(terms.credits_micro)
    return Award(amount, ends_at.date().isoformat(), "")


def stop_page(
    request: Request,
    portal: Portal,
    visitor: Visitor,
    *,
    hub_name: str,
    path_name: str,
    errors: Errors,
    reason: str,
) -> HTMLResponse:
    with portal.reading_scope() as session:
        found = portal_reading.live_server(
            session, hub_name=hub_name, server_name=server_name(path_name), now=portal.clock()
        )
    values = {
        "server": views.server_view(found, portal.policy, own=False),
        "errors": errors,
        "reason": reason,
        "limits": REASON,
    }
    status = 422 if errors else 200
    return page(request, "admin_stop.html", values, visitor=visitor, here="admin", status=status)
