"""Who somebody is, for administrators: another name, two people who are one, erasure with its plan."""

import random
from collections.abc import Callable
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy.orm import Session

from nexus_allocator.domain import wording
from nexus_allocator.domain.errors import AllocatorError, UnknownPerson
from nexus_allocator.domain.rights import Action, does
from nexus_allocator.services import erasure, identities, portal_lists
from nexus_allocator.web.context import Portal, Visitor
from nexus_allocator.web.flash import redirect
from nexus_allocator.web.forms import REASON, Errors, plain_newlines, text_problem
from nexus_allocator.web.rendering import page
from nexus_allocator.web.sessions import Administrator, OwnForm, PortalHere

router = APIRouter(prefix="/admin/people/{hub_name}")

Typed = Annotated[str, Form(max_length=2000)]
# Which field's fault a refusal is, by form; others are told above all.
NAME_FIELDS = {"bad_name": "to", "name_taken": "to", "bad_address": "email"}


@router.get("/identity", response_class=HTMLResponse)
@does(Action.PERSON_CHANGE)
def identity(request: Request, hub_name: str, portal: PortalHere, visitor: Administrator) -> HTMLResponse:
    return identity_page(request, portal, visitor, hub_name=hub_name, typed={}, errors={})


@router.post("/identity", dependencies=[OwnForm])
@does(Action.PERSON_CHANGE)
def change(
    *,
    request: Request,
    hub_name: str,
    portal: PortalHere,
    visitor: Administrator,
    to: Typed = "",
    email: Typed = "",
    reason: Typed = "",
) -> Response:
    typed = _typed(to=to, email=email, reason=reason)
    errors = _reason_errors(typed["reason"], "reason")
    if not typed["to"] and not typed["email"]:
        errors["to"] = "Give another hub name, another e-mail address, or both."

    def act(session: Session, actor: UUID) -> object:
        return identities.change(
            session, hub_name=hub_name, to=typed["to"] or None, email=typed["email"] or None,
            reason=typed["reason"], actor=actor, now=portal.clock(),
        )  # fmt: skip

    errors = errors or _attempt(
        portal, visitor, Action.PERSON_CHANGE, act, hub_name, fields=NAME_FIELDS, other="to"
    )
    if errors:
        return identity_page(request, portal, visitor, hub_name=hub_name, typed=typed, errors=errors)
    return redirect(portal, f"admin/people/{typed['to'] or hub_name}", "identity-changed")


@router.post("/merge", dependencies=[OwnForm])
@does(Action.PERSON_MERGE)
def merge(
    *,
    request: Request,
    hub_name: str,
    portal: PortalHere,
    visitor: Administrator,
    gone: Typed = "",
    merge_reason: Typed = "",
) -> Response:
    typed = _typed(gone=gone, merge_reason=merge_reason)
    errors = _reason_errors(typed["merge_reason"], "merge_reason")
    if not typed["gone"]:
        errors["gone"] = "Give the hub name of the other person."

    def act(session: Session, actor: UUID) -> object:
        return identities.merge(
            session, keep=hub_name, gone=typed["gone"], reason=typed["merge_reason"], actor=actor,
            now=portal.clock(),
        )  # fmt: skip

    errors = errors or _attempt(
        portal, visitor, Action.PERSON_MERGE, act, hub_name, typed["gone"], fields={}, other="gone"
    )
    if errors:
        return identity_page(request, portal, visitor, hub_name=hub_name, typed=typed, errors=errors)
    return redirect(portal, f"admin/people/{hub_name}", "merged")


@router.post("/erase", dependencies=[OwnForm])
@does(Action.PERSON_ERASE)
def erase(
    *,
    request: Request,
    hub_name: str,
    portal: PortalHere,
    visitor: Administrator,
    name: Typed = "",
    erase_reason: Typed = "",
) -> Response:
    typed = _typed(name=name, erase_reason=erase_reason)
    errors = _reason_errors(typed["erase_reason"], "erase_reason")

    def act(session: Session, actor: UUID) -> object:
        return erasure.erase(
            session, hub_name=hub_name, typed=typed["name"], reason=typed["erase_reason"], actor=actor,
            rng=random.SystemRandom(), now=portal.clock(),
        )  # fmt: skip

    errors = errors or _attempt(portal, visitor, Action.PERSON_ERASE, act, hub_name, fields={}, other="name")
    if errors:
        return identity_page(request, portal, visitor, hub_name=hub_name, typed=typed, errors=errors)
    return redirect(portal, "admin/people", "erased")


def _typed(**fields: str) -> dict[str, str]:
    return {name: plain_newlines(text).strip() for name, text in fields.items()}


def _reason_errors(text: str, field: str) -> Errors:
    problem = text_problem(text, REASON, "a reason")
    return {field: problem} if problem else {}


def _attempt(
    portal: Portal,
    visitor: Visitor,
    action: Action,
    act: Callable[[Session, UUID], object],
    *hub_names: str,
    fields: dict[str, str],
    other: str,
) -> Errors:
    """Do it in one transaction; return a refusal beside its field, ``other`` when it is no field's own."""
    try:
        with portal.session_scope() as session:
            act(session, identities.acting_on(session, visitor.person_id, action, *hub_names))
    except AllocatorError as error:
        if error.status == 403:
            raise
        return {fields.get(error.slug, other): wording.sentence(error)}
    return {}


def identity_page(
    request: Request,
    portal: Portal,
    visitor: Visitor,
    *,
    hub_name: str,
    typed: dict[str, str],
    errors: Errors,
) -> HTMLResponse:
    with portal.reading_scope() as session:
        found = portal_lists.people(session, policy=portal.policy, query=hub_name[:100], number=1)
        rows = [row for row in found.rows if row.hub_name == hub_name]
        if not rows:
            raise UnknownPerson(person=hub_name[:40])
        plan = None if rows[0].is_erased else erasure.plan(session, hub_name=hub_name)
    values = {
        "person": rows[0],
        "is_self": hub_name == visitor.hub_name,
        "plan": plan,
        "typed": {"to": "", "email": "", "reason": "", "gone": "", "merge_reason": "", "name": "",
                  "erase_reason": ""} | typed,
        "errors": errors,
        "limits": REASON,
    }  # fmt: skip
    status = 422 if errors else 200
    return page(request, "admin_identity.html", values, visitor=visitor, here="admin", status=status)
