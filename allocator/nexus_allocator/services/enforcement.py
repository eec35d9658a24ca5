"""Enforcement while servers run: people are told as an award is used up, and after a grace servers stop."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.clients.hub import HubClient
from nexus_allocator.domain.mailing import LetterKind
from nexus_allocator.domain.policy import Enforcement
from nexus_allocator.domain.records import NEXUS, Act
from nexus_allocator.domain.spending import WHOLE, Spending
from nexus_allocator.domain.states import StopReason
from nexus_allocator.domain.webhooks import EventKind
from nexus_allocator.services import outbox, stops
from nexus_allocator.services.hub_calls import ToStop, ask_at_once
from nexus_allocator.services.notices import owners
from nexus_allocator.services.records import record
from nexus_allocator.services.webhooks import emit
from nexus_allocator.store import accounts, holds, ledger, spend_notices
from nexus_allocator.store.session import Database
from nexus_allocator.store.tables import SpendNotice


@dataclass
class Enforced:
    """What one round did; ``trouble`` says why the hub could not be asked to stop servers."""

    noticed: int = 0
    stopped: int = 0
    trouble: str | None = None


@dataclass(frozen=True)
class Standing:
    """The highest mark an award has passed; ``stops_at`` only once all is used."""

    percent: int
    at: datetime
    award_micro: int
    left_micro: int
    stops_at: datetime | None


def enforce(database: Database, hub: HubClient, *, terms: Enforcement, now: datetime) -> Enforced:
    """Bring the notices of spending accounts up to date; stop the servers of those whose grace is over."""
    result = Enforced()
    with database.reading_scope() as session:
        spending = {hold.allocation_id for hold in holds.every_open(session)}
        moved = _moved(session, sorted(spending | spend_notices.with_notices(session)), terms=terms, now=now)
    due: list[ToStop] = []
    for allocation_id in moved:
        with database.session_scope() as session:
            result.noticed += _notice(session, allocation_id, terms=terms, now=now)
            due.extend(_intend_stops(session, allocation_id, terms=terms, now=now))
    asked = ask_at_once(database, hub, due, now=now)
    # What is recorded stays; the next round asks again.
    result.stopped, result.trouble = asked.sent, asked.problem if asked.failed else None
    return result


def _moved(
    session: Session, allocation_ids: Sequence[UUID], *, terms: Enforcement, now: datetime
) -> list[UUID]:
    """Return the allocations whose notices no longer tell how they stand, or whose grace is over.

    Most of a thousand stand as they stood a round ago; only these are locked and looked at again.
    """
    spending, known = spending_of(session, allocation_ids), spend_notices.highest(session, allocation_ids)
    moved = []
    for allocation_id in allocation_ids:
        mark, notice = spending[allocation_id].mark(terms.warn_at_percent), known.get(allocation_id)
        told = notice.percent if notice else None
        if mark != told or (notice and told == WHOLE and now >= notice.at + terms.save_grace):
            moved.append(allocation_id)
    return moved


def spending_of(session: Session, allocation_ids: Sequence[UUID]) -> dict[UUID, Spending]:
    """Return each allocation's award and what is left, with the use that is not posted yet."""
    return {
        allocation_id: Spending(spent.balance + spent.used_since_grant, spent.balance - spent.unposted)
        for allocation_id, spent in ledger.spent(session, allocation_ids).items()
    }


def standing(notice: SpendNotice, terms: Enforcement) -> Standing:
    stops_at = notice.at + terms.save_grace if notice.percent == WHOLE else None
    return Standing(notice.percent, notice.at, notice.award_micro, notice.left_micro, stops_at)


def _notice(session: Session, allocation_id: UUID, *, terms: Enforcement, now: datetime) -> int:
    """Write the notice that is due and clear those that no longer hold; return how many were written."""
    account_id = accounts.lock(session, [allocation_id])[allocation_id].account_id
    spending = spending_of(session, [allocation_id])[allocation_id]
    mark = spending.mark(terms.warn_at_percent)
    known = spend_notices.standing(session, allocation_id)
    for notice in known:
        if mark is None or notice.percent > mark:
            notice.cleared_at = now
            record(
                session, Act.NOTICE_CLEARED, account_id, by=NEXUS, after={"percent": notice.percent}, now=now
            )
    if mark is None or any(notice.percent >= mark for notice in known):
        return 0
    notice = SpendNotice(
        allocation_id=allocation_id, percent=mark, award_micro=spending.award_micro,
        left_micro=spending.left_micro, at=now, cleared_at=None,
    )  # fmt: skip
    spend_notices.add(session, notice)
    _tell(session, notice, standing(notice, terms))
    record(session, Act.NOTICED, account_id, by=NEXUS, now=now,
           after={"percent": mark, "left_micro": spending.left_micro})  # fmt: skip
    return 1


def _tell(session: Session, notice: SpendNotice, stands: Standing) -> None:
    """Write to the account's owners, and to who runs a server on it."""
    account = accounts.of_allocation(session, notice.allocation_id)
    running = {hold.person_id for hold in holds.open_of_allocation(session, notice.allocation_id)}
    facts = {
        "account": account.label, "slug": account.slug, "percent": stands.percent,
        "award_micro": stands.award_micro, "left_micro": stands.left_micro,
        "stops_at": stands.stops_at.isoformat() if stands.stops_at else None,
    }  # fmt: skip
    marked = {name: facts[name] for name in ("percent", "award_micro", "left_micro", "stops_at")}
    marked["account"] = account.slug
    emit(session, EventKind.SPENDING_MARKED, key=str(notice.id), facts=marked, now=notice.at)
    for person_id in sorted({*owners(session, account), *running}):
        key = f"{LetterKind.SPENDING_MARK}/{notice.id}/{person_id}"
        outbox.mail(session, person_id, LetterKind.SPENDING_MARK, key=key, facts=facts, now=notice.at)


def _intend_stops(
    session: Session, allocation_id: UUID, *, terms: Enforcement, now: datetime
) -> list[ToStop]:
    spent = [notice for notice in spend_notices.standing(session, allocation_id) if notice.percent == WHOLE]
    if not spent or now < spent[0].at + terms.save_grace:
        return []
    running = [hold for hold in holds.open_of_allocation(session, allocation_id) if hold.process_started_at]
    return [stops.intend(session, hold, StopReason.QUOTA, now=now) for hold in running]
