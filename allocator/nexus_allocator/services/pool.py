"""The platform's budget: measured by the meter, and a brake on large launches while it goes too fast."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from nexus_allocator.domain.clusters import CLUSTER
from nexus_allocator.domain.errors import PoolBrake
from nexus_allocator.domain.policy import Policy, Size, Tier
from nexus_allocator.domain.pool import Pool, PoolState
from nexus_allocator.domain.records import NEXUS, Act
from nexus_allocator.services.records import record
from nexus_allocator.store import ledger
from nexus_allocator.store import pool as rows
from nexus_allocator.store.session import Database


@dataclass(frozen=True)
class PoolPage:
    """The budget of this period as administrators see it; ``state`` None before the first reading."""

    pool: Pool
    state: PoolState | None
    period_start: datetime
    period_end: datetime
    allowance_micro: int


def measure(database: Database, pool: Pool, *, now: datetime) -> PoolState:
    """Read what was spent in this period, and keep until when large launches wait."""
    with database.reading_scope() as session:
        before = rows.read(session)
        spent = ledger.used_by_all(session, since=pool.period_start(now)) + ledger.unposted_of_all(session)
    until = pool.waits_until(spent, now)
    with database.session_scope() as session:
        rows.write(session, spent_micro=spent, waits_until=until, now=now)
        if (until is None) != (before is None or before.waits_until is None):
            act = Act.POOL_BRAKE_OFF if until is None else Act.POOL_BRAKE_ON
            record(session, act, None, by=NEXUS, after={"spent_micro": spent, "until": until}, now=now)
    return PoolState(now, spent, until)


def require_no_brake(session: Session, policy: Policy, size: Size, tier: Tier, *, now: datetime) -> None:
    """Raise PoolBrake, with what could start instead, when a launch of this size has to wait."""
    state = rows.read(session) if size.slug in policy.pool.waiting_sizes else None
    if state is None or state.waits_until is None or not state.brakes(size.slug, policy.pool, now):
        return
    going = [other.label for other in policy.sizes_of(tier.slug) if not _waits(other, state, policy, now)]
    raise PoolBrake(
        size=size.slug,
        label=f"a {size.label} server",
        going=going,
        spent_micro=state.spent_micro,
        budget_micro=policy.pool.credits_micro,
        until=state.waits_until.isoformat(),
    )


def require_no_brake_at(
    session: Session, policy: Policy, rate_micro: int, *, tier: Tier, now: datetime
) -> None:
    """Raise PoolBrake for a cluster that costs at least as much an hour as the cheapest waiting size."""
    dear = [policy.sizes[slug] for slug in policy.pool.waiting_sizes]
    cheapest = min(dear, key=policy.rate_micro, default=None)
    if cheapest is None or rate_micro < policy.rate_micro(cheapest):
        return
    try:
        require_no_brake(session, policy, cheapest, tier, now=now)
    except PoolBrake as error:
        raise PoolBrake(**error.facts | {"size": CLUSTER, "label": "a Dask cluster of this size"}) from error


def _waits(size: Size, state: PoolState, policy: Policy, now: datetime) -> bool:
    return state.brakes(size.slug, policy.pool, now)


def braking(session: Session, pool: Pool, *, now: datetime) -> PoolState | None:
    """Return the reading while the brake is on, None while nothing has to wait."""
    state = rows.read(session)
    return state if state and state.waits_until and now < state.waits_until else None


def page(session: Session, pool: Pool, *, now: datetime) -> PoolPage:
    return PoolPage(
        pool, rows.read(session), pool.period_start(now), pool.period_end(now), pool.allowance_micro(now)
    )
