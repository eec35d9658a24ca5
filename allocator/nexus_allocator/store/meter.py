"""The meter's own rows: who may meter now, and how the last round went."""

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from nexus_allocator.store.tables import Lease, MeterTick

METER = "meter"


def claim(session: Session, name: str, *, holder: str, until: datetime, now: datetime) -> bool:
    """Claim or renew the lease called ``name``; False while another holder's claim runs."""
    found = select(Lease).where(Lease.name == name).with_for_update()
    lease = session.scalar(found.execution_options(populate_existing=True))
    if lease is None:
        return _first_claim(session, Lease(name=name, holder=holder, expires_at=until))
    if lease.expires_at > now:
        return False
    lease.holder, lease.expires_at = holder, until
    return True


def _first_claim(session: Session, lease: Lease) -> bool:
    try:
        with session.begin_nested():
            session.add(lease)
    except IntegrityError:
        return False
    return True


def release(session: Session, name: str, *, holder: str, now: datetime) -> None:
    """Give the lease back early, so that a successor need not wait for its end."""
    lease = session.get(Lease, name, with_for_update=True)
    if lease is not None and lease.holder == holder:
        lease.expires_at = now


def last_tick(session: Session) -> MeterTick | None:
    return session.get(MeterTick, METER)


def record_tick(session: Session, *, at: datetime, trouble: str | None, facts: dict[str, Any]) -> None:
    """Keep how this round went; ``trouble`` says why the hub's answer was not complete."""
    tick = session.get(MeterTick, METER, with_for_update=True)
    if tick is None:
        tick = MeterTick(name=METER, at=at, complete_at=None, trouble=None, facts={})
        session.add(tick)
    tick.at, tick.trouble, tick.facts = at, trouble, facts
    if trouble is None:
        tick.complete_at = at
