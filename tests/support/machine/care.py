"""Care of people, and requests that come twice: suspension, reinstatement, keys of the same request."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from fastapi import Response
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from pydantic import BaseModel
from sqlalchemy.orm import Session
from tests.support.machine.ground import NUMBERS
from tests.support.machine.reading import Reading

from nexus_allocator.api.v1.asking import Asked, Unsafe
from nexus_allocator.domain.errors import KeyReused
from nexus_allocator.domain.rights import Capacity
from nexus_allocator.services import allocations, answers, suspensions
from nexus_allocator.services.callers import Caller
from nexus_allocator.store import people


class Corrected(BaseModel):
    amount_micro: int


class AnswerLost(Exception):  # noqa: N818 - says what happened
    """The request was not done: what it did was undone with it."""


@dataclass
class Request:
    """A correction that somebody asks for under a key, perhaps again and again."""

    key: str
    amount: float
    is_done: bool = False


class Care(Reading):
    """The member is suspended and reinstated at any moment; an administrator's program repeats itself."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Request] = []

    @rule()
    def the_member_is_suspended_or_reinstated(self) -> None:
        self.hub.people_tokens[self.name] = ["of a browser", "of a server"]
        with self.database.session_scope() as session:
            if self.is_suspended:
                suspensions.reinstate(session, hub_name=self.name, actor="t", now=self.clock())
            else:
                suspensions.suspend(
                    session, hub_name=self.name, reason="for the test", actor="t", now=self.clock()
                )
        self.is_suspended = not self.is_suspended

    @rule(amount=st.sampled_from([-0.25, 0.5]), undone=st.booleans())
    def a_request_with_a_key(self, amount: float, undone: bool) -> None:
        request = Request(f"{self.name}-{next(NUMBERS)}", amount)
        self.requests.append(request)
        if undone:
            with pytest.raises(AnswerLost):
                self.ask(request, undone=True)
        else:
            assert not self.ask(request), "a new key is no repetition"

    @precondition(lambda self: self.requests)
    @rule(data=st.data(), as_another=st.booleans())
    def the_same_request_again(self, data: st.DataObject, as_another: bool) -> None:
        """It is done if it was not, and answered as before if it was; its key serves no other request."""
        request = data.draw(st.sampled_from(self.requests))
        if as_another and request.is_done:
            with pytest.raises(KeyReused):
                self.ask(request, fingerprint="another request")
            return
        was_done = request.is_done
        assert self.ask(request) == was_done

    @rule()
    def old_answers_are_forgotten(self) -> None:
        """After two days a key is as new; nobody asks so late, and here they do not either."""
        with self.database.session_scope() as session:
            answers.forget_old(session, now=self.clock())
        self.requests.clear()

    def ask(self, request: Request, *, undone: bool = False, fingerprint: str = "correct") -> bool:
        """Ask as a route does; say whether the answer was one of before."""
        response, amount_micro = Response(), round(request.amount * 1e6)

        def act(session: Session) -> Corrected:
            allocations.correct(
                session, account=self.account, amount_micro=amount_micro, actor="t", reason="for the test",
                now=self.clock(),
            )  # fmt: skip
            if undone:
                raise AnswerLost
            return Corrected(amount_micro=amount_micro)

        unsafe = Unsafe(Asked(self.context(), self.caller()), response, fingerprint, request.key)
        assert unsafe.once(Corrected, act).amount_micro == amount_micro
        if not request.is_done:
            self.corrected(request.amount)
        request.is_done = True
        return "Idempotency-Replayed" in response.headers

    def context(self) -> SimpleNamespace:
        """What of the service's context doing a request once reads."""
        return SimpleNamespace(
            database=self.database, hub=self.client, policy=self.world.policy, clock=self.clock, vault=None
        )

    def caller(self) -> Caller:
        with self.database.reading_scope() as session:
            lead = people.by_hub_name(session, self.mate)
        assert lead is not None
        everything = frozenset(Capacity)
        return Caller(lead.id, self.mate, everything, everything)
