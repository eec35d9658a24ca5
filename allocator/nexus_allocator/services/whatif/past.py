"""The ledger as demand: the servers that ran, replayed as wishes under another policy."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np
from sqlalchemy.orm import Session

from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.readings import Reading
from nexus_allocator.services.whatif.demand import SECONDS_A_DAY, Demand, Grant, Launches
from nexus_allocator.store import forecasting, replaying
from nexus_allocator.store.replaying import GrantRow, RanRow

LONGEST_DAYS = 365
ASSUMPTIONS = (
    "{launches:,} servers of {people:,} people that ran from {start:%d %B %Y} on, for {days} days; launches "
    "that were refused then are not in the ledger, so a more generous policy shows too little",
    "{grants:,} grants: those given for a tier change as the tier's credits do, all others stay",
    "every account has the tier it has now, and on the first day what it had left then; nobody asks for more",
)


def demand_of(session: Session, *, policy: Policy, days: int | None, now: datetime) -> Demand:
    """Return the servers that ran in the last ``days``, by default as long as there have been accounts."""
    since = _since(session, days, now)
    ran = replaying.ran_between(session, since=since, until=now)
    allocations = replaying.allocations(session)
    number = {row.id: index for index, row in enumerate(allocations)}
    left = replaying.balances_before(session, since)
    given = replaying.grants_between(session, since=since, until=now)
    sizes = tuple(sorted({row.size for row in ran}))
    grants = [
        Grant(0, index, row.tier, left.get(row.id, 0), lasts_s=_seconds(row.expires_at - since))
        for index, row in enumerate(allocations)
    ]
    grants += [_grant(row, number[row.allocation_id], policy, since) for row in given]
    whole_days = max(1, -(-_seconds(now - since) // SECONDS_A_DAY))
    told = {
        "launches": len(ran), "people": len({row.person_id for row in ran}), "start": since,
        "days": whole_days, "grants": len(given),
    }  # fmt: skip
    return Demand(
        start=since,
        days=whole_days,
        sizes=sizes,
        kinds=tuple(row.kind for row in allocations),
        launches=_launches(ran, number, sizes, since),
        grants=tuple(sorted(grants, key=lambda grant: grant.at_s)),
        patience=np.ones((len(allocations), 2)),
        assumptions=tuple(each.format(**told) for each in ASSUMPTIONS),
    )


def _since(session: Session, days: int | None, now: datetime) -> datetime:
    began = forecasting.first_account(session) or now
    first = now - timedelta(days=LONGEST_DAYS if days is None else days)
    return max(first, began.astimezone(UTC))


def _seconds(length: timedelta) -> int:
    return int(length.total_seconds())


def _grant(row: GrantRow, account: int, policy: Policy, since: datetime) -> Grant:
    """Return a grant as its share of what its tier gives now, where it was given for a tier."""
    tier = row.tier
    usual = None if tier is None else policy.tiers[tier].credits_micro
    if tier is None or not usual:
        return Grant(_seconds(row.at - since), account, None, row.amount_micro)
    return Grant(_seconds(row.at - since), account, tier, share=row.amount_micro / usual, raises=False)


def _launches(
    ran: Sequence[RanRow], number: Mapping[UUID, int], sizes: tuple[str, ...], since: datetime
) -> Launches:
    people: dict[UUID, int] = {}
    used = [Reading(row.placed_at, row.process_started_at, row.last_seen_at, row.earlier_s) for row in ran]
    return Launches(
        at_s=np.array([_seconds(row.placed_at - since) for row in ran], np.int64),
        account=np.array([number[row.allocation_id] for row in ran], np.int64),
        person=np.array([people.setdefault(row.person_id, len(people)) for row in ran], np.int64),
        size=np.array([sizes.index(row.size) for row in ran], np.int8),
        planned_minutes=np.array([row.planned_minutes for row in ran], np.int32),
        used_s=np.array([int(reading.seconds) for reading in used], np.int64),
        paper=np.full(len(ran), -1, np.int32),
    )
