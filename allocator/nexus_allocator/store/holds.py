"""Holds, and the intents to stop their servers."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from nexus_allocator.domain.clusters import CLUSTER
from nexus_allocator.domain.states import LIVE, HoldState
from nexus_allocator.domain.teams import TEAM_SERVER, server_of_team
from nexus_allocator.store import accounts
from nexus_allocator.store.tables import Allocation, Hold, StopIntent

WITH_OWNERS = (joinedload(Hold.person), joinedload(Hold.allocation).joinedload(Allocation.account))


def lock(session: Session, hold_id: UUID) -> Hold | None:
    """Return the hold with its allocation locked, which is the order every transaction locks in."""
    allocation_id = session.scalar(select(Hold.allocation_id).where(Hold.id == hold_id))
    if allocation_id is None:
        return None
    accounts.lock(session, [allocation_id])
    found = select(Hold).where(Hold.id == hold_id).with_for_update()
    return session.scalars(found.execution_options(populate_existing=True)).one()


def open_of_server(session: Session, person_id: UUID, server_name: str) -> Hold | None:
    found = select(Hold).where(Hold.person_id == person_id, Hold.server_name == server_name)
    return session.scalar(found.where(Hold.state.in_(LIVE)))


def open_of_team(session: Session, slug: str) -> Hold | None:
    """Return the open hold of a team's own server, whoever of the team started it."""
    found = select(Hold).where(Hold.server_name == server_of_team(slug), Hold.state.in_(LIVE))
    return session.scalar(found.options(*WITH_OWNERS))


def every_open(session: Session) -> Sequence[Hold]:
    found = select(Hold).where(Hold.state.in_(LIVE)).options(*WITH_OWNERS).order_by(Hold.placed_at, Hold.id)
    return session.scalars(found).all()


def open_of_person(session: Session, person_id: UUID) -> Sequence[Hold]:
    found = select(Hold).where(Hold.person_id == person_id, Hold.state.in_(LIVE))
    return session.scalars(found.options(*WITH_OWNERS).order_by(Hold.placed_at, Hold.id)).all()


def open_of_allocation(session: Session, allocation_id: UUID) -> Sequence[Hold]:
    found = select(Hold).where(Hold.allocation_id == allocation_id, Hold.state.in_(LIVE))
    return session.scalars(found.options(*WITH_OWNERS).order_by(Hold.placed_at, Hold.id)).all()


def open_servers(session: Session) -> Sequence[Hold]:
    """Return the open holds of servers that the hub runs."""
    return [hold for hold in every_open(session) if hold.size != CLUSTER]


def open_clusters(session: Session) -> Sequence[Hold]:
    """Return the open holds of clusters that dask-gateway runs."""
    return [hold for hold in every_open(session) if hold.size == CLUSTER]


def live_by_size(session: Session) -> Mapping[tuple[str, HoldState], int]:
    """Return how many open holds there are of each size in each state."""
    rows = session.execute(
        select(Hold.size, Hold.state, func.count())
        .where(Hold.state.in_(LIVE))
        .group_by(Hold.size, Hold.state)
    )
    return {(size, state): number for size, state, number in rows}


def held_by_all(session: Session) -> int:
    """Return the micro-credits that open holds set aside."""
    total = select(func.coalesce(func.sum(Hold.amount_micro - Hold.posted_micro), 0))
    return int(session.scalars(total.where(Hold.state.in_(LIVE))).one())


def read_only_since(session: Session, allocation_id: UUID, moment: datetime) -> Sequence[Hold]:
    """Return the servers that the platform paid in an allocation's days of grace."""
    found = select(Hold).where(Hold.allocation_id == allocation_id, Hold.read_only)
    return session.scalars(found.where(Hold.placed_at >= moment)).all()


def settled_of_person(session: Session, person_id: UUID, *, limit: int) -> Sequence[Hold]:
    """Return the person's ended servers, the latest first, without teams' and launches that never started."""
    found = select(Hold).where(Hold.person_id == person_id, Hold.state == HoldState.SETTLED)
    found = found.where(Hold.server_name.not_like(f"{TEAM_SERVER}%"))
    ran = found.where(Hold.process_started_at.is_not(None)).options(*WITH_OWNERS)
    return session.scalars(ran.order_by(Hold.settled_at.desc(), Hold.id).limit(limit)).all()


def settled_since(session: Session, moment: datetime) -> Sequence[Hold]:
    return session.scalars(select(Hold).where(Hold.settled_at >= moment)).all()


def batches(session: Session, size: int = 500) -> Iterator[Sequence[Hold]]:
    """Yield every hold, in batches."""
    after: UUID | None = None
    while True:
        found = select(Hold).order_by(Hold.id).limit(size)
        batch = session.scalars(found if after is None else found.where(Hold.id > after)).all()
        if not batch:
            return
        yield batch
        after = batch[-1].id


def by_id(session: Session, hold_id: UUID) -> Hold | None:
    return session.get(Hold, hold_id)


def with_owners(session: Session, hold_id: UUID) -> Hold | None:
    return session.scalar(select(Hold).where(Hold.id == hold_id).options(*WITH_OWNERS))


def add_intent(
    session: Session, hold_id: UUID, *, reason: str, actor: str, note: str | None, now: datetime
) -> None:
    session.add(StopIntent(hold_id=hold_id, reason=reason, actor=actor, note=note, at=now))


def latest_intent(session: Session, hold_id: UUID, *, since: datetime) -> StopIntent | None:
    found = select(StopIntent).where(StopIntent.hold_id == hold_id, StopIntent.at >= since)
    return session.scalar(found.order_by(StopIntent.at.desc(), StopIntent.id).limit(1))
