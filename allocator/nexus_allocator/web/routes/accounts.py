"""My allocations, one account in detail, and what the Nexus offers."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import AfterValidator

from nexus_allocator.domain import science
from nexus_allocator.domain.rights import Action, does
from nexus_allocator.services import (
    agreements,
    maintenance,
    notices,
    portal_lists,
    portal_reading,
    spend_reading,
    statements,
    team_reading,
)
from nexus_allocator.web import views
from nexus_allocator.web.formats import listed
from nexus_allocator.web.rendering import page
from nexus_allocator.web.sessions import Anybody, PortalHere, SignedIn

router = APIRouter(default_response_class=HTMLResponse)

CHART_DAYS = (30, 90, 180)


def offered_days(days: int) -> int:
    if days not in CHART_DAYS:
        raise ValueError(f"one of {CHART_DAYS}")
    return days


ChartDays = Annotated[int, Query(), AfterValidator(offered_days)]


def statement_span(
    portal: PortalHere,
    first: Annotated[date | None, Query()] = None,
    last: Annotated[date | None, Query()] = None,
) -> tuple[date, date]:
    """Return the days asked for; without them, the year up to today."""
    last = last or portal.clock().date()
    return first or date.fromordinal(max(1, last.toordinal() - 365)), last


StatementSpan = Annotated[tuple[date, date], Depends(statement_span)]


@router.get("/")
@does(Action.OVERVIEW_SEE)
def my_allocations(request: Request, portal: PortalHere, visitor: SignedIn) -> HTMLResponse:
    with portal.reading_scope() as session:
        home = portal_reading.home(session, hub_name=visitor.hub_name, now=portal.clock())
        choices = portal_lists.ask_choices(session, policy=portal.policy, hub_name=visitor.hub_name)
        spent = spend_reading.by_slug(
            session, [row.slug for row in home.accounts], terms=portal.policy.enforcement
        )
        held = maintenance.standing(session, now=portal.clock())
        agreement = agreements.standing(session, portal.policy.agreement, hub_name=visitor.hub_name)
        told = views.notice_views(notices.unread(session, hub_name=visitor.hub_name))
        invited = team_reading.invitations_to(session, hub_name=visitor.hub_name, now=portal.clock())
    values = {
        "accounts": [views.account_view(account, portal.policy) for account in home.accounts],
        "charts": {account.slug: views.charts_of(account) for account in home.accounts},
        "servers": [views.server_view(server, portal.policy, own=True) for server in home.servers],
        "usage": [views.server_view(server, portal.policy, own=True) for server in home.usage],
        "can_ask": {choice.slug for choice in choices if not choice.waiting},
        "warnings": views.spend_warnings(home.accounts, spent),
        "last_stop": views.last_stop(home.last_stop),
        "told": told,
        "agreement": agreement,
        "launches_held": held,
        "invitations": invited,
    }
    return page(request, "allocations.html", values, visitor=visitor, here="allocations")


@router.get("/accounts/{slug}")
@does(Action.ACCOUNT_SEE)
def account(
    *, request: Request, slug: str, portal: PortalHere, visitor: SignedIn, days: ChartDays = CHART_DAYS[0]
) -> HTMLResponse:
    with portal.reading_scope() as session:
        found = portal_reading.account_page(
            session, hub_name=visitor.hub_name, slug=slug, now=portal.clock(), days=days
        )
        spent = spend_reading.by_slug(session, [slug], terms=portal.policy.enforcement)
    values = {
        "account": views.account_view(found.account, portal.policy),
        "charts": views.charts_of(found.account),
        "course": views.course_of(found, now=portal.clock()),
        "usage": [
            views.server_view(server, portal.policy, own=server.hub_name == visitor.hub_name)
            for server in found.usage
        ],
        "entries": found.entries,
        "warnings": views.spend_warnings([found.account], spent),
        "days": days,
        "chart_days": CHART_DAYS,
    }
    return page(request, "account.html", values, visitor=visitor)


@router.get("/accounts/{slug}/statement.csv", response_class=Response)
@does(Action.ACCOUNT_SEE)
def statement(*, slug: str, portal: PortalHere, visitor: SignedIn, span: StatementSpan) -> Response:
    with portal.reading_scope() as session:
        portal_reading.require_visible(session, hub_name=visitor.hub_name, slug=slug)
        found = statements.of_account(session, slug=slug, first=span[0], last=span[1])
    return csv_file(statements.as_csv(found), f"{slug}-statement-{span[0]}-{span[1]}.csv")


@router.get("/accounts/{slug}/entries.csv", response_class=Response)
@does(Action.ACCOUNT_SEE)
def entries(*, slug: str, portal: PortalHere, visitor: SignedIn, span: StatementSpan) -> Response:
    with portal.reading_scope() as session:
        portal_reading.require_visible(session, hub_name=visitor.hub_name, slug=slug)
        text = statements.entries_csv(session, slug=slug, first=span[0], last=span[1])
    return csv_file(text, f"{slug}-entries-{span[0]}-{span[1]}.csv")


def csv_file(text: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/policy")
@does(Action.POLICY_SEE)
def policy(request: Request, portal: PortalHere, visitor: Anybody) -> HTMLResponse:
    offered = portal.policy
    values = {
        "policy": offered,
        "sizes": sorted(offered.sizes.values(), key=offered.rate_micro),
        "tiers": views.tier_views(offered.tiers.values(), offered),
        "rates": views.rate_rows(offered.rate_card),
        "tier_rows": views.tier_rows(offered),
        "spoken_marks": listed(offered.enforcement.warn_at_percent),
        "spoken_waiting": listed([offered.sizes[slug].label for slug in offered.pool.waiting_sizes]),
        "exposure_micro": science.exposure_micro(offered),
    }
    return page(request, "policy.html", values, visitor=visitor, here="policy")
