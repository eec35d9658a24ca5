"""The platform's budget: paced over its period, and large launches wait while it is spent too fast."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.allocator import START, World

from nexus_allocator.domain.errors import PoolBrake
from nexus_allocator.domain.pool import Pool
from nexus_allocator.domain.wording import sentence
from nexus_allocator.services import launches
from nexus_allocator.services.pool import measure

CREDIT = 1_000_000
# A thousand credits in ten days, of which the first half is over at START.
POOL = Pool(
    1000 * CREDIT, START - timedelta(days=25), timedelta(days=10), 120, timedelta(days=1), ("medium",)
)


def test_the_allowance_is_an_even_pace_with_some_play() -> None:
    assert POOL.period_start(START) == START - timedelta(days=5)
    assert POOL.allowance_micro(START) == 600 * CREDIT
    assert POOL.allowance_micro(START - timedelta(days=5)) == 120 * CREDIT, "the head start of a day"
    assert POOL.allowance_micro(START + timedelta(days=4)) == 1000 * CREDIT, "never more than there is"


def test_a_period_before_the_first_is_counted_backwards() -> None:
    early = datetime(2020, 1, 1, tzinfo=UTC)
    assert POOL.period_start(early) <= early < POOL.period_end(early)


@given(
    st.integers(0, 3_000 * CREDIT),
    st.floats(0, 30, allow_nan=False),
    st.integers(100, 300),
    st.integers(0, 9),
)
def test_the_brake_lifts_when_it_says_unless_more_is_spent(
    spent: int, days: float, percent: int, head_start: int
) -> None:
    pool = replace(POOL, brake_at_percent=percent, head_start=timedelta(days=head_start))
    now = START + timedelta(days=days)
    until = pool.waits_until(spent, now)
    if until is None:
        assert spent <= pool.allowance_micro(now)
        return
    assert now < until <= pool.period_end(now)
    # A new period begins with nothing spent.
    assert until == pool.period_end(now) or pool.waits_until(spent, until) is None


def spending(world: World, *, pool: Pool = POOL) -> World:
    """A team that may use Medium and Large servers, and spends some tens of credits; read by the meter."""
    world.policy = replace(world.policy, pool=pool)
    world.astronomer()
    world.team("survey", "astronomer")
    hold = world.launch(account="survey", size="large", hours=24)
    started = world.started(hold.hold_id)
    world.clock.forward(hours=10)
    world.seen(hold.hold_id, started)
    world.clock.forward(minutes=30)
    world.seen(hold.hold_id, started)
    return world


def test_the_meter_counts_what_is_posted_and_what_is_not(world: World) -> None:
    spending(world)
    # 10.5 hours of a Large server at 1.2 credits, half an hour of it not posted.
    state = measure(world.database, POOL, now=world.clock())
    assert (state.spent_micro, state.waits_until) == (12_600_000, None)
    later = measure(world.database, POOL, now=world.clock() + timedelta(days=5))
    assert later.spent_micro == 600_000, "what was posted belongs to the period before"


def test_while_the_brake_is_on_large_launches_wait_and_small_ones_go_on(world: World) -> None:
    spending(world, pool=replace(POOL, credits_micro=15 * CREDIT))
    pool = world.policy.pool
    wish = {"account": "survey", "hours": 1, "server_name": "b"}
    world.launch(**wish | {"size": "medium", "server_name": "before"})
    state = measure(world.database, pool, now=world.clock())
    assert state.waits_until is not None
    with pytest.raises(PoolBrake) as refusal:
        world.launch(**wish, size="medium")
    told = sentence(refusal.value)
    assert "spends its budget faster than planned (12.60 of 15.00 credits of this period)" in told
    assert f"until {state.waits_until:%-d %B, %H:%M} UTC at the earliest" in told
    assert told.endswith("So a Medium server has to wait; Small, Large can start now.")
    world.launch(**wish, size="small")
    with world.database.reading_scope() as session:
        page = launches.launch_page(session, policy=world.policy, hub_name="astronomer", now=world.clock())
    assert page.brake == state
    world.clock.at = state.waits_until
    world.launch(**wish | {"size": "medium", "server_name": "after"})


def test_before_the_meter_s_first_reading_nothing_waits(world: World) -> None:
    world.policy = replace(world.policy, pool=replace(POOL, credits_micro=1))
    world.astronomer()
    world.team("survey", "astronomer")
    world.launch(account="survey", size="medium", hours=1)
