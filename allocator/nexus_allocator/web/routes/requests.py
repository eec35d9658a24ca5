"""Asking for more, and what became of it."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse, Response

from nexus_allocator.domain import science, wording
from nexus_allocator.domain.errors import BadName, BadResults, RequestOpen, TierNotRequestable
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.rights import Action, Reach, does
from nexus_allocator.services import panel_lists, portal_lists, requests
from nexus_allocator.services.portal_lists import RequestRow
from nexus_allocator.web import views
from nexus_allocator.web.context import Portal, Visitor
from nexus_allocator.web.flash import redirect
from nexus_allocator.web.forms import JUSTIFICATION, REASON, AskForm, Errors, plain_newlines
from nexus_allocator.web.rendering import page
from nexus_allocator.web.sessions import OwnForm, PortalHere, SignedIn

router = APIRouter(prefix="/requests")

Typed = Annotated[str, Form()]
WRITES = {"send": requests.submit, "draft": requests.draft}
NOTICES = {"send": "requested", "draft": "drafted"}


@dataclass(frozen=True)
class Shown:
    """What the page says beside the lists: the forms as typed, what is wrong, what was reckoned."""

    form: AskForm
    errors: Errors
    reckon: bool = False
    declined: str = ""


@router.get("", response_class=HTMLResponse)
@does(Action.REQUEST_SEE, over=Reach.OWN)
def my_requests(
    request: Request, portal: PortalHere, visitor: SignedIn, account: Annotated[str, Query()] = ""
) -> HTMLResponse:
    return requests_page(request, portal, visitor, Shown(AskForm(account), {}))


def typed_form(
    *,
    account: Typed = "",
    tier: Typed = "",
    justification: Typed = "",
    title: Typed = "",
    area: Typed = "",
    exposures: Typed = "",
    grant_number: Typed = "",
    members: Typed = "",
    team_label: Typed = "",
    papers: Typed = "",
    products: Typed = "",
    dois: Typed = "",
) -> AskForm:
    return AskForm(
        account, tier, plain_newlines(justification), plain_newlines(title), area, exposures,
        plain_newlines(grant_number), members, plain_newlines(team_label),
        plain_newlines(papers), plain_newlines(products), plain_newlines(dois),
    )  # fmt: skip


@router.post("", dependencies=[OwnForm])
@does(Action.ACCOUNT_ASK)
def ask(
    *,
    request: Request,
    portal: PortalHere,
    visitor: SignedIn,
    form: Annotated[AskForm, Depends(typed_form)],
    do: Annotated[str, Form(pattern="^(send|draft|reckon)$")] = "send",
) -> Response:
    if do == "reckon":
        return requests_page(request, portal, visitor, Shown(form, form.size_errors(), reckon=True))
    with portal.reading_scope() as session:
        choices = portal_lists.ask_choices(session, policy=portal.policy, hub_name=visitor.hub_name)
    accounts = {choice.slug for choice in choices}
    tiers: set[str] = {tier.slug for choice in choices for tier in choice.above}
    errors = form.errors(accounts, tiers, draft=do == "draft") or write(portal, visitor, form, do)
    if errors:
        return requests_page(request, portal, visitor, Shown(form, errors))
    return redirect(portal, "requests", NOTICES[do])


def write(portal: Portal, visitor: Visitor, form: AskForm, do: str) -> Errors:
    try:
        with portal.session_scope() as session:
            WRITES[do](
                session,
                form.ask(portal.policy),
                policy=portal.policy,
                hub_name=visitor.hub_name,
                now=portal.clock(),
            )
    except RequestOpen as refusal:
        return {"account": wording.sentence(refusal)}
    except TierNotRequestable as refusal:
        return {"tier": wording.sentence(refusal)}
    except BadName as refusal:
        return {"team_label": wording.sentence(refusal)}
    except BadResults as refusal:
        return {"papers": wording.sentence(refusal)}
    return {}


@router.post("/{request_id}/withdraw", dependencies=[OwnForm])
@does(Action.REQUEST_WITHDRAW)
def withdraw(request_id: UUID, portal: PortalHere, visitor: SignedIn) -> Response:
    with portal.session_scope() as session:
        requests.withdraw(session, request_id, hub_name=visitor.hub_name, now=portal.clock())
    return redirect(portal, "requests", "withdrawn")


def requests_page(request: Request, portal: Portal, visitor: Visitor, shown: Shown) -> HTMLResponse:
    policy = portal.policy
    with portal.reading_scope() as session:
        choices = portal_lists.ask_choices(session, policy=policy, hub_name=visitor.hub_name)
        mine = portal_lists.own_requests(session, hub_name=visitor.hub_name)
        panel = panel_lists.for_applicants(session, [row.id for row in mine])
    above = {tier.slug for choice in choices for tier in choice.above}
    form, begun = continued(shown.form, mine, policy)
    values = {
        "choices": [choice for choice in choices if not choice.waiting],
        "renews": any(choice.renews for choice in choices),
        "waiting": any(choice.waiting for choice in choices),
        "tier_labels": {slug: tier.label for slug, tier in policy.tiers.items()},
        "tiers": views.tier_views([tier for tier in policy.tiers.values() if tier.slug in above], policy),
        "requests": [views.request_view(row, policy) for row in mine],
        "panel": panel,
        "form": form,
        "begun": begun,
        "reckoned": reckoned(form, policy) if shown.reckon else None,
        "errors": shown.errors,
        "limits": JUSTIFICATION,
        "declined": shown.declined,
        "reason_limits": REASON,
    }
    status = 422 if shown.errors else 200
    return page(request, "requests.html", values, visitor=visitor, here="requests", status=status)


def continued(
    form: AskForm, mine: tuple[RequestRow, ...], policy: Policy
) -> tuple[AskForm, RequestRow | None]:
    """Return the form with a draft's or returned request's words in it, unless something was typed."""
    begun = next((row for row in mine if row.is_with_applicant and form.account in ("", row.account)), None)
    if begun is None or form.tier or form.justification:
        return form, begun
    exposures = "" if begun.exposures is None else str(begun.exposures)
    filled = AskForm(
        begun.account, begun.tier, begun.justification, begun.title or "", "", exposures,
        begun.grant_number or "", ", ".join(begun.members), begun.team_label or "",
        **(begun.results or {}),
    )  # fmt: skip
    return filled, begun


def reckoned(form: AskForm, policy: Policy) -> views.Reckoning | None:
    count = form.exposure_count(policy)
    if count is None:
        return None
    area = count * policy.science.square_degrees_per_exposure
    return views.Reckoning(count, area, count * science.exposure_micro(policy))
