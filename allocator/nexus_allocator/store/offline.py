"""What the hub did alone while the service was away."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from nexus_allocator.domain.leases import OfflineKind
from nexus_allocator.store.tables import OfflineEvent


def known(session: Session, ids: Iterable[UUID]) -> set[UUID]:
    return set(session.scalars(select(OfflineEvent.id).where(OfflineEvent.id.in_(list(ids)))))


def of_person(session: Session, person_id: UUID, *, since: datetime) -> list[UUID]:
    found = select(OfflineEvent.id).where(OfflineEvent.person_id == person_id)
    return list(session.scalars(found.where(OfflineEvent.collected_at >= since)))


def add(session: Session, event: OfflineEvent) -> None:
    session.add(event)
    session.flush()


def latest(session: Session, *, limit: int) -> Sequence[OfflineEvent]:
    found = select(OfflineEvent).options(joinedload(OfflineEvent.person))
    return session.scalars(found.order_by(OfflineEvent.at.desc(), OfflineEvent.id).limit(limit)).all()


def counts(session: Session, *, since: datetime) -> dict[OfflineKind, int]:
    found = select(OfflineEvent.kind, func.count()).where(OfflineEvent.at >= since)
    return {row[0]: row[1] for row in session.execute(found.group_by(OfflineEvent.kind))}
