"""The portal as an application of its own, mounted under the service's prefix; its errors are pages."""

import logging
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from nexus_allocator.domain import wording
from nexus_allocator.domain.errors import AllocatorError, DatabaseUnavailable
from nexus_allocator.store.session import UNUSABLE, is_fault_of_ours
from nexus_allocator.web.context import ForbiddenError, Portal, SignInNeededError, Visitor
from nexus_allocator.web.oauth import HubUnreachableError
from nexus_allocator.web.rendering import page, template_environment
from nexus_allocator.web.routes import (
    accounts,
    administration,
    agreement,
    announcements,
    care,
    enterings,
    events,
    exports,
    identities,
    mail,
    offers,
    panel,
    panel_decisions,
    panel_rounds,
    pool,
    purges,
    questions,
    records,
    request_queue,
    requests,
    servers,
    sign_in,
    snapshots,
    storage,
    teams,
    webhooks,
)
from nexus_allocator.web.security import SecurityHeaders
from nexus_allocator.web.sessions import allowed

log = logging.getLogger("nexus_allocator.web")
STATIC = Path(__file__).parent / "static"


def portal_app(portal: Portal) -> ASGIApp:
    """Return the portal's application; mount it at ``portal.prefix`` without the last slash."""
    app = FastAPI(
        title="Roman Research Nexus portal", openapi_url=None, docs_url=None, redoc_url=None,
        dependencies=[Depends(allowed)],
    )  # fmt: skip
    app.state.portal = portal
    app.state.templates = template_environment(portal)
    app.mount("/static", CachedFiles(directory=STATIC))
    for module in (
        sign_in,
        accounts,
        servers,
        requests,
        administration,
        teams,
        pool,
        agreement,
        care,
        records,
        events,
        identities,
        enterings,
        announcements,
        questions,
        exports,
    ):
        app.include_router(module.router)
    for router in (purges.router, purges.administration, snapshots.router):
        app.include_router(router)
    for module in (offers, panel, panel_decisions, panel_rounds, request_queue):
        app.include_router(module.router)
    for router in (mail.router, mail.administration, webhooks.router, storage.router, storage.administration):
        app.include_router(router)
    for error, handler in HANDLERS.items():
        app.add_exception_handler(error, handler)
    # Around everything: the page that tells of a bug is made outside of an application's own middleware.
    return SecurityHeaders(app)


class CachedFiles(StaticFiles):
    """Static files a browser may keep, asking each time whether they changed."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "no-cache"
        return response


def message(
    request: Request, status: int, heading: str, text: str, *, action: dict[str, str] | None = None
) -> HTMLResponse:
    values = {"heading": heading, "text": text, "action": action}
    return page(request, "message.html", values, visitor=known(request, status), status=status)


def known(request: Request, status: int) -> Visitor | None:
    """Return who was found to be signed in, to whom the way around is shown; nobody where we failed."""
    found: Visitor | None = getattr(request.state, "visitor", None) if status < 500 else None
    return found


def home_action(request: Request) -> dict[str, str]:
    portal: Portal = request.app.state.portal
    return {"href": portal.prefix, "label": "My allocations"}


def sign_in_url(request: Request) -> str:
    portal: Portal = request.app.state.portal
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return (
        f"{portal.prefix}sign-in?{urlencode({'next': wanted if request.method == 'GET' else portal.prefix})}"
    )


def on_sign_in_needed(request: Request, _error: Exception) -> Response:
    if request.method in {"GET", "HEAD"}:
        return RedirectResponse(sign_in_url(request), 303)
    return message(
        request,
        401,
        "Your session has ended",
        "Nothing was changed. Sign in again and repeat what you wanted to do; "
        "your browser's Back button brings back what you typed.",
        action={"href": sign_in_url(request), "label": "Sign in"},
    )


def on_forbidden(request: Request, error: Exception) -> Response:
    text = error.message if isinstance(error, ForbiddenError) else str(error)
    return message(request, 403, "You can't do this", text, action=home_action(request))


def on_hub_unreachable(request: Request, error: Exception) -> Response:
    log.warning("the hub can't be asked who this is: %s", error)
    return message(
        request,
        503,
        "The hub does not answer",
        "The Nexus can't check who you are just now. Nothing was changed; please try again in a minute.",
        action=home_action(request),
    )


def on_refusal(request: Request, error: Exception) -> Response:
    if not isinstance(error, AllocatorError):
        raise error
    headings = {
        403: "You can't do this",
        404: "Not found",
        409: "That was not possible",
        503: "Please try again",
    }
    heading = headings.get(error.status, "That was not possible")
    return message(request, error.status, heading, wording.sentence(error), action=home_action(request))


def on_database_unusable(request: Request, error: Exception) -> Response:
    if is_fault_of_ours(error):
        raise error
    log.error("the database can't be used", exc_info=error)
    return on_refusal(request, DatabaseUnavailable())


def on_http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 404:
        text = "There is no such page. It may have moved, or the address has a slip in it."
        return message(request, 404, "Not found", text, action=home_action(request))
    text = "This address does not take that kind of request. Nothing was changed."
    return message(request, status, "That was not possible", text, action=home_action(request))


def on_invalid(request: Request, error: Exception) -> Response:
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    fields = ", ".join(sorted({str(problem["loc"][-1]) for problem in problems}))
    text = f"These parts of the request can't be read: {fields}. Nothing was changed."
    return message(request, 422, "That can't be read", text, action=home_action(request))


def on_bug(request: Request, error: Exception) -> Response:
    log.error("a page failed: %s %s", request.method, request.url.path, exc_info=error)
    text = "The fault is ours and has been recorded. Please try again; if it stays, write to the help desk."
    return message(request, 500, "Something went wrong", text, action=home_action(request))


HANDLERS: dict[type[Exception], Callable[[Request, Exception], Response]] = {
    SignInNeededError: on_sign_in_needed,
    ForbiddenError: on_forbidden,
    HubUnreachableError: on_hub_unreachable,
    AllocatorError: on_refusal,
    **dict.fromkeys(UNUSABLE, on_database_unusable),
    RequestValidationError: on_invalid,
    HTTPException: on_http_error,
    Exception: on_bug,
}
