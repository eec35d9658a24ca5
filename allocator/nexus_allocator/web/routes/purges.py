"""Purges: a person's plans with files to keep or to have back; and for administrators all of them."""

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, Response

from nexus_allocator.domain import wording
from nexus_allocator.domain.errors import AllocatorError
from nexus_allocator.domain.places import Place
from nexus_allocator.domain.purges import PurgeState
from nexus_allocator.domain.rights import Action, does
from nexus_allocator.services import purges, storage
from nexus_allocator.web.context import Portal, Visitor
from nexus_allocator.web.flash import redirect
from nexus_allocator.web.forms import REASON, Errors, plain_newlines, text_problem
from nexus_allocator.web.rendering import page
from nexus_allocator.web.sessions import Administrator, OwnForm, PortalHere, SignedIn

router = APIRouter(prefix="/storage/purges")
administration = APIRouter(prefix="/admin/purges")

Typed = Annotated[str, Form()]
Under = Annotated[str, Query(max_length=8000)]
Skip = Annotated[int, Query(ge=0, le=10**9)]
STATES: dict[PurgeState, tuple[str, str]] = {
    PurgeState.PLANNED: ("Planned", ""),
    PurgeState.ANNOUNCED: ("Announced", "nx-tag--warn"),
    PurgeState.QUARANTINED: ("In quarantine", "nx-tag--bad"),
    PurgeState.RESTORED_IN_PART: ("Restored in part", "nx-tag--bad"),
    PurgeState.COLD: ("Kept cold", "nx-tag--accent"),
    PurgeState.DELETED: ("Deleted", ""),
    PurgeState.KEPT: ("Over, nothing deleted", "nx-tag--good"),
    PurgeState.CANCELLED: ("Cancelled", ""),
}
FATES = {
    "planned": "planned",
    "left": "left where it is",
    "waiting": "in quarantine",
    "back": "restored",
    "going": "being deleted",
    "stored": "kept cold",
    "deleted": "deleted",
}
KEPT_FOR = timedelta(days=180)


@router.get("", response_class=HTMLResponse)
@does(Action.PURGE_SEE)
def own_purges(request: Request, portal: PortalHere, visitor: SignedIn) -> HTMLResponse:
    with portal.reading_scope() as session:
        plans = purges.of_person(session, hub_name=visitor.hub_name)
        exemptions = purges.exemptions_of_person(session, hub_name=visitor.hub_name)
    values = {"plans": plans, "exemptions": exemptions, "states": STATES, "now": portal.clock()}
    return page(request, "purges.html", values, visitor=visitor, here="storage")


@router.get("/{purge_id}", response_class=HTMLResponse)
@does(Action.PURGE_SEE)
def one_purge(
    *,
    request: Request,
    purge_id: UUID,
    portal: PortalHere,
    visitor: SignedIn,
    under: Under = "",
    skip: Skip = 0,
) -> HTMLResponse:
    typed = {"path": under, "until": f"{portal.clock() + KEPT_FOR:%Y-%m-%d}", "reason": ""}
    return plan_page(request, portal, visitor, purge_id=purge_id, under=under, skip=skip, typed=typed)


@router.get("/{purge_id}/recipe.sh")
@does(Action.PURGE_SEE)
def recipe(purge_id: UUID, portal: PortalHere, visitor: SignedIn) -> Response:
    with portal.reading_scope() as session:
        text = purges.recipe_of(session, purge_id, hub_name=visitor.hub_name, records=portal.purge_records)
    headers = {"Content-Disposition": f'attachment; filename="recipe-{purge_id}.sh"'}
    return Response(text, media_type="text/plain; charset=utf-8", headers=headers)


@router.post("/{purge_id}/restore", dependencies=[OwnForm])
@does(Action.PURGE_RESTORE)
def restore(
    *, purge_id: UUID, portal: PortalHere, visitor: SignedIn, path: Typed = "", under: Typed = ""
) -> Response:
    with portal.session_scope() as session:
        purges.ask_restore(session, purge_id, under=path, hub_name=visitor.hub_name, now=portal.clock())
    return redirect(portal, address(purge_id, under), "restoring")


@router.post("/{purge_id}/exempt", dependencies=[OwnForm])
@does(Action.EXEMPTION_ASK)
def exempt(
    *,
    request: Request,
    purge_id: UUID,
    portal: PortalHere,
    visitor: SignedIn,
    path: Typed = "",
    until: Typed = "",
    reason: Typed = "",
) -> Response:
    typed = {"path": path, "until": until, "reason": plain_newlines(reason)}
    day, errors = day_of(until), exemption_errors(until, typed["reason"], now=portal.clock())
    if day is not None and not errors:
        try:
            with portal.session_scope() as session:
                plan = purges.one(session, purge_id, hub_name=visitor.hub_name, action=Action.EXEMPTION_ASK)
                purges.ask_exemption(
                    session, Place.named(plan.place), storage.decoded(path), until=day,
                    reason=typed["reason"], hub_name=visitor.hub_name, now=portal.clock(),
                )  # fmt: skip
        except AllocatorError as error:
            if error.status in (403, 404):
                raise
            errors = {"until": wording.sentence(error)}
    if errors:
        return plan_page(request, portal, visitor, purge_id=purge_id, under=path, typed=typed, errors=errors)
    return redirect(portal, address(purge_id, path), "exemption-asked")


@administration.get("", response_class=HTMLResponse)
@does(Action.PURGE_RUN)
def all_purges(request: Request, portal: PortalHere, visitor: Administrator) -> HTMLResponse:
    return all_page(request, portal, visitor, errors={})


@administration.post("/{purge_id}/cancel", dependencies=[OwnForm])
@does(Action.PURGE_RUN)
def cancel(
    *, request: Request, purge_id: UUID, portal: PortalHere, visitor: Administrator, reason: Typed = ""
) -> Response:
    text = plain_newlines(reason)
    if problem := text_problem(text, REASON, "a reason"):
        return all_page(request, portal, visitor, errors={f"reason-{purge_id}": problem})
    with portal.session_scope() as session:
        purges.ask_cancel(
            session, purge_id, reason=text, administrator_id=visitor.person_id, now=portal.clock()
        )
    return redirect(portal, "admin/purges", "purge-cancelled")


@administration.post("/exemptions/{exemption_id}/answer", dependencies=[OwnForm])
@does(Action.PURGE_RUN)
def answer(
    *,
    request: Request,
    exemption_id: UUID,
    portal: PortalHere,
    visitor: Administrator,
    do: Typed = "decline",
    reason: Typed = "",
) -> Response:
    text = plain_newlines(reason)
    if problem := text_problem(text, REASON, "a reason"):
        return all_page(request, portal, visitor, errors={f"reason-{exemption_id}": problem})
    with portal.session_scope() as session:
        purges.answer_exemption(
            session, exemption_id, grant=do == "grant", reason=text, administrator_id=visitor.person_id,
            now=portal.clock(),
        )  # fmt: skip
    return redirect(portal, "admin/purges", "exemption-answered")


def address(purge_id: UUID, under: str) -> str:
    """Return where a plan is shown at one of its folders; what was typed is read and written again."""
    path = storage.encoded(storage.decoded(under)).replace("%", "%25")
    return f"storage/purges/{purge_id}" + (f"?under={path}" if path else "")


def day_of(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None


def exemption_errors(until: str, reason: str, *, now: datetime) -> Errors:
    errors: Errors = {}
    day = day_of(until)
    if day is None or day <= now:
        errors["until"] = "Give a day to come, such as 2027-12-31."
    if problem := text_problem(reason, REASON, "a reason"):
        errors["reason"] = problem
    return errors


def plan_page(
    request: Request,
    portal: Portal,
    visitor: Visitor,
    *,
    purge_id: UUID,
    under: str,
    typed: dict[str, str],
    skip: int = 0,
    errors: Errors | None = None,
) -> HTMLResponse:
    with portal.reading_scope() as session:
        found = purges.plan_page(
            session,
            purge_id,
            under=under,
            hub_name=visitor.hub_name,
            records=portal.purge_records,
            policy=portal.policy,
            skip=skip,
        )
    values = {
        "found": found,
        "plan": found.plan,
        "states": STATES,
        "fates": FATES,
        "typed": typed,
        "skip": skip,
        "step": purges.MOST_FILES,
        "errors": errors or {},
        "limits": REASON,
    }
    return page(request, "purge.html", values, visitor=visitor, here="storage", status=422 if errors else 200)


def all_page(request: Request, portal: Portal, visitor: Visitor, *, errors: Errors) -> HTMLResponse:
    now = portal.clock()
    with portal.reading_scope() as session:
        values = {
            "plans": purges.every(session),
            "reports": purges.reports(session),
            "asked": purges.exemptions_to_answer(session, now=now),
            "exemptions": purges.exemptions_in_force(session, now=now),
            "rules": portal.policy.purges,
            "states": STATES,
            "errors": errors,
            "limits": REASON,
        }
    status = 422 if errors else 200
    return page(request, "admin_purges.html", values, visitor=visitor, here="admin", status=status)
