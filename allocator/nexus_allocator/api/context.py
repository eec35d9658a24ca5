"""What the routes are given: the database, the policy and the few settings they tell or check."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from nexus_allocator.clients.hub import HubClient
from nexus_allocator.domain.errors import InvalidToken
from nexus_allocator.domain.policy import Policy
from nexus_allocator.services.metering import Terms
from nexus_allocator.store.session import Database


@dataclass(frozen=True)
class Context:
    database: Database
    hub: HubClient
    policy: Policy
    internal_token: str = field(repr=False)
    administrators: tuple[str, ...]
    grace_minutes: int
    confinement: str
    clock: Callable[[], datetime]
    metering: Terms

    def is_administrator(self, issuer: str, subject: str, groups: list[str]) -> bool:
        return f"{issuer}|{subject}" in self.administrators or bool(set(groups) & set(self.administrators))


# What does no input or output is `async`, so that no thread has to be fetched for it.
async def context_of(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


Here = Annotated[Context, Depends(context_of)]
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]


async def require_hub(context: Here, bearer: Bearer) -> None:
    """Let only the hub through. Raises InvalidToken, the same for none and for a wrong one."""
    given = bearer.credentials if bearer else ""
    if not hmac.compare_digest(given.encode(), context.internal_token.encode()):
        raise InvalidToken()
