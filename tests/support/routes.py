"""The routes of an application, those of included routers and mounted applications too."""

from collections.abc import Iterator
from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import Mount

from nexus_allocator.domain.rights import Deed, deed_of
from nexus_allocator.web.security import SecurityHeaders


@dataclass(frozen=True)
class Named:
    """A route as it is asked for, what it says it does, and what it takes in form and address."""

    method: str
    path: str
    deed: Deed | None
    fields: tuple[str, ...] = ()
    query: tuple[str, ...] = ()

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
            asked = list(needed(route.dependant))
            fields = tuple(field.alias for each in asked for field in each.body_params)
            query = tuple(field.alias for each in asked for field in each.query_params)
            for method in sorted(context.methods or ()):
                yield Named(method, f"{before}{context.path}", deed_of(context.endpoint), fields, query)
        elif isinstance(route, Mount):
            yield from routes_of(route.app, f"{before}{route.path}")


def needed(dependant: Dependant) -> Iterator[Dependant]:
    """Yield what a route takes, and what those functions take that it depends on."""
    yield dependant
    for each in dependant.dependencies:
        yield from needed(each)
