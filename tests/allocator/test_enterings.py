"""Entering a person's server: a reason first, then a share at the hub, taken back when the time is over."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from tests.support.allocator import World
from tests.support.fake_hub import SERVICE_TOKEN, FakeHub, running_hub

from nexus_allocator.clients.hub import HubClient
from nexus_allocator.domain.errors import (
    AlreadyEntered,
    BadAmount,
    BadReason,
    HubUnavailable,
    NotAllowed,
    UnknownServer,
)
from nexus_allocator.domain.notices import notice_sentence
from nexus_allocator.domain.records import Act
from nexus_allocator.services import enterings, notices, record_reading, suspensions
from nexus_allocator.services.enterings import Grant
from nexus_allocator.services.record_reading import Wanted

REASON = "She asked me to look at her kernel"
SHARE = ("ada/", "alex")


@pytest.fixture(scope="module")
def small_hub() -> Iterator[FakeHub]:
    with running_hub() as hub:
        yield hub


@pytest.fixture
def doors(world: World, small_hub: FakeHub) -> Iterator["Doors"]:
    """Ada's server runs; Alex and Bo administer."""
    small_hub.forget()
    world.astronomer("ada")
    hold_id = world.launch("ada", hours=2).hold_id
    world.started(hold_id)
    with HubClient(small_hub.api_url, SERVICE_TOKEN, timeout_s=5) as client:
        yield Doors(world, small_hub, client, hold_id)


class Doors:
    def __init__(self, world: World, hub: FakeHub, client: HubClient, hold_id: UUID) -> None:
        self.world, self.hub, self.client, self.hold_id = world, hub, client, hold_id
        self.ids = {name: world.administrator(name) for name in ("alex", "bo")}

    def begin(self, **changes: Any) -> Grant:
        usual = {"hub_name": "ada", "server_name": "", "reason": REASON, "minutes": 15, "by": "alex"}
        asked: dict[str, Any] = usual | changes
        by = self.ids[asked.pop("by")]
        with self.world.database.session_scope() as session:
            return enterings.begin(session, administrator_id=by, now=self.world.clock(), **asked)

    def enter(self, **changes: Any) -> Grant:
        grant = self.begin(**changes)
        writing = self.world.database.session_scope
        enterings.open_door(writing, self.client, grant, now=self.world.clock())
        return grant

    def leave(self) -> None:
        with self.world.database.session_scope() as session:
            enterings.end(
                session, administrator_id=self.ids["alex"], hub_name="ada", server_name="",
                now=self.world.clock(),
            )  # fmt: skip

    def round(self) -> int:
        database = self.world.database
        return enterings.end_due(
            database.reading_scope, database.session_scope, self.client, now=self.world.clock()
        )

    def past(self) -> list[Grant]:
        with self.world.database.reading_scope() as session:
            return enterings.of_person(session, hub_name="ada")

    def told(self) -> list[str]:
        with self.world.database.reading_scope() as session:
            found = notices.unread(session, hub_name="ada")
        return [notice_sentence(each.kind, each.facts) for each in found]

    def records(self) -> list[Act]:
        with self.world.database.reading_scope() as session:
            rows = record_reading.page(session, Wanted()).rows
        return [row.act for row in rows if row.act in (Act.SERVER_ENTERED, Act.SERVER_LEFT)]


def test_a_grant_is_told_and_recorded_and_opens_one_server_for_its_time(doors: Doors) -> None:
    grant = doors.enter()
    assert doors.hub.shares == {SHARE}
    assert grant.until - grant.at == timedelta(minutes=15)
    (told,) = doors.told()
    assert "alex" in told
    assert REASON in told
    assert doors.records() == [Act.SERVER_ENTERED]
    doors.world.clock.forward(minutes=14.9)
    assert doors.round() == 0
    assert doors.hub.shares == {SHARE}
    doors.world.clock.forward(minutes=0.1)
    assert doors.round() == 1
    assert doors.hub.shares == set()
    assert doors.round() == 0
    assert [each.ended_at for each in doors.past()] == [doors.world.clock()]


def test_who_is_done_early_is_out_early(doors: Doors) -> None:
    doors.enter()
    doors.leave()
    assert doors.round() == 1
    assert doors.hub.shares == set()
    assert set(doors.records()) == {Act.SERVER_ENTERED, Act.SERVER_LEFT}
    doors.leave()
    assert len(doors.records()) == 2
    doors.enter()
    assert doors.hub.shares == {SHARE}


def test_two_administrators_do_not_end_each_others_grants(doors: Doors) -> None:
    doors.enter()
    doors.enter(by="bo", minutes=60)
    doors.world.clock.forward(minutes=15)
    assert doors.round() == 1
    assert doors.hub.shares == {("ada/", "bo")}
    with pytest.raises(AlreadyEntered):
        doors.enter(by="bo")


def test_a_grant_never_outlasts_the_planned_end(doors: Doors) -> None:
    doors.world.clock.forward(minutes=100)
    grant = doors.enter(minutes=240)
    assert grant.until - grant.at == timedelta(minutes=30)  # of 120 planned and 10 to save


def test_who_is_suspended_or_administers_no_more_is_out(doors: Doors) -> None:
    doors.enter(minutes=60)
    doors.enter(minutes=60, by="bo")
    with doors.world.database.session_scope() as session:
        suspensions.suspend(session, hub_name="alex", reason="Gone", actor="bo", now=doors.world.clock())
    doors.world.signed_in("bo", is_administrator=False)
    assert doors.round() == 2
    assert doors.hub.shares == set()


def test_a_server_that_ended_is_closed_and_a_new_run_needs_a_new_grant(doors: Doors) -> None:
    doors.enter(minutes=60)
    doors.world.stopped(doors.hold_id, alive_at_stop=True, stopped_at=doors.world.clock())
    assert doors.round() == 1
    assert doors.hub.shares == set()
    with pytest.raises(UnknownServer):
        doors.enter()


def test_what_the_hub_misses_is_asked_again_and_never_leaves_a_door_open(doors: Doors) -> None:
    doors.hub.is_down = True
    with pytest.raises(HubUnavailable):
        doors.enter()
    assert doors.round() == 0
    # It may have heard the request, and only its answer was lost.
    doors.hub.shares.add(SHARE)
    doors.hub.is_down = False
    assert doors.round() == 1
    assert doors.hub.shares == set()
    doors.enter()
    assert doors.hub.shares == {SHARE}


def test_without_a_reason_a_right_or_a_server_nothing_opens(doors: Doors) -> None:
    doors.ids["ben"] = doors.world.signed_in("ben")
    for refusal, changes in (
        (NotAllowed, {"by": "ben"}),
        (BadReason, {"reason": " "}),
        (BadReason, {"reason": "x" * 5000}),
        (BadAmount, {"minutes": 4}),
        (BadAmount, {"minutes": 241}),
        (UnknownServer, {"server_name": "other"}),
    ):
        with pytest.raises(refusal):
            doors.enter(**changes)
    assert doors.hub.shares == set()
    assert doors.told() == []
    assert doors.records() == []


def test_nobody_enters_their_own_server_so(doors: Doors) -> None:
    doors.world.accepts("alex")
    doors.world.started(doors.world.launch("alex").hold_id)
    with pytest.raises(NotAllowed):
        doors.enter(hub_name="alex")
