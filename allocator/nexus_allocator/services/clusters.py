"""Dask clusters: admitted for their maximum, metered by the workers that live, swept when a hold is over."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID, uuid4

from sqlalchemy.orm import Session

from nexus_allocator.domain.clusters import CLUSTER, ClusterRates, ClusterShape
from nexus_allocator.domain.errors import (
    AgreementRequired,
    AllocationExpired,
    DaskLimit,
    QuotaExceeded,
)
from nexus_allocator.domain.launches import Price, planned_minutes
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.states import HoldState, StopReason
from nexus_allocator.domain.stops import Evidence
from nexus_allocator.services import holds as lifecycle
from nexus_allocator.services import maintenance, pool, shares, stops
from nexus_allocator.services.metering import Terms
from nexus_allocator.services.rights import account_to_charge, in_good_standing, locked_person_called
from nexus_allocator.store import accounts, clusters, holds, ledger, people
from nexus_allocator.store.session import Database, announce
from nexus_allocator.store.tables import Account, Allocation, DaskCluster, Hold, Person


@dataclass(frozen=True)
class ClusterLaunch:
    """What a cluster asks for, as the gateway sent it."""

    hub_name: str
    account: str
    hours: object
    shape: ClusterShape


@dataclass(frozen=True)
class ClusterAdmission:
    hold_id: UUID
    account: str
    until: datetime
    amount_micro: int


class ClusterState(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class ClusterReport:
    """One cluster as the gateway sees it now; ``workers`` are those that live."""

    hold_id: UUID
    name: str
    state: ClusterState
    workers: int


@dataclass(frozen=True)
class _Order:
    """A cluster's launch whose words were checked."""

    person: Person
    account: Account
    shape: ClusterShape
    rates: ClusterRates
    price: Price


def admit(
    session: Session, launch: ClusterLaunch, *, policy: Policy, grace_minutes: int, now: datetime
) -> ClusterAdmission:
    """Set aside what the cluster may cost at its largest, or refuse.

    The allocation stays locked until the transaction ends. Raises the AllocatorError that says why not.
    """
    maintenance.require_open(session, now=now)
    order = _checked(session, launch, policy=policy, grace_minutes=grace_minutes)
    allocation_id = order.account.allocation.id
    allocation = accounts.lock(session, [allocation_id])[allocation_id]
    _require_room(session, policy, order, allocation, now=now)
    wanted = shares.Wanted(order.account, order.person.id, None, order.price)
    subgroup_id = shares.require_part(session, wanted, allocation, policy=policy, now=now)
    hold = _place(session, policy, order, allocation, now=now)
    hold.subgroup_id = subgroup_id
    return ClusterAdmission(hold.id, order.account.slug, hold.until, hold.amount_micro)


def _checked(session: Session, launch: ClusterLaunch, *, policy: Policy, grace_minutes: int) -> _Order:
    person = in_good_standing(locked_person_called(session, launch.hub_name))
    if not people.has_accepted(session, person.id, policy.agreement.version):
        raise AgreementRequired(version=policy.agreement.version)
    account = account_to_charge(session, person, launch.account)
    rates = ClusterRates.of(launch.shape, policy.rate_card)
    price = Price(rates.whole_micro, planned_minutes(launch.hours, policy.hours), grace_minutes)
    return _Order(person, account, launch.shape, rates, price)


def _require_room(
    session: Session, policy: Policy, order: _Order, allocation: Allocation, *, now: datetime
) -> None:
    slug, tier, cores = order.account.slug, policy.tiers[allocation.tier], order.shape.worker_cores
    if now >= allocation.expires_at:
        raise AllocationExpired(account=slug, expired_at=allocation.expires_at.date().isoformat())
    live = clusters.cores_in_use(session, allocation.id)
    if tier.dask_cores is not None and live + cores > tier.dask_cores:
        raise DaskLimit(account=slug, limit=tier.dask_cores, live=live, wanted=cores)
    available = ledger.balance(session, allocation.id) - ledger.held(session, allocation.id)
    if order.price.amount_micro > available:
        raise QuotaExceeded(
            requested_micro=order.price.amount_micro, available_micro=available, what="cluster", fits=None
        )
    pool.require_no_brake_at(session, policy, order.price.rate_micro_per_hour, tier=tier, now=now)


def _place(session: Session, policy: Policy, order: _Order, allocation: Allocation, *, now: datetime) -> Hold:
    hold_id, shape, price = uuid4(), order.shape, order.price
    hold = Hold(
        id=hold_id, allocation_id=allocation.id, person_id=order.person.id,
        server_name=f"{CLUSTER}-{hold_id.hex[:12]}", state=HoldState.PLACED, size=CLUSTER, cpu=shape.cpu,
        memory_bytes=shape.memory_bytes, gpu=0, image=CLUSTER, planned_minutes=price.planned_minutes,
        grace_minutes=price.grace_minutes, rate_micro_per_hour=price.rate_micro_per_hour,
        rate_card_version=policy.rate_card.version, amount_micro=price.amount_micro, placed_at=now,
        until=now + timedelta(minutes=price.planned_minutes + price.grace_minutes),
    )  # fmt: skip
    session.add(hold)
    session.flush()
    clusters.add(
        session,
        DaskCluster(
            hold_id=hold.id, scheduler_micro_per_hour=order.rates.scheduler_micro,
            worker_micro_per_hour=order.rates.worker_micro, worker_cpu=shape.worker_cpu,
            workers_max=shape.workers, workers=0,
        ),
    )  # fmt: skip
    announce(session, "cluster_admitted", hold_id=hold.id, amount_micro=hold.amount_micro)
    return hold


def report(
    database: Database,
    reports: Sequence[ClusterReport],
    *,
    terms: Terms,
    now: datetime,
) -> list[UUID]:
    """Take the gateway's whole list of clusters; return those that it has to stop.

    A cluster that ran and is missing from the list has ended; one that never appeared gives its hold back.
    """
    to_stop = []
    for each in reports:
        with database.session_scope() as session:
            if _taken(session, each, posting_interval=terms.posting_interval, now=now):
                to_stop.append(each.hold_id)
    shown = {each.hold_id for each in reports}
    with database.reading_scope() as session:
        gone = [hold for hold in holds.open_clusters(session) if hold.id not in shown]
    for hold in gone:
        if hold.state == HoldState.PLACED and hold.placed_at + terms.start_timeout >= now:
            continue
        with database.session_scope() as session:
            lifecycle.settle(session, hold.id, Evidence(), reason=None, now=now)
    return to_stop


def _taken(session: Session, each: ClusterReport, *, posting_interval: timedelta, now: datetime) -> bool:
    """Bring one hold up to what is reported; say whether the cluster must be stopped."""
    hold = holds.with_owners(session, each.hold_id)
    if hold is None or hold.size != CLUSTER or hold.state == HoldState.SETTLED:
        return each.state == ClusterState.RUNNING
    if each.state != ClusterState.RUNNING:
        # Nothing of it was there at this end of the interval.
        evidence = (
            Evidence(alive_at_stop=True) if each.state == ClusterState.STOPPED else Evidence(exit_code=1)
        )
        lifecycle.settle(session, hold.id, evidence, reason=None, now=now)
        return False
    _witness(session, hold, each, posting_interval=posting_interval, now=now)
    return _must_stop(session, hold.id, now=now)


def _must_stop(session: Session, hold_id: UUID, *, now: datetime) -> bool:
    """Whether the cluster's hold is over, or somebody or something had it stopped, and keep why."""
    if holds.latest_intent(session, hold_id, since=now - lifecycle.INTENT_LASTS) is not None:
        return True
    # The lock that witnessing took has read the row anew, without its person.
    hold = holds.with_owners(session, hold_id)
    assert hold is not None  # noqa: S101 - it was just witnessed
    if hold.person.suspended_at is not None:
        stops.intend(session, hold, StopReason.SUSPENDED, note=hold.person.suspension_reason, now=now)
    elif now >= hold.until:
        stops.intend(session, hold, StopReason.PLANNED_HOURS, now=now)
    else:
        return False
    return True


def _witness(
    session: Session, hold: Hold, each: ClusterReport, *, posting_interval: timedelta, now: datetime
) -> None:
    """Charge the time since the report before with the workers seen at both of its ends."""
    row = clusters.of_hold(session, hold.id)
    rates = ClusterRates(row.scheduler_micro_per_hour, row.worker_micro_per_hour, row.workers_max)
    since = (now - row.reported_at).total_seconds() if row.reported_at else 0.0
    lifecycle.witness_part(
        session, hold.id, seconds=rates.whole_seconds(since, workers=min(row.workers, each.workers)), at=now,
        posting_interval=posting_interval,
    )  # fmt: skip
    row.name, row.workers = each.name, each.workers
    row.reported_at = now if row.reported_at is None else max(now, row.reported_at)
