"""The routes of an application, those of included routers and mounted applications too."""

from collections.abc import Iterator
from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import Mount

from nexus_allocator.domain.rights import Deed, deed_of
from nexus_allocator.web.security import SecurityHeaders


@dataclass(frozen=True)
class Named:
    """A route as it is asked for, and what it says it does."""

    method: str
    path: str
    deed: Deed | None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def routes_of(app: object, before: str = "") -> Iterator[Named]:
    """Yield every route that runs code of ours; static files and the OpenAPI document are none."""
    if isinstance(app, SecurityHeaders):
        app = app.app
    if not isinstance(app, FastAPI):
        return
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if isinstance(route, APIRoute):
            for method in sorted(context.methods or ()):
                yield Named(method, f"{before}{context.path}", deed_of(context.endpoint))
        elif isinstance(route, Mount):
            yield from routes_of(route.app, f"{before}{route.path}")
