"""The panel for administrators: its queue, its rounds and its reviewers."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, Response

from nexus_allocator.domain import wording
from nexus_allocator.domain.errors import AlreadyReviewer, BadRound, Suspended, UnknownPerson
from nexus_allocator.domain.panel import Window
from nexus_allocator.domain.rights import Action, does
from nexus_allocator.services import panel_lists, panels
from nexus_allocator.web.context import Portal, Visitor
from nexus_allocator.web.flash import redirect
from nexus_allocator.web.forms import Errors, plain_newlines
from nexus_allocator.web.panel_forms import RoundForm
from nexus_allocator.web.panel_views import RoundView, case_view, queue_view, round_form
from nexus_allocator.web.rendering import page
from nexus_allocator.web.sessions import Administrator, OwnForm, PortalHere

router = APIRouter(prefix="/admin/panel")

Typed = Annotated[str, Form()]


def typed_round(
    *, label: Typed = "", opens_on: Typed = "", closes_on: Typed = "", due_on: Typed = "", budget: Typed = ""
) -> RoundForm:
    return RoundForm(plain_newlines(label), opens_on, closes_on, due_on, budget)


TypedRound = Annotated[RoundForm, Depends(typed_round)]


@router.get("", response_class=HTMLResponse)
@does(Action.PANEL_SEE)
def panel(request: Request, portal: PortalHere, visitor: Administrator) -> HTMLResponse:
    return panel_page(request, portal, visitor, form=RoundForm(), hub_name="", errors={})


@router.post("/rounds", dependencies=[OwnForm])
@does(Action.PANEL_RUN)
def make_round(request: Request, portal: PortalHere, visitor: Administrator, form: TypedRound) -> Response:
    if errors := form.errors() or written(portal, visitor, form, None):
        return panel_page(request, portal, visitor, form=form, hub_name="", errors=errors)
    return redirect(portal, "admin/panel", "round-made")


@router.get("/rounds/{round_id}", response_class=HTMLResponse)
@does(Action.PANEL_SEE)
def one_round(request: Request, round_id: UUID, portal: PortalHere, visitor: Administrator) -> HTMLResponse:
    return round_page(request, portal, visitor, round_id=round_id, form=None, errors={})


@router.post("/rounds/{round_id}", dependencies=[OwnForm])
@does(Action.PANEL_RUN)
def change_round(
    *, request: Request, round_id: UUID, portal: PortalHere, visitor: Administrator, form: TypedRound
) -> Response:
    if errors := form.errors() or written(portal, visitor, form, round_id):
        return round_page(request, portal, visitor, round_id=round_id, form=form, errors=errors)
    return redirect(portal, f"admin/panel/rounds/{round_id}", "round-changed")


@router.post("/reviewers", dependencies=[OwnForm])
@does(Action.PANEL_RUN)
def appoint(
    *, request: Request, portal: PortalHere, visitor: Administrator, hub_name: Typed = ""
) -> Response:
    name = hub_name.strip()
    try:
        with portal.session_scope() as session:
            panels.appoint(session, name, by=visitor.person_id, now=portal.clock())
    except (UnknownPerson, AlreadyReviewer, Suspended) as refusal:
        told = wording.sentence(refusal) if name else "Write the hub name of a person."
        errors = {"hub_name": told}
        return panel_page(request, portal, visitor, form=RoundForm(), hub_name=name[:40], errors=errors)
    return redirect(portal, "admin/panel", "appointed")


@router.post("/reviewers/{hub_name}/end", dependencies=[OwnForm])
@does(Action.PANEL_RUN)
def dismiss(hub_name: str, portal: PortalHere, visitor: Administrator) -> Response:
    with portal.session_scope() as session:
        panels.dismiss(session, hub_name, by=visitor.person_id, now=portal.clock())
    return redirect(portal, "admin/panel", "dismissed")


def written(portal: Portal, visitor: Visitor, form: RoundForm, round_id: UUID | None) -> Errors:
    """Write the round, a new one without an id; return what is wrong with it."""
    plan, by, now = form.plan(), visitor.person_id, portal.clock()
    try:
        with portal.session_scope() as session:
            if round_id is None:
                panels.make_round(session, plan, by=by, now=now)
            else:
                panels.change_round(session, round_id, plan, by=by, now=now)
    except BadRound as refusal:
        return {"due_on": wording.sentence(refusal)}
    return {}


def panel_page(
    request: Request, portal: Portal, visitor: Visitor, *, form: RoundForm, hub_name: str, errors: Errors
) -> HTMLResponse:
    now = portal.clock()
    with portal.reading_scope() as session:
        found = panel_lists.queue(session, viewer=visitor.person_id, now=now)
        rounds = panel_lists.rounds(session)
        reviewers = panel_lists.reviewers(session)
    values = {
        "queue": queue_view(found, portal.policy),
        "rounds": [RoundView(row, requests, Window(row.opens_at, row.closes_at, row.due_at).has(now))
                   for row, requests in rounds],
        "reviewers": reviewers,
        "form": form,
        "hub_name": hub_name,
        "errors": errors,
    }  # fmt: skip
    status = 422 if errors else 200
    return page(request, "admin_panel.html", values, visitor=visitor, here="admin", status=status)


def round_page(
    request: Request,
    portal: Portal,
    visitor: Visitor,
    *,
    round_id: UUID,
    form: RoundForm | None,
    errors: Errors,
) -> HTMLResponse:
    now = portal.clock()
    with portal.reading_scope() as session:
        row, cases, awarded_micro = panel_lists.of_round(session, round_id, viewer=visitor.person_id, now=now)
    is_open = Window(row.opens_at, row.closes_at, row.due_at).has(now)
    values = {
        "round": RoundView(row, len(cases), is_open),
        "cases": [case_view(case, portal.policy) for case in cases],
        "awarded_micro": awarded_micro,
        "form": form or round_form(row),
        "errors": errors,
    }
    status = 422 if errors else 200
    return page(request, "admin_round.html", values, visitor=visitor, here="admin", status=status)
