"""Dask clusters beside their holds."""

from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from nexus_allocator.domain.states import LIVE
from nexus_allocator.store.tables import DaskCluster, Hold


def add(session: Session, cluster: DaskCluster) -> None:
    session.add(cluster)
    session.flush()


def of_hold(session: Session, hold_id: UUID) -> DaskCluster:
    return session.scalars(select(DaskCluster).where(DaskCluster.hold_id == hold_id)).one()


def cores_in_use(session: Session, allocation_id: UUID) -> int:
    """Return the worker cores that the allocation's live clusters may have at their largest."""
    total = select(func.coalesce(func.sum(DaskCluster.worker_cpu * DaskCluster.workers_max), 0))
    live = total.join(Hold, Hold.id == DaskCluster.hold_id).where(Hold.state.in_(LIVE))
    return int(session.scalars(live.where(Hold.allocation_id == allocation_id)).one())
