"""What the routes are given: the database, the policy and the few settings they tell or check."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from nexus_allocator.api.counted import Counted
from nexus_allocator.clients.hub import HubClient
from nexus_allocator.clients.objects.credentials import AccountStore
from nexus_allocator.domain.errors import InvalidToken, NotAllowed, ScopeNeeded
from nexus_allocator.domain.lab_tokens import hold_of_token
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.rights import NOBODY_KNOWN, Capacity, deed_of, lets
from nexus_allocator.domain.scopes import that_let
from nexus_allocator.services.callers import TokenMemory, caller_of
from nexus_allocator.services.metering import Terms
from nexus_allocator.services.webhooks import Vault
from nexus_allocator.store.session import Database

READING = frozenset({"GET", "HEAD"})


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
    vault: Vault
    metrics_token: str | None = field(repr=False)
    tokens: TokenMemory = field(default_factory=TokenMemory, repr=False)
    counted: Counted = field(default_factory=Counted)
    tiers_file: Path | None = None
    purge_records: Path | None = None
    store: AccountStore | None = None

    def is_administrator(self, issuer: str, subject: str, groups: list[str]) -> bool:
        return f"{issuer}|{subject}" in self.administrators or bool(set(groups) & set(self.administrators))


# What does no input or output is `async`, so that no thread has to be fetched for it.
async def context_of(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


Here = Annotated[Context, Depends(context_of)]
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]


async def allowed(request: Request, context: Here, bearer: Bearer) -> None:
    """Let pass whose token may do what the route names.

    Raises InvalidToken for none as for a wrong one; to a person NotAllowed, Suspended, and ScopeNeeded where
    they may and their token may not.
    """
    deed = deed_of(request.scope["endpoint"])
    token = hub_token(request)
    if token is None or lets(NOBODY_KNOWN, deed):
        if not lets(_acting_as(context, bearer), deed):
            raise InvalidToken()
        return
    writes = request.method not in READING
    caller = await run_in_threadpool(
        caller_of, context.database, context.hub, context.tokens, token, writes=writes, now=context.clock()
    )
    if not lets(caller.may_act_as, deed):
        raise NotAllowed()
    if not lets(caller.may_act_as & caller.limits, deed):
        raise ScopeNeeded(scopes=that_let(deed, held=caller.may_act_as, writes=writes))
    request.state.caller = caller


def hub_token(request: Request) -> str | None:
    """Return the hub's token that was sent, as the hub itself wants it; None for another kind."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if kind.lower() == "token" else None


def _acting_as(context: Context, bearer: HTTPAuthorizationCredentials | None) -> frozenset[Capacity]:
    """Return whom a token of ours speaks for; hub and gateway share one."""
    given = bearer.credentials if bearer else ""
    if hmac.compare_digest(given.encode(), context.internal_token.encode()):
        return NOBODY_KNOWN | {Capacity.HUB, Capacity.GATEWAY}
    if context.metrics_token and hmac.compare_digest(given.encode(), context.metrics_token.encode()):
        return NOBODY_KNOWN | {Capacity.MONITOR}
    is_of_a_server = hold_of_token(context.internal_token, given) is not None
    return NOBODY_KNOWN | {Capacity.SERVER} if is_of_a_server else NOBODY_KNOWN
