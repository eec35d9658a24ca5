"""How a refusal leaves as JSON, and as one line of the log."""

import json
import logging
from uuid import UUID

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from nexus_allocator.api.context import Context
from nexus_allocator.api.models import RefusalModel
from nexus_allocator.domain.errors import AllocatorError, DatabaseUnavailable, InvalidRequest
from nexus_allocator.domain.wording import sentence
from nexus_allocator.store.session import is_fault_of_ours

log = logging.getLogger("nexus_allocator.decisions")


async def refuse(request: Request, error: Exception) -> JSONResponse:
    """Answer an AllocatorError with its slug, its sentence and its facts."""
    assert isinstance(error, AllocatorError)  # noqa: S101 - registered for this class only
    # Figures only: names and accounts of people stay out of the log.
    figures = {name: fact for name, fact in error.facts.items() if isinstance(fact, int | float | UUID)}
    log.info(json.dumps({"event": "refused", "error": error.slug, **figures}, default=str))
    context: Context = request.app.state.context
    context.counted.refusals.labels(error.slug).inc()
    body = RefusalModel(error=error.slug, message=sentence(error), facts=error.facts)
    return JSONResponse(body.model_dump(mode="json"), status_code=error.status)


async def refuse_for_database(request: Request, error: Exception) -> JSONResponse:
    """Answer that the database can't be used: it is away, or its disk is full. The operator reads why."""
    if is_fault_of_ours(error):
        raise error
    log.error("the database can't be used", exc_info=error)
    return await refuse(request, DatabaseUnavailable())


async def refuse_malformed(request: Request, error: Exception) -> JSONResponse:
    """Answer a request whose shape is wrong, naming each field; what was sent is not echoed."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class only
    problems = [f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()]
    return await refuse(request, InvalidRequest(problem="; ".join(problems)))


async def refuse_path(request: Request, error: Exception) -> JSONResponse:
    """Answer an unknown path or method in the same shape as every refusal."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class only
    body = RefusalModel(error="http_error", message=str(error.detail), facts={})
    return JSONResponse(body.model_dump(), status_code=error.status_code, headers=error.headers)
