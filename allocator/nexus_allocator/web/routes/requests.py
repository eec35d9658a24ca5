"""Asking for more, and what became of it."""

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, Response

from nexus_allocator.domain import wording
from nexus_allocator.domain.errors import RequestOpen, TierNotRequestable
from nexus_allocator.services import portal_lists, requests
from nexus_allocator.web import views
from nexus_allocator.web.context import Portal, Visitor
from nexus_allocator.web.flash import redirect
from nexus_allocator.web.forms import JUSTIFICATION, Ask, Errors, plain_newlines
from nexus_allocator.web.rendering import page
from nexus_allocator.web.sessions import OwnForm, PortalHere, SignedIn

router = APIRouter(prefix="/requests")


@router.get("", response_class=HTMLResponse)
def my_requests(
    request: Request, portal: PortalHere, visitor: SignedIn, account: Annotated[str, Query()] = ""
) -> HTMLResponse:
    return requests_page(request, portal, visitor, asked=Ask(account, "", ""), errors={})


@router.post("", dependencies=[OwnForm])
def ask(
    *,
    request: Request,
    portal: PortalHere,
    visitor: SignedIn,
    account: Annotated[str, Form()] = "",
    tier: Annotated[str, Form()] = "",
    justification: Annotated[str, Form()] = "",
) -> Response:
    asked = Ask(account, tier, plain_newlines(justification))
    with portal.reading_scope() as session:
        choices = portal_lists.ask_choices(session, policy=portal.policy, hub_name=visitor.hub_name)
    errors = asked.errors(
        {choice.slug for choice in choices}, {tier.slug for choice in choices for tier in choice.above}
    )
    if not errors:
        errors = submit(portal, visitor, asked)
    if errors:
        return requests_page(request, portal, visitor, asked=asked, errors=errors)
    return redirect(portal, "requests", "requested")


def submit(portal: Portal, visitor: Visitor, asked: Ask) -> Errors:
    try:
        with portal.session_scope() as session:
            requests.submit(
                session,
                policy=portal.policy,
                hub_name=visitor.hub_name,
                account=asked.account,
                tier=asked.tier,
                justification=asked.justification,
                now=portal.clock(),
            )
    except RequestOpen as refusal:
        return {"account": wording.sentence(refusal)}
    except TierNotRequestable as refusal:
        return {"tier": wording.sentence(refusal)}
    return {}


def requests_page(
    request: Request, portal: Portal, visitor: Visitor, *, asked: Ask, errors: Errors
) -> HTMLResponse:
    with portal.reading_scope() as session:
        choices = portal_lists.ask_choices(session, policy=portal.policy, hub_name=visitor.hub_name)
        mine = portal_lists.own_requests(session, hub_name=visitor.hub_name)
    policy = portal.policy
    above = {tier.slug for choice in choices for tier in choice.above}
    values = {
        "choices": [choice for choice in choices if not choice.waiting],
        "waiting": any(choice.waiting for choice in choices),
        "tier_labels": {slug: tier.label for slug, tier in policy.tiers.items()},
        "tiers": views.tier_views([tier for tier in policy.tiers.values() if tier.slug in above], policy),
        "requests": [views.request_view(row, policy) for row in mine],
        "form": asked,
        "errors": errors,
        "limits": JUSTIFICATION,
    }
    status = 422 if errors else 200
    return page(request, "requests.html", values, visitor=visitor, here="requests", status=status)
