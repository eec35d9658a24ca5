"""What an allocation has left for one more launch, asked in one query: admission is the hot path."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from nexus_allocator.domain.clusters import CLUSTER
from nexus_allocator.domain.states import LIVE
from nexus_allocator.store import chains
from nexus_allocator.store.tables import Book, Hold


@dataclass(frozen=True)
class Left:
    """Live servers with their GPUs, and credits that are neither spent nor held."""

    live: int
    gpus: int
    available_micro: int


def left(session: Session, allocation_id: UUID) -> Left:
    """Return what the allocation has left; the caller holds its lock."""
    kept = case((Hold.usage_micro > Hold.amount_micro, Hold.usage_micro), else_=Hold.amount_micro)
    # Clusters are limited by their cores.
    server = case((Hold.size != CLUSTER, 1), else_=0)
    sums = (func.coalesce(func.sum(each), 0) for each in (server, Hold.gpu, kept - Hold.posted_micro))
    open_holds = select(*sums).where(Hold.allocation_id == allocation_id, Hold.state.in_(LIVE))
    found = open_holds.add_columns(
        select(chains.balance_of_book()).where(Book.allocation_id == allocation_id).scalar_subquery()
    )
    live, gpus, held, balance = session.execute(found).one()
    return Left(int(live), int(gpus), int(balance) - int(held))
