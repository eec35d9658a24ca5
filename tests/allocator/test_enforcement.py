"""As an award is used up its people are told; once all is used they may save, and then their servers stop."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event
from tests.support.allocator import FakeHub, World

from nexus_allocator.domain.policy import Enforcement
from nexus_allocator.domain.spending import Spending
from nexus_allocator.domain.states import StopReason
from nexus_allocator.services import enforcement, launches
from nexus_allocator.services.enforcement import Enforced, enforce
from nexus_allocator.store import accounts, spend_notices
from nexus_allocator.store import holds as hold_rows
from nexus_allocator.store.tables import Account, SpendNotice

TERMS = Enforcement((75, 90, 100), timedelta(minutes=10))


@pytest.mark.parametrize(
    ("award", "left", "mark"),
    [
        (100, 26, None),
        (100, 25, 75),
        (100, 11, 75),
        (100, 10, 90),
        (100, 1, 90),
        (100, 0, 100),
        (100, -5, 100),
        (0, 0, 100),
        (-3, -3, 100),
        (10, 12, None),
    ],
)
def test_a_mark_is_reached_when_so_much_of_the_award_is_used(award: int, left: int, mark: int | None) -> None:
    assert Spending(award, left).mark(TERMS.warn_at_percent) == mark


def account_of(world: World, slug: str = "astronomer") -> Account:
    with world.database.reading_scope() as session:
        found = accounts.by_slug(session, slug)
        assert found is not None
        return found


def round_of(world: World, hub: FakeHub) -> Enforced:
    with hub.client() as client:
        return enforce(world.database, client, terms=TERMS, now=world.clock())


def standing(world: World) -> list[SpendNotice]:
    with world.database.reading_scope() as session:
        return list(spend_notices.standing(session, account_of(world).allocation.id))


def running(world: World, hours: float) -> tuple[object, object]:
    """An astronomer with 25 credits and a Small server, an eighth of a credit an hour."""
    world.astronomer()
    admitted = world.launch(hours=hours)
    return admitted.hold_id, world.started(admitted.hold_id)


def test_each_mark_is_noticed_once_and_stays_until_credits_come_in(world: World, hub: FakeHub) -> None:
    running(world, 1)
    assert round_of(world, hub).noticed == 0
    world.correct("astronomer", -24)
    assert round_of(world, hub).noticed == 0, "a smaller award is not used any more than before"
    world.grant("astronomer", 24)
    world.correct("astronomer", -24)
    # Of the credit that is left the server will have used three quarters after six hours.
    hold_id = hold_of(world)
    for hours, marks in ((5.9, []), (6.1, [75]), (6.5, [75]), (7.3, [75, 90])):
        seen_after(world, hold_id, hours)
        round_of(world, hub)
        assert [notice.percent for notice in standing(world)] == marks
    world.grant("astronomer", 25)
    round_of(world, hub)
    assert standing(world) == []


def hold_of(world: World) -> object:
    with world.database.reading_scope() as session:
        return hold_rows.every_open(session)[0].id


def test_a_round_asks_no_more_of_many_who_stand_as_they_stood_than_of_one(world: World, hub: FakeHub) -> None:
    statements: list[str] = []

    def note(connection: object, cursor: object, statement: str, *more: object) -> None:
        statements.append(statement)

    def asked() -> int:
        statements.clear()
        assert round_of(world, hub) == Enforced()
        return len(statements)

    running(world, 1)
    event.listen(world.database.engine, "before_cursor_execute", note)
    alone = asked()
    for name in ("bernhard", "chandra", "dorrit"):
        world.astronomer(name)
        world.started(world.launch(name, account=name, hours=1).hold_id)
    assert asked() == alone > 0


def seen_after(world: World, hold_id: object, hours: float) -> None:
    hold = world.hold(hold_id)  # type: ignore[arg-type]
    assert hold.process_started_at is not None
    world.clock.at = hold.process_started_at + timedelta(hours=hours)
    world.seen(hold_id, hold.process_started_at)  # type: ignore[arg-type]


def test_what_was_used_before_the_last_grant_counts_no_more(world: World, hub: FakeHub) -> None:
    hold_id, started = running(world, 24)
    world.clock.forward(hours=24)
    world.stopped(hold_id, stopped_at=world.clock(), alive_at_stop=True)  # type: ignore[arg-type]
    world.grant("astronomer", 1)
    with world.database.reading_scope() as session:
        (spending,) = enforcement.spending_of(session, [account_of(world).allocation.id]).values()
    assert spending == Spending(award_micro=23_000_000, left_micro=23_000_000)
    again = world.launch(hours=8)
    world.started(again.hold_id)
    seen_after(world, again.hold_id, 8)
    with world.database.reading_scope() as session:
        (spending,) = enforcement.spending_of(session, [account_of(world).allocation.id]).values()
    assert spending == Spending(award_micro=23_000_000, left_micro=22_000_000)
    assert started is not None


def test_the_sum_since_the_last_grant_is_that_of_the_entries_over_checkpoints_too(world: World) -> None:
    """76 links: a checkpoint after 64, and the last grant after that."""
    world.astronomer()
    for number in range(75):
        if number == 66:
            world.grant("astronomer", 1)
            continue
        admitted = world.launch(hours=0.25)
        world.started(admitted.hold_id)
        world.clock.forward(seconds=288)
        world.stopped(admitted.hold_id, stopped_at=world.clock(), alive_at_stop=True)
    with world.database.reading_scope() as session:
        (spending,) = enforcement.spending_of(session, [account_of(world).allocation.id]).values()
    # A hundredth of a credit each, 66 of them before the grant and 8 after it.
    assert spending == Spending(award_micro=25_340_000, left_micro=25_260_000)


def test_at_zero_servers_have_the_grace_to_save_and_then_stop_with_the_reason(
    world: World, hub: FakeHub
) -> None:
    hold_id, started = running(world, 8)
    hub.runs("astronomer", hold_id, started)  # type: ignore[arg-type]
    world.correct("astronomer", -24.5)
    seen_after(world, hold_id, 4)
    assert round_of(world, hub) == Enforced(noticed=1)
    assert [notice.percent for notice in standing(world)] == [100]
    world.clock.forward(minutes=9, seconds=59)
    assert round_of(world, hub) == Enforced()
    assert hub.stops == []
    world.clock.forward(seconds=1)
    assert round_of(world, hub) == Enforced(stopped=1)
    assert hub.stops == [("astronomer", "")]
    world.stopped(hold_id, stopped_at=world.clock(), alive_at_stop=True)  # type: ignore[arg-type]
    hold = world.hold(hold_id)  # type: ignore[arg-type]
    assert (hold.stop_reason, hold.stop_actor) == (StopReason.QUOTA, "nexus")


def test_credits_that_come_in_within_the_grace_keep_the_server(world: World, hub: FakeHub) -> None:
    hold_id, _ = running(world, 8)
    world.correct("astronomer", -24.5)
    seen_after(world, hold_id, 4)
    round_of(world, hub)
    world.correct("astronomer", 0.2)
    world.clock.forward(minutes=30)
    assert round_of(world, hub).stopped == 0
    world.correct("astronomer", -0.3)
    assert round_of(world, hub) == Enforced(noticed=1), "and a new grace begins when it is used up again"
    assert hub.stops == []


def test_a_hub_that_is_away_is_asked_again_in_the_next_round(world: World, hub: FakeHub) -> None:
    hold_id, _ = running(world, 8)
    world.correct("astronomer", -25)
    seen_after(world, hold_id, 1)
    round_of(world, hub)
    world.clock.forward(minutes=10)
    hub.status = 503
    assert round_of(world, hub).trouble == "status 503"
    hub.status = 200
    assert round_of(world, hub) == Enforced(stopped=1)


def test_the_launch_page_tells_of_the_notice(world: World, hub: FakeHub) -> None:
    hold_id, _ = running(world, 8)
    world.correct("astronomer", -24)
    seen_after(world, hold_id, 7.5)
    round_of(world, hub)
    policy = replace(world.policy, enforcement=TERMS)
    with world.database.reading_scope() as session:
        page = launches.launch_page(session, policy=policy, hub_name="astronomer", now=world.clock())
    notice = page.accounts[0].notice
    assert notice is not None
    assert (notice.percent, notice.stops_at) == (90, None)
