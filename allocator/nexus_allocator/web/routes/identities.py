"""Who somebody is, for administrators: another name, two people who are one, erasure with its plan."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response

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
# Which field's fault a refusal of a name or an address is.
NAME_FIELDS = {"bad_name": "to", "name_taken": "to", "bad_address": "email"}


@router.get("/identity", response_class=HTMLResponse)
@does(Action.PERSON_CHANGE)
def identity(request: Request, hub_name: str, portal: PortalHere, visitor: Administrator) -> HTMLResponse:
    return identity_page(request, portal, visitor, hub_name=hub_name, typed={}, errors={})


@dataclass(frozen=True)
class Sent:
    """One of the page's forms as it was sent: what it does, to whom, and where a refusal belongs in it.

    ``fields`` says which field's fault a refusal is; others are that of ``first``.
    """

    action: Action
    do: Callable[..., object]
    typed: dict[str, str]
    reason: str
    first: str
    to: tuple[str, ...]
    fields: Mapping[str, str] = field(default_factory=dict)


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
    change = partial(
        identities.change, hub_name=hub_name, to=typed["to"] or None, email=typed["email"] or None
    )
    form = Sent(
        Action.PERSON_CHANGE, change, typed, reason="reason", first="to", to=(hub_name,), fields=NAME_FIELDS
    )
    missing: Errors = {}
    if not typed["to"] and not typed["email"]:
        missing["to"] = "Give another hub name, another e-mail address, or both."
    if refused := _refused(request, portal, visitor, form=form, missing=missing):
        return refused
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
    merge = partial(identities.merge, keep=hub_name, gone=typed["gone"])
    form = Sent(
        Action.PERSON_MERGE, merge, typed, reason="merge_reason", first="gone", to=(hub_name, typed["gone"])
    )
    missing: Errors = {} if typed["gone"] else {"gone": "Give the hub name of the other person."}
    if refused := _refused(request, portal, visitor, form=form, missing=missing):
        return refused
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
    erase = partial(erasure.erase, hub_name=hub_name, typed=typed["name"], rng=random.SystemRandom())
    form = Sent(Action.PERSON_ERASE, erase, typed, reason="erase_reason", first="name", to=(hub_name,))
    if refused := _refused(request, portal, visitor, form=form, missing={}):
        return refused
    return redirect(portal, "admin/people", "erased")


def _typed(**fields: str) -> dict[str, str]:
    return {name: plain_newlines(text).strip() for name, text in fields.items()}


def _refused(
    request: Request, portal: Portal, visitor: Visitor, *, form: Sent, missing: Errors
) -> HTMLResponse | None:
    """Do it in one transaction; return the page with what is wrong beside its fields, None when done."""
    errors, reason = dict(missing), form.typed[form.reason]
    if problem := text_problem(reason, REASON, "a reason"):
        errors[form.reason] = problem
    try:
        if not errors:
            with portal.session_scope() as session:
                actor = identities.acting_on(session, visitor.person_id, form.action, *form.to)
                form.do(session, reason=reason, actor=actor, now=portal.clock())
            return None
    except AllocatorError as error:
        if error.status == 403:
            raise
        errors = {form.fields.get(error.slug, form.first): wording.sentence(error)}
    return identity_page(request, portal, visitor, hub_name=form.to[0], typed=form.typed, errors=errors)


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
