"""What-if, for administrators: choose changes in a form, watch the answer come, read table and chart."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response
from markupsafe import Markup

from nexus_allocator.domain import wording
from nexus_allocator.domain.care import QuestionState
from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.errors import BadChanges, QuestionRunning
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.rights import Action, does
from nexus_allocator.services import questions
from nexus_allocator.web.context import Portal, Visitor
from nexus_allocator.web.flash import redirect
from nexus_allocator.web.forms import Errors, number, plain_newlines
from nexus_allocator.web.rendering import page
from nexus_allocator.web.sessions import Administrator, OwnForm, PortalHere
from nexus_allocator.web.whatif_report import as_csv, as_svg, cells

router = APIRouter(prefix="/admin/what-if")

Typed = Annotated[str, Form()]
Column = Annotated[list[str] | None, Form()]
CSV = "text/csv; charset=utf-8"


@router.get("", response_class=HTMLResponse)
@does(Action.WHAT_IF)
def form(request: Request, portal: PortalHere, visitor: Administrator) -> HTMLResponse:
    return form_page(request, portal, visitor, typed={}, more="", people="10000", errors={})


@router.post("", dependencies=[OwnForm])
@does(Action.WHAT_IF)
def ask(
    *,
    request: Request,
    portal: PortalHere,
    visitor: Administrator,
    field: Column = None,
    value: Column = None,
    more: Typed = "",
    people: Typed = "",
) -> Response:
    typed = dict(zip(field or [], (text.strip() for text in value or []), strict=False))
    lines = [line.strip() for line in plain_newlines(more).splitlines() if line.strip()]
    changes = [f"{name}={text}" for name, text in typed.items() if text] + lines
    count = number(people)
    errors: Errors = {}
    if count is None or count % 1 or not 10 <= count <= questions.MOST_PEOPLE:
        errors["people"] = f"Give a whole number of people from 10 to {questions.MOST_PEOPLE:,}."
    now = portal.clock()
    try:
        if not errors:
            with portal.session_scope() as session:
                asked = questions.ask(
                    session, administrator_id=visitor.person_id, changes=changes,
                    tiers_file=portal.tiers_file, now=now,
                )  # fmt: skip
    except (BadChanges, QuestionRunning) as error:
        errors["more"] = wording.sentence(error)
    if errors:
        return form_page(request, portal, visitor, typed=typed, more=more, people=people, errors=errors)
    questions.answer_in_background(
        portal.session_scope, asked, changes, tiers_file=portal.tiers_file, people=int(count or 0),
        clock=portal.clock,
    )  # fmt: skip
    return redirect(portal, f"admin/what-if/{asked}", "asked")


@router.get("/{question_id}", response_class=HTMLResponse)
@does(Action.WHAT_IF)
def question(request: Request, question_id: UUID, portal: PortalHere, visitor: Administrator) -> HTMLResponse:
    with portal.reading_scope() as session:
        found = questions.one(session, question_id, now=portal.clock())
    what = ", ".join(found.changes)
    values = {
        "question": found,
        "is_running": found.state is QuestionState.RUNNING,
        "rows": [cells(each) for each in (*found.answer.figures, *found.answer.tiers)]
        if found.answer
        else [],
        # Made by us of escaped words.
        "chart": Markup(as_svg(found.answer, what)) if found.answer else "",  # noqa: S704
    }
    return page(request, "admin_question.html", values, visitor=visitor, here="admin")


@router.get("/{question_id}/answer.csv")
@does(Action.WHAT_IF)
def answer_csv(question_id: UUID, portal: PortalHere) -> Response:
    with portal.reading_scope() as session:
        found = questions.one(session, question_id, now=portal.clock())
    text = as_csv(found.answer) if found.answer else ""
    headers = {"Content-Disposition": 'attachment; filename="what-if.csv"', "Cache-Control": "no-store"}
    return Response(text, media_type=CSV, headers=headers)


def fields(policy: Policy) -> list[tuple[str, str, str]]:
    """Return what the form offers to change: its path in the policy, its name, and what it is now."""

    def shown(value: object) -> str:
        return "as awarded" if value is None else f"{value:g}" if isinstance(value, float) else str(value)

    card = policy.rate_card
    found = [
        ("rate_card.vcpu_hour", "Credits for an hour of one vCPU", shown(card.vcpu_hour_micro / MICRO)),
        ("rate_card.gib_hour", "Credits for an hour of one GiB", shown(card.gib_hour_micro / MICRO)),
        ("rate_card.gpu_hour", "Credits for an hour of one GPU", shown(card.gpu_hour_micro / MICRO)),
    ]
    for tier in policy.tiers.values():
        if tier.credits_micro is None:
            continue
        place = f"tiers.{tier.slug.value}"
        found += [
            (f"{place}.credits", f"{tier.label}: credits", shown(tier.credits_micro / MICRO)),
            (f"{place}.length_days", f"{tier.label}: days", shown(tier.length.days)),
            (f"{place}.live_servers", f"{tier.label}: servers at once", shown(tier.live_servers)),
            (f"{place}.scratch_days", f"{tier.label}: days until an unused file goes",
             "none goes" if tier.scratch_days is None else str(tier.scratch_days)),
        ]  # fmt: skip
    return found


def form_page(
    request: Request,
    portal: Portal,
    visitor: Visitor,
    *,
    typed: dict[str, str],
    more: str,
    people: str,
    errors: Errors,
) -> HTMLResponse:
    with portal.reading_scope() as session:
        asked = questions.latest(session, now=portal.clock())
    values = {
        "fields": fields(portal.policy),
        "typed": typed,
        "more": more,
        "people": people,
        "asked": asked,
        "errors": errors,
        "longest": questions.LONGEST_CHANGE * questions.MOST_CHANGES,
    }
    status = 422 if errors else 200
    return page(request, "admin_what_if.html", values, visitor=visitor, here="admin", status=status)
