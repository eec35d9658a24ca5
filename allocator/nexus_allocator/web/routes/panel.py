"""The reviewers' pages: what waits for review, one request with all there is to weigh, the review itself."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, Response

from nexus_allocator.domain.panel import LONGEST_COMMENT
from nexus_allocator.domain.rights import Action, does
from nexus_allocator.services import panel_lists, reviews, workbench
from nexus_allocator.web import views
from nexus_allocator.web.context import Portal, Visitor
from nexus_allocator.web.flash import redirect
from nexus_allocator.web.forms import REASON, Errors, plain_newlines, text_problem
from nexus_allocator.web.panel_forms import ReviewForm, form_of
from nexus_allocator.web.panel_views import bench_view, case_view
from nexus_allocator.web.rendering import page
from nexus_allocator.web.sessions import OwnForm, PortalHere, SignedIn

router = APIRouter(prefix="/panel")

Typed = Annotated[str, Form()]
SCORE = "score-"


async def typed_scores(request: Request) -> dict[str, str]:
    """Return the scores by criterion: what the form may be asked for is the policy's."""
    form = await request.form()
    return {
        name.removeprefix(SCORE): value
        for name, value in form.items()
        if name.startswith(SCORE) and isinstance(value, str)
    }


@router.get("", response_class=HTMLResponse)
@does(Action.REVIEW_SEE)
def to_review(request: Request, portal: PortalHere, visitor: SignedIn) -> HTMLResponse:
    with portal.reading_scope() as session:
        rows = panel_lists.for_reviewer(session, hub_name=visitor.hub_name, now=portal.clock())
    cases = [case_view(row, portal.policy) for row in rows]
    values = {
        "open": [case for case in cases if not case["row"].has_given and not case["conflict"]],
        "done": [case for case in cases if case["row"].has_given or case["conflict"]],
    }
    return page(request, "panel.html", values, visitor=visitor, here="panel")


@router.get("/{request_id}", response_class=HTMLResponse)
@does(Action.REVIEW_SEE)
def one_case(request: Request, request_id: UUID, portal: PortalHere, visitor: SignedIn) -> HTMLResponse:
    return case_page(request, portal, visitor, request_id=request_id, form=None, errors={}, reason="")


@router.post("/{request_id}/review", dependencies=[OwnForm])
@does(Action.REVIEW_GIVE)
def give_review(
    *,
    request: Request,
    request_id: UUID,
    portal: PortalHere,
    visitor: SignedIn,
    scores: Annotated[dict[str, str], Depends(typed_scores)],
    for_panel: Typed = "",
    for_applicant: Typed = "",
) -> Response:
    form = ReviewForm(scores, plain_newlines(for_panel), plain_newlines(for_applicant))
    if errors := form.errors(portal.policy.panel):
        return case_page(request, portal, visitor, request_id=request_id, form=form, errors=errors, reason="")
    with portal.session_scope() as session:
        reviews.give(
            session,
            request_id,
            form.opinion(),
            hub_name=visitor.hub_name,
            policy=portal.policy,
            now=portal.clock(),
        )
    return redirect(portal, f"panel/{request_id}", "reviewed")


@router.post("/{request_id}/conflict", dependencies=[OwnForm])
@does(Action.REVIEW_GIVE)
def declare_conflict(
    *, request: Request, request_id: UUID, portal: PortalHere, visitor: SignedIn, reason: Typed = ""
) -> Response:
    text = plain_newlines(reason)
    if problem := text_problem(text, REASON, "a reason"):
        errors = {"reason": problem}
        return case_page(
            request, portal, visitor, request_id=request_id, form=None, errors=errors, reason=text
        )
    with portal.session_scope() as session:
        reviews.declare(session, request_id, hub_name=visitor.hub_name, reason=text, now=portal.clock())
    return redirect(portal, "panel", "conflict-declared")


def case_page(
    request: Request,
    portal: Portal,
    visitor: Visitor,
    *,
    request_id: UUID,
    form: ReviewForm | None,
    errors: Errors,
    reason: str,
) -> HTMLResponse:
    with portal.reading_scope() as session:
        found = workbench.reviewers_workbench(
            session, request_id, hub_name=visitor.hub_name, policy=portal.policy, now=portal.clock()
        )
    values = {
        "request": views.request_view(found.request, portal.policy),
        "panel": bench_view(found, portal.policy),
        "questions": portal.policy.panel.criteria,
        "form": form or form_of(found.own),
        "reason": reason,
        "errors": errors,
        "limits": REASON,
        "longest_comment": LONGEST_COMMENT,
    }
    status = 422 if errors else 200
    return page(request, "panel_case.html", values, visitor=visitor, here="panel", status=status)
