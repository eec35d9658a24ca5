"""Events: joined by a code within their dates, charged like a team; at the end nothing is lost or killed."""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.support.allocator import START, World

from nexus_allocator.domain import events as rules
from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.errors import (
    AllocationExpired,
    AllocatorError,
    AlreadyJoined,
    BadAmount,
    BadDate,
    BadName,
    BadReason,
    EventFull,
    EventNotBegun,
    EventOver,
    NotAllowed,
    QuotaExceeded,
    ShareExceeded,
    SizeNotAllowed,
    Suspended,
    TooManyTries,
    UnknownEvent,
    UnknownSize,
)
from nexus_allocator.domain.wording import sentence
from nexus_allocator.services import events, launches, suspensions
from nexus_allocator.services.events import EventRow


def listed(world: World) -> EventRow:
    with world.database.reading_scope() as session:
        return events.listing(session)[0]


def test_who_joins_has_credits_of_their_own_until_the_end_and_no_more_than_these(world: World) -> None:
    for name in ("ada", "tomo"):
        world.astronomer(name)
    event = world.event()
    assert world.joins("ada", event.code.lower().replace("-", " ")) == "Summer School"
    world.joins("tomo", event.code)
    assert world.figures(event.slug).balance == 4 * MICRO
    world.launch("ada", account=event.slug, hours=12)
    with pytest.raises(ShareExceeded):
        world.launch("ada", account=event.slug, hours=8, server_name="b")
    world.launch("tomo", account=event.slug, hours=12)


def test_a_shared_pool_is_there_from_the_beginning_for_whoever_comes_first(world: World) -> None:
    for name in ("ada", "tomo"):
        world.astronomer(name)
    event = world.event(per_person_micro=None, pool_micro=2 * MICRO)
    for name in ("ada", "tomo"):
        world.joins(name, event.code)
    assert world.figures(event.slug).balance == 2 * MICRO
    world.launch("ada", account=event.slug, hours=12)
    with pytest.raises(QuotaExceeded):
        world.launch("tomo", account=event.slug, hours=12)


def test_only_the_event_s_sizes_start_and_only_these_are_offered(world: World) -> None:
    world.astronomer()
    event = world.event(sizes=("small", "medium"))
    world.joins("astronomer", event.code)
    with pytest.raises(SizeNotAllowed) as refusal:
        world.launch(account=event.slug, size="large")
    assert refusal.value.facts["allowed"] == ["small", "medium"]
    with world.database.reading_scope() as session:
        page = launches.launch_page(session, policy=world.policy, hub_name="astronomer", now=world.clock())
    offered = {account.slug: [size.slug for size in account.sizes] for account in page.accounts}
    assert offered[event.slug] == ["small", "medium"]


def test_each_refusal_to_join_is_its_own(world: World) -> None:
    for name in ("ada", "ben", "cleo"):
        world.astronomer(name)
    event = world.event(most_people=1)
    later = world.event("Winter School", starts_at=START + timedelta(hours=1))
    world.joins("ada", event.code)

    def refused(kind: type[AllocatorError], name: str, code: str) -> str:
        with pytest.raises(kind) as refusal:
            world.joins(name, code)
        return sentence(refusal.value)

    assert refused(UnknownEvent, "ada", "22222222") == "No event has this code; please look at it again."
    assert "already" in refused(AlreadyJoined, "ada", event.code)
    assert "is full: 1 people" in refused(EventFull, "ben", event.code)
    assert "begins at 2026-03-02 10:00 UTC" in refused(EventNotBegun, "ben", later.code)
    with world.database.session_scope() as session:
        suspensions.suspend(session, hub_name="cleo", reason="A lost key.", actor="operator o", now=START)
    refused(Suspended, "cleo", event.code)
    world.clock.forward(days=2)
    assert "ended on 2026-03-04" in refused(EventOver, "ben", event.code)
    assert world.figures(event.slug).balance == 2 * MICRO


def test_who_leaves_and_joins_again_is_not_given_credits_twice(world: World) -> None:
    world.astronomer()
    event = world.event()
    for _ in range(2):
        world.joins("astronomer", event.code)
        world.leaves("astronomer", event.slug)
    assert world.figures(event.slug).balance == 2 * MICRO


def test_after_ten_tries_a_person_waits(world: World) -> None:
    world.astronomer()
    world.astronomer("other")

    def attempt(name: str) -> None:
        with world.database.session_scope() as session:
            events.note_try(session, hub_name=name, now=world.clock())

    for _ in range(rules.MOST_TRIES):
        attempt("astronomer")
    with pytest.raises(TooManyTries) as refusal:
        attempt("astronomer")
    assert "10 minutes" in sentence(refusal.value)
    attempt("other")
    world.clock.forward(minutes=10)
    attempt("astronomer")


def test_at_the_end_what_runs_goes_on_as_planned_and_what_was_not_used_goes_back(world: World) -> None:
    for name in ("ada", "tomo"):
        world.astronomer(name)
    event = world.event()
    for name in ("ada", "tomo"):
        world.joins(name, event.code)
    world.clock.forward(hours=47)
    admitted = world.launch("ada", account=event.slug, hours=4)
    began = world.started(admitted.hold_id)
    held = world.figures(event.slug).held
    world.clock.forward(hours=1)
    world.turn()
    world.turn()
    assert world.figures(event.slug).balance == held, "what is set aside stays for the server"
    assert world.hold(admitted.hold_id).stop_reason is None
    assert "Summer School is over" in world.told("tomo")[0]
    assert len(world.told("tomo")) == 1
    with pytest.raises(AllocationExpired):
        world.launch("tomo", account=event.slug)
    world.clock.forward(hours=2)
    world.seen(admitted.hold_id, began)
    world.stopped(admitted.hold_id, stopped_at=world.clock(), alive_at_stop=True)
    assert world.figures(event.slug).balance > 0
    assert listed(world).closed_at is None
    world.turn()
    assert world.figures(event.slug).balance == 0
    assert listed(world).closed_at == world.clock()
    world.clock.forward(days=40)
    world.turn()
    assert world.figures(event.slug).balance == 0


def test_an_event_is_ended_early_with_a_reason(world: World) -> None:
    world.astronomer()
    event = world.event()
    world.joins("astronomer", event.code)

    def end(reason: str) -> None:
        with world.database.session_scope() as session:
            events.end(session, event.id, actor="operator ops", reason=reason, now=world.clock())

    with pytest.raises(BadReason):
        end("")
    end("The speaker is ill.")
    assert world.figures(event.slug).balance == 0
    with pytest.raises(EventOver):
        end("Again.")


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"label": ""}, BadName),
        ({"label": "x" * 81}, BadName),
        ({"sizes": ()}, UnknownSize),
        ({"sizes": ("small", "huge")}, UnknownSize),
        ({"ends_at": START}, BadDate),
        ({"ends_at": START + timedelta(days=400)}, BadDate),
        ({"starts_at": START - timedelta(days=9), "ends_at": START - timedelta(days=8)}, BadDate),
        ({"most_people": 0}, BadAmount),
        ({"most_people": 10_001}, BadAmount),
        ({"per_person_micro": 0}, BadAmount),
        ({"per_person_micro": 10**15 + 1}, BadAmount),
        ({"per_person_micro": None}, BadAmount),
        ({"pool_micro": 5}, BadAmount),
    ],
)
def test_a_plan_without_sense_makes_nothing(
    world: World, changes: dict[str, Any], refusal: type[AllocatorError]
) -> None:
    with pytest.raises(refusal):
        world.event(**changes)
    with world.database.reading_scope() as session:
        assert events.listing(session) == []


def test_only_administrators_make_and_end_events(world: World) -> None:
    person, event = world.astronomer(), world.event()
    common: dict[str, Any] = {"administrator_id": person, "now": START}
    plan = events.Plan("X", ("small",), START, START + timedelta(days=1), 1, per_person_micro=1)
    acts: list[Callable[[Any], object]] = [
        lambda session: events.end_as_administrator(session, event.id, reason="Because.", **common),
        lambda session: events.make_as_administrator(
            session, plan, policy=world.policy, rng=random.Random(1), **common  # noqa: S311
        ),
    ]  # fmt: skip
    for act in acts:
        with pytest.raises(NotAllowed), world.database.session_scope() as session:
            act(session)


def test_codes_are_easy_to_read_and_differ() -> None:
    rng = random.Random(4)  # noqa: S311 - the same codes each time
    codes = {rules.new_code(rng) for _ in range(1000)}
    assert len(codes) == 1000
    assert not set("".join(codes)) & set("01ILOAEU")
    assert {rules.typed_code(rules.shown_code(code)) for code in codes} == codes
