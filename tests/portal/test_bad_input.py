"""Every form and address of the portal with input that is none: a clear refusal, never an error of ours.

The forms are those of the application's routes; the rows of `test_rights.py` say how each is asked for. Over
PostgreSQL, which is stricter than SQLite. What a form would have written is taken back after each, so that
all meet the same things; what is refused must have written nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session
from tests.portal.test_rights import (
    EVERYBODY,
    PEOPLE,
    ROWS,
    Row,
    Scene,
    filled,
    is_right,
    route_of,
    routes,
    scene,
    sent,
)
from tests.support.fake_hub import running_hub
from tests.support.portal import (
    JUSTIFICATION,
    PREFIX,
    PortalUnderTest,
    Visitor,
    portal_over,
    text_of,
    with_people,
)
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.routes import Named, routes_of
from tests.support.site import with_unanswered_questions

from nexus_allocator.store.schema import upgrade
from nexus_allocator.store.session import Database

__all__ = ["postgres_server", "routes", "scene"]

POSTS = tuple(row for row in ROWS if row.method == "POST")
# Where the row's own form is refused before all of it is read.
WHOLE = {
    "POST /requests": {"account": "stranger", "tier": "research", "justification": JUSTIFICATION,
                       "area": "10", "exposures": "", "do": "send"},
    "POST /admin/what-if": {"people": "10", "more": "tiers.entry.credits=x0.5"},
    "POST /admin/announcements": {"level": "info", "text": "Slow today", "starts": "2027-03-15T14:00",
                                  "ends": "2027-03-16T14:00"},
    "POST /admin/events": {"label": "School", "starts": "2027-03-15T14:00", "ends": "2027-03-17T18:00",
                           "sizes": "small", "kind": "each", "amount": "2.5", "people": "2"},
    "POST /events/join": {"code": "BCDF-2345"},
    "POST /teams/{slug}/members/{hub_name}/share": {"kind": "cap", "amount": "5"},
    "POST /teams/{slug}/groups/{subgroup_id}/share": {"kind": "fair", "amount": "5"},
}  # fmt: skip
BY = {"POST /requests": "stranger"}
SCRIPT = "<script>alert(1)</script>"
# Every field meets the first three, and in turn two of the others.
ALWAYS = ("", "x" * 5_000, f"=1+1{SCRIPT}")
IN_TURN = ("-1", "9" * 40, "NaN", "0001-01-01T00:00+23:00")
# What is put away twice stays so.
NEVER_REFUSED = "POST /notices/{notice_id}/put-away"
# A code that is tried counts, whatever comes of it.
COUNTS_TRIES = "POST /events/join"


@dataclass
class TakenBack:
    """A transaction whose writes are taken back while ``is_on``; ``written`` counts those that wrote."""

    database: Database
    is_on: bool = False
    written: int = 0

    @contextmanager
    def __call__(self) -> Iterator[Session]:
        with self.database.session_scope() as session:
            flushed: list[object] = []
            event.listen(session, "after_flush", lambda *told: flushed.append(told))
            yield session
            if self.is_on:
                session.flush()
                self.written += bool(flushed)
                session.rollback()


@dataclass(frozen=True)
class Counter:
    """The portal with a visitor of each kind before it."""

    portal: PortalUnderTest
    address: str
    words: dict[str, str]
    routes: dict[str, Named]
    scope: TakenBack
    visitors: dict[str, Visitor] = field(default_factory=dict)

    def at(self, row: Row) -> Visitor:
        """Return somebody who may do it."""
        deed = self.routes[route_of(row)].deed
        assert deed is not None
        who = BY.get(route_of(row)) or next(each for each in EVERYBODY[1:] if is_right(each, row, deed))
        if who not in self.visitors:
            self.portal.hub.at_the_keyboard = PEOPLE[who]
            self.scope.is_on = False
            self.visitors[who] = Visitor(self.address)
            self.visitors[who].sign_in("preferences")
            self.scope.is_on = True
        return self.visitors[who]

    def post(
        self, row: Row, *, path: str | None = None, csrf: str | None = None, **form: str
    ) -> httpx.Response:
        self.scope.written = 0
        address = path or row.route.lstrip("/").format(**self.words)
        return self.at(row).post(address, csrf=csrf, **form)

    def form(self, row: Row) -> dict[str, str]:
        form = WHOLE.get(route_of(row), row.form)
        return {name: value.format(**self.words) for name, value in form.items()}


@pytest.fixture(scope="module")
def counter(postgres_server: PostgresServer) -> Iterator[Counter]:
    url = postgres_server.url(postgres_server.new_database())
    with running_hub() as hub, portal_over(url, hub) as portal:
        upgrade(portal.database)
        with_people(portal)
        words = filled(portal)
        with_unanswered_questions(portal)
        scope = TakenBack(portal.database)
        portal.scope = scope
        with portal.served() as address:
            prefix = PREFIX.rstrip("/")
            found = {
                f"{each.method} {each.path.removeprefix(prefix)}": each for each in routes_of(portal.app)
            }
            counter = Counter(portal, address, words, found, scope)
            yield counter
            for visitor in counter.visitors.values():
                visitor.client.close()


def problem_of(answer: httpx.Response) -> str | None:
    """Return what is wrong with an answer; None when it is a clear refusal, or the input was good."""
    if answer.status_code >= 500:
        return f"{answer.status_code}"
    if SCRIPT in answer.text:
        return "the script is in the page"
    if answer.status_code < 400:
        return None
    said = text_of(answer.text)
    is_told = 'role="alert"' in answer.text or "<h1>" in answer.text
    return None if is_told and len(said) > 60 else f"says nothing: {said[:80]}"


@pytest.mark.postgres
def test_whatever_stands_in_a_field_is_taken_or_refused_clearly_and_nothing_is_half_done(
    counter: Counter,
) -> None:
    wrong, asked, numbers = [], 0, count()
    for row in POSTS:
        form, name = counter.form(row), route_of(row)
        for each in dict.fromkeys((*counter.routes[name].fields, *form)):
            if each == "csrf":
                continue
            number = next(numbers)
            for bad in (*ALWAYS, IN_TURN[number % 4], IN_TURN[(number + 1) % 4]):
                answer = counter.post(row, **form | {each: bad})
                asked += 1
                problem = problem_of(answer)
                if answer.status_code >= 400 and counter.scope.written and name != COUNTS_TRIES:
                    problem = "refused, and something was written"
                if problem:
                    wrong.append((name, each, bad[:30], problem))
    assert wrong == []
    assert asked > 500


@pytest.mark.postgres
def test_what_nobody_can_type_is_refused_in_every_field(counter: Counter) -> None:
    for row in POSTS:
        form = counter.form(row)
        answer = counter.post(row, **form | dict.fromkeys(form or ["anything"], "a\x00b"))
        assert (answer.status_code, counter.scope.written) == (422, 0), row
        assert "can't be read" in text_of(answer.text), row


@pytest.mark.postgres
def test_a_form_with_nothing_in_it_is_told_so(counter: Counter) -> None:
    wrong = []
    for row in POSTS:
        answer = counter.post(row)
        if problem := problem_of(answer):
            wrong.append((route_of(row), problem))
    assert wrong == []


@pytest.mark.postgres
def test_a_form_of_another_session_does_nothing(counter: Counter) -> None:
    for row in POSTS:
        answer = counter.post(row, csrf="another", **counter.form(row))
        assert (answer.status_code, counter.scope.written) == (403, 0), row
        assert "was not made for your present session" in text_of(answer.text), row


@pytest.mark.postgres
def test_things_that_are_not_there_or_have_impossible_names_are_refused(counter: Counter) -> None:
    wrong = []
    for word in (str(uuid4()), "no-such-name", "a%00b", "x" * 300, "%F0%9F%AA%90", "9" * 40):
        other = dict.fromkeys(counter.words, word)
        for row in ROWS:
            path = row.route.lstrip("/").format(**other)
            if path == row.route.lstrip("/"):
                continue
            if row.method == "GET":
                answer = counter.at(row).open(path)
            else:
                answer = counter.post(row, path=path, **counter.form(row))
            problem = problem_of(answer)
            taken = answer.status_code < 400 and (route_of(row) != NEVER_REFUSED or counter.scope.written)
            if problem or taken:
                wrong.append((route_of(row), word[:12], problem or answer.status_code))
    assert wrong == []


@pytest.mark.postgres
def test_whatever_stands_in_a_search_is_taken_or_refused_clearly(counter: Counter) -> None:
    wrong, asked = [], 0
    for row in ROWS:
        path = row.route.lstrip("/").format(**counter.words)
        for name in counter.routes[route_of(row)].query:
            for bad in ("a\x00b", "x" * 5_000, "9" * 40, "-1", SCRIPT, "9999-12-31"):
                answer = counter.at(row).open(path, **{name: bad})
                asked += 1
                if problem := problem_of(answer):
                    wrong.append((path, name, bad[:20], problem))
    assert wrong == []
    assert asked > 100


def test_a_form_that_is_sent_twice_is_done_once_and_its_second_answer_is_clear(scene: Scene) -> None:
    """A double click that no script caught, a reloaded page: over SQLite, whose state is brought back."""
    wrong = []
    for row in POSTS:
        who = next(each for each in EVERYBODY[1:] if is_right(each, row, scene.deeds[route_of(row)]))
        visitor = scene.sign_in(who)
        first, second = (sent(scene, visitor, row, signed_in=True) for _ in range(2))
        visitor.client.close()
        if first.is_redirect:
            scene.restore()
        if problem := problem_of(second):
            wrong.append((route_of(row), first.status_code, problem))
    assert wrong == []
