"""Announcements, for administrators: written with a level and two moments, and withdrawn."""

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response

from nexus_allocator.domain.care import Level
from nexus_allocator.domain.rights import Action, does
from nexus_allocator.services import announcements
from nexus_allocator.services.announcements import LONGEST
from nexus_allocator.web.context import Portal, Visitor
from nexus_allocator.web.event_forms import moment
from nexus_allocator.web.flash import redirect
from nexus_allocator.web.forms import REASON, Errors, plain_newlines, text_problem
from nexus_allocator.web.rendering import page
from nexus_allocator.web.sessions import Administrator, OwnForm, PortalHere

router = APIRouter(prefix="/admin/announcements")

Typed = Annotated[str, Form()]


@router.get("", response_class=HTMLResponse)
@does(Action.ANNOUNCE)
def all_announcements(request: Request, portal: PortalHere, visitor: Administrator) -> HTMLResponse:
    return announcements_page(request, portal, visitor, typed=None, errors={})


@router.post("", dependencies=[OwnForm])
@does(Action.ANNOUNCE)
def announce(
    *,
    request: Request,
    portal: PortalHere,
    visitor: Administrator,
    level: Typed = "",
    text: Typed = "",
    starts: Typed = "",
    ends: Typed = "",
) -> Response:
    typed = {"level": level, "text": plain_newlines(text), "starts": starts, "ends": ends}
    now = portal.clock()
    begins, until = moment(starts), moment(ends)
    errors = _errors(typed, begins, until, now=now)
    if errors or begins is None or until is None:
        return announcements_page(request, portal, visitor, typed=typed, errors=errors)
    with portal.session_scope() as session:
        announcements.announce_as_administrator(
            session,
            administrator_id=visitor.person_id,
            level=Level(level),
            text=typed["text"],
            starts_at=begins,
            ends_at=until,
            now=now,
        )
    return redirect(portal, "admin/announcements", "announced")


@router.post("/{announcement_id}/withdraw", dependencies=[OwnForm])
@does(Action.ANNOUNCE)
def withdraw(announcement_id: UUID, portal: PortalHere, visitor: Administrator) -> Response:
    with portal.session_scope() as session:
        announcements.withdraw_as_administrator(
            session, announcement_id, administrator_id=visitor.person_id, now=portal.clock()
        )
    return redirect(portal, "admin/announcements", "announcement-withdrawn")


def _errors(
    typed: dict[str, str], begins: datetime | None, until: datetime | None, *, now: datetime
) -> Errors:
    errors: Errors = {}
    if typed["level"] not in set(Level):
        errors["level"] = "Choose how loudly it speaks."
    if problem := text_problem(typed["text"], REASON, "a message"):
        errors["text"] = problem
    if begins is None:
        errors["starts"] = "Give day and time in UTC, such as 2027-03-01T09:00."
    if until is None:
        errors["ends"] = "Give day and time in UTC, such as 2027-03-05T18:00."
    elif until <= now:
        errors["ends"] = "The end must lie in the future."
    elif begins is not None and not timedelta(0) < until - begins <= LONGEST:
        errors["ends"] = "The end must lie after the beginning and within a year of it."
    return errors


def announcements_page(
    request: Request, portal: Portal, visitor: Visitor, *, typed: dict[str, str] | None, errors: Errors
) -> HTMLResponse:
    now = portal.clock()
    with portal.reading_scope() as session:
        rows = announcements.latest(session)
    usual = {"level": Level.INFO.value, "text": "", "starts": f"{now:%Y-%m-%dT%H:%M}",
             "ends": f"{now + timedelta(days=1):%Y-%m-%dT%H:%M}"}  # fmt: skip
    values = {
        "rows": rows,
        "now": now,
        "typed": typed or usual,
        "levels": list(Level),
        "errors": errors,
        "limits": REASON,
    }
    status = 422 if errors else 200
    return page(request, "admin_announcements.html", values, visitor=visitor, here="admin", status=status)
