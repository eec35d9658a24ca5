"""The audit: recomputes balances from the entries and compares them with the holds and the meter."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from nexus_allocator.domain.states import HoldState
from nexus_allocator.services.holds import reading_of
from nexus_allocator.store import accounts, holds, ledger, meter
from nexus_allocator.store.tables import Hold


@dataclass(frozen=True)
class Drift:
    """One thing that does not add up, with the two figures or moments that disagree."""

    kind: str
    subject: str
    expected: str
    found: str


@dataclass(frozen=True)
class AuditReport:
    allocations: int
    holds: int
    balance_micro: int
    drifts: list[Drift]


def audit(session: Session, *, meter_silence: timedelta, now: datetime) -> AuditReport:
    """Recompute every balance, hold and total; report each drift, mend none."""
    total, drifts = 0, []
    allocations = accounts.every_allocation(session)
    for allocation in allocations:
        balance = ledger.balance(session, allocation.id)
        total += balance
        if balance < 0:
            drifts.append(Drift("overspent", allocation.account.slug, "0 or more", str(balance)))
    ids = holds.every_hold_id(session)
    for hold_id in ids:
        drifts.extend(_hold_drifts(session, holds.by_id(session, hold_id)))
    platform = ledger.platform_total(session)
    if platform != -total:
        drifts.append(Drift("unbalanced", "platform", str(-total), str(platform)))
    drifts.extend(_meter_drifts(session, meter_silence, now))
    return AuditReport(len(allocations), len(ids), total, drifts)


def _hold_drifts(session: Session, hold: Hold | None) -> Iterator[Drift]:
    if hold is None:
        return
    posted = ledger.posted_of_hold(session, hold.id)
    if posted != hold.posted_micro:
        yield Drift("posted", str(hold.id), str(hold.posted_micro), str(posted))
    usage = reading_of(hold).usage_micro(hold.rate_micro_per_hour)
    if usage != hold.usage_micro:
        yield Drift("reading", str(hold.id), str(usage), str(hold.usage_micro))
    if hold.state == HoldState.SETTLED and hold.usage_micro != hold.posted_micro:
        yield Drift("settled_short", str(hold.id), str(hold.usage_micro), str(hold.posted_micro))


def _meter_drifts(session: Session, silence: timedelta, now: datetime) -> Iterator[Drift]:
    tick = meter.last_tick(session)
    if not holds.every_open(session):
        return
    if tick is None or tick.complete_at is None or now - tick.complete_at > silence:
        found = "never" if tick is None or tick.complete_at is None else tick.complete_at.isoformat()
        yield Drift("meter_silent", "hub", f"a whole answer within {silence}", found)
    for hold_id in tick.facts.get("unaccounted", []) if tick else []:
        yield Drift("unaccounted", hold_id, "an open hold", "a live server without one")
