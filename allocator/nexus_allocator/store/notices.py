"""What people were told in the portal."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from nexus_allocator.domain.states import NoticeKind
from nexus_allocator.store.tables import PortalNotice


def has(session: Session, key: str) -> bool:
    return session.scalar(select(PortalNotice.id).where(PortalNotice.key == key)) is not None


def add(
    session: Session,
    person_id: UUID,
    kind: NoticeKind,
    *,
    key: str,
    facts: Mapping[str, Any],
    at: datetime,
) -> None:
    session.add(PortalNotice(person_id=person_id, kind=kind, key=key, facts=dict(facts), at=at))
    session.flush()


def unread(session: Session, person_id: UUID, *, limit: int) -> Sequence[PortalNotice]:
    found = select(PortalNotice).where(PortalNotice.person_id == person_id, PortalNotice.read_at.is_(None))
    return session.scalars(found.order_by(PortalNotice.at.desc(), PortalNotice.id).limit(limit)).all()


def of_person(session: Session, person_id: UUID, notice_id: UUID) -> PortalNotice | None:
    found = select(PortalNotice).where(PortalNotice.id == notice_id, PortalNotice.person_id == person_id)
    return session.scalar(found)
