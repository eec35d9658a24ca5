"""The rate cards that were ever used, each kept as it was."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from nexus_allocator.store.tables import RateCardRow


def by_version(session: Session) -> dict[int, dict[str, int]]:
    """Return the rates of every card, by its version."""
    return {row.version: row.rates for row in session.scalars(select(RateCardRow))}


def keep(session: Session, version: int, rates: dict[str, int], *, now: datetime) -> dict[str, int]:
    """Return the rates kept under this version, which are the given ones when it is new."""
    found = session.get(RateCardRow, version)
    if found is None:
        try:
            with session.begin_nested():
                session.add(RateCardRow(version=version, first_used_at=now, rates=rates))
        except IntegrityError:
            # Another process started at the same moment.
            found = session.get(RateCardRow, version)
    return rates if found is None else found.rates
