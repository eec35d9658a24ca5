"""Days of the whole platform that are kept, so that a page need not add them up: they change no figure."""

from datetime import timedelta

from sqlalchemy import text
from tests.support.allocator import World

from nexus_allocator.services import forecasts
from nexus_allocator.services.forecasts import PoolReading


def works(world: World, *hours: int) -> None:
    """One server each day, of as many hours."""
    for each in hours:
        began = world.clock()
        hold = world.launch("ada", hours=each).hold_id
        world.started(hold)
        world.stopped(hold, stopped_at=world.clock.forward(hours=each))
        world.clock.at = began + timedelta(days=1)


def keeps(world: World) -> int:
    with world.database.session_scope() as session:
        return forecasts.keep_days(session, now=world.clock())


def platform(world: World) -> PoolReading:
    with world.database.reading_scope() as session:
        return forecasts.of_platform(session, now=world.clock())


def test_kept_days_change_no_figure_while_people_go_on(world: World) -> None:
    world.astronomer("ada")
    works(world, 2, 5, 3)
    before = platform(world)
    assert keeps(world) == forecasts.CHART_DAYS
    assert platform(world) == before
    world.astronomer("ben")
    world.grant("ada", 7)
    world.correct("ada", -1)
    works(world, 4, 1)
    kept = platform(world)
    with world.database.session_scope() as session:
        session.execute(text("DELETE FROM platform_day"))
    plain = platform(world)
    # The day's count of allocations is the snapshot's: Ben's account shows tomorrow, his credits do now.
    assert (kept.accounts, plain.accounts) == (1, 2)
    assert kept.balance_micro == plain.balance_micro == (25 + 25 + 7 - 1) * 1_000_000 - 15 * 125_000
    assert (kept.spend, kept.forecast) == (plain.spend, plain.forecast)


def test_a_day_is_kept_once_and_not_before_its_last_postings_came(world: World) -> None:
    world.astronomer("ada")
    keeps(world)
    assert keeps(world) == 0
    world.clock.at = world.clock().replace(hour=0, minute=5) + timedelta(days=1)
    assert keeps(world) == 0
    world.clock.forward(minutes=10)
    assert keeps(world) == 1
    world.clock.forward(days=5)
    assert keeps(world) == 5
