"""What an allocation has left for one more launch, asked in one query: admission is the hot path."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Select, bindparam, case, func, select
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


def _room() -> Select[int, int, int, int]:
    kept = case((Hold.usage_micro > Hold.amount_micro, Hold.usage_micro), else_=Hold.amount_micro)
    # Clusters are limited by their cores.
    server = case((Hold.size != CLUSTER, 1), else_=0)
    summed = (server, Hold.gpu, kept - Hold.posted_micro)
    live, gpus, held = (func.coalesce(func.sum(each), 0) for each in summed)
    mine = bindparam("allocation_id", type_=Hold.allocation_id.type)
    balance = select(chains.balance_of_book()).where(Book.allocation_id == mine).scalar_subquery()
    return select(live, gpus, held, balance).where(Hold.allocation_id == mine, Hold.state.in_(LIVE))


# Put together once: to do so costs more than to ask.
ROOM = _room()


def left(session: Session, allocation_id: UUID) -> Left:
    """Return what the allocation has left; the caller holds its lock."""
    live, gpus, held, balance = session.execute(ROOM, {"allocation_id": allocation_id}).one()
    return Left(int(live), int(gpus), int(balance) - int(held))
