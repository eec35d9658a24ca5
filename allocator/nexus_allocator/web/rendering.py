"""Templates into pages; everything put into one is escaped."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from nexus_allocator.services import announcements, storage_quotas
from nexus_allocator.web import formats
from nexus_allocator.web.context import Portal, Visitor
from nexus_allocator.web.flash import take_notice
from nexus_allocator.web.storage_views import Spoken, bytes_text, spoken

TEMPLATES = Path(__file__).parent / "templates"
FILTERS: dict[str, Callable[..., str]] = {
    "credits": formats.credits_text,
    "credits_exact": formats.credits_exact,
    "credits_round": formats.credits_round,
    "credits_field": formats.credits_field,
    "rate": formats.rate_text,
    "unit": formats.unit_text,
    "iso": formats.iso,
    "day": formats.day_text,
    "moment": formats.moment_text,
    "duration": formats.length_text,
    "hours": formats.hours_text,
    "bytes": bytes_text,
}


def template_environment(portal: Portal) -> Environment:
    """Return what all pages are made with; an unknown name in a template is an error, not a blank."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    environment.globals |= {
        "plural": formats.plural,
        "prefix": portal.prefix,
        "hub_home_url": f"{portal.hub_public_url}/hub/home",
        "launch_url": f"{portal.hub_public_url}/hub/spawn",
        "hub_public_url": portal.hub_public_url,
        "logout_url": portal.sign_in.logout_url,
    }
    return environment


def page(
    request: Request,
    name: str,
    values: Mapping[str, Any] | None = None,
    *,
    visitor: Visitor | None,
    here: str = "",
    status: int = 200,
) -> HTMLResponse:
    """Render template ``name``; a notice left by the request before is shown once."""
    environment: Environment = request.app.state.templates
    notice, forget = take_notice(request)
    told = _announced(request, visitor) if visitor else []
    body = environment.get_template(name).render(
        {**(values or {}), "visitor": visitor, "here": here, "notice": notice, "announced": told}
    )
    response = HTMLResponse(body, status)
    forget(response)
    return response


def _announced(request: Request, visitor: Visitor) -> list[Spoken]:
    """Return what is announced now, and which of the visitor's places hold too much.

    For who is signed in: an error's page may have no database.
    """
    portal: Portal = request.app.state.portal
    now = portal.clock()
    with portal.reading_scope() as session:
        told = announcements.standing(session, now=now)
        overfull = storage_quotas.warnings(session, visitor.person_id, terms=portal.policy.storage, now=now)
    return [Spoken(each.level, each.text) for each in told] + [spoken(place) for place in overfull]
