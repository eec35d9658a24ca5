"""What each route of the API is given: who asks, sessions in which they act so, and doing a thing once."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Request, Response
from fastapi.security import APIKeyHeader
from pydantic import BaseModel
from sqlalchemy.orm import Session

from nexus_allocator.api.context import Here
from nexus_allocator.api.models import RefusalModel
from nexus_allocator.domain.errors import InvalidToken
from nexus_allocator.domain.rights import SEATS
from nexus_allocator.services import answers, rights
from nexus_allocator.services.callers import Caller

REFUSALS: dict[int | str, dict[str, object]] = {
    status: {"model": RefusalModel} for status in (401, 402, 403, 404, 409, 422, 429, 503)
}
# For the description only: `context.allowed` has read it before any route is entered.
HUB_TOKEN = APIKeyHeader(
    name="Authorization", scheme_name="HubToken", auto_error=False,
    description="`token` and a token of the hub, made on its Token page with the scopes it needs.",
)  # fmt: skip
Model = TypeVar("Model", bound=BaseModel)


async def calling(request: Request) -> Caller:
    caller: Caller | None = getattr(request.state, "caller", None)
    if caller is None:
        raise InvalidToken()
    return caller


class Asked:
    """A request of a person: what is read is read as one moment, and as their token lets them."""

    def __init__(self, here: Here, caller: Annotated[Caller, Depends(calling)]) -> None:
        self.here, self.caller = here, caller
        self.policy, self.hub_name, self.now = here.policy, caller.hub_name, here.clock()

    @property
    def sees_teams(self) -> bool:
        """Whether the token is for one's teams, too."""
        return bool(self.caller.limits & set(SEATS.values()))

    @contextmanager
    def reading(self) -> Iterator[Session]:
        with self.here.database.reading_scope() as session:
            rights.limit(session, self.caller.limits)
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        with self.here.database.session_scope() as session:
            rights.limit(session, self.caller.limits)
            yield session


async def fingerprint_of(request: Request) -> str:
    """Return what a request is: the same for the same request again."""
    whole = hashlib.sha256(f"{request.method} {request.url.path}?{request.url.query}\n".encode())
    whole.update(await request.body())
    return whole.hexdigest()


Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key", min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$",
        description="Any word of your own. The same request with the same key is done once, for two days; "
        "asked again, it is answered as the first time, with `Idempotency-Replayed: true`.",
    ),
]  # fmt: skip


class Unsafe:
    """A request that changes something, done in one transaction together with its kept answer."""

    def __init__(
        self,
        asked: Annotated[Asked, Depends()],
        response: Response,
        fingerprint: Annotated[str, Depends(fingerprint_of)],
        key: Key = None,
    ) -> None:
        self.asked, self.response, self.fingerprint, self.key = asked, response, fingerprint, key
        self.policy, self.hub_name, self.now = asked.policy, asked.hub_name, asked.now
        self.person_id, self.hub = asked.caller.person_id, asked.here.hub
        self.database, self.vault = asked.here.database, asked.here.vault

    def once(self, model: type[Model], act: Callable[[Session], Model]) -> Model:
        """Do it and return its answer; with a key that was used for this very request, the answer of then.

        A refusal undoes everything and keeps nothing. Raises KeyReused, and what ``act`` raises.
        """
        with self.asked.writing() as session:
            if self.key is None:
                return act(session)
            kept = answers.answered(session, self.person_id, self.key, self.fingerprint, now=self.now)
            if kept is not None:
                self.response.headers["Idempotency-Replayed"] = "true"
                return model.model_validate_json(kept)
            made = act(session)
            answers.keep(session, self.person_id, self.key, made.model_dump_json())
            return made


Asking = Annotated[Asked, Depends()]
Changing = Annotated[Unsafe, Depends()]
