"""The one row that holds launches, or none."""

from datetime import datetime

from sqlalchemy import delete
from sqlalchemy.orm import Session

from nexus_allocator.store.tables import Maintenance

NAME = "launches"


def find(session: Session) -> Maintenance | None:
    return session.get(Maintenance, NAME)


def put(session: Session, *, message: str, since: datetime, until: datetime | None, actor: str) -> None:
    session.merge(Maintenance(name=NAME, message=message, since=since, until=until, actor=actor))
    session.flush()


def remove(session: Session) -> None:
    session.execute(delete(Maintenance).where(Maintenance.name == NAME))
