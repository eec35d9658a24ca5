"""Queries that forecasts ask: what left an account or the whole platform day by day, and what is left."""

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import Select, case, func, select, union_all
from sqlalchemy.orm import InstrumentedAttribute, Session

from nexus_allocator.domain.states import LIVE, BookKind
from nexus_allocator.store import chains
from nexus_allocator.store.tables import Account, Allocation, Book, Entry, Hold


def spent_by_day(
    session: Session, allocation_ids: Sequence[UUID], *, since: datetime
) -> dict[UUID, dict[date, int]]:
    """Return what servers and storage cost each allocation per UTC day, less what was given back for them."""
    day = func.date(Entry.at).label("day")
    sides = ((Entry.from_book_id, Entry.amount_micro), (Entry.to_book_id, -Entry.amount_micro))
    lines = union_all(
        *(
            select(Book.allocation_id.label("allocation_id"), day, signed.label("micro"))
            .join(Entry, side == Book.id)
            .where(Book.allocation_id.in_(allocation_ids), Entry.at >= since, chains.is_use())
            for side, signed in sides
        )
    ).subquery()
    total = select(lines.c.allocation_id, lines.c.day, func.sum(lines.c.micro))
    found: dict[UUID, dict[date, int]] = {allocation_id: {} for allocation_id in allocation_ids}
    for allocation_id, when, micro in session.execute(total.group_by(lines.c.allocation_id, lines.c.day)):
        found[allocation_id][date.fromisoformat(str(when))] = int(micro)
    return found


def net_by_day(session: Session, allocation_id: UUID, *, since: datetime) -> dict[date, int]:
    """Return what each UTC day added to the allocation, all kinds of entries together."""
    mine = select(Book.id).where(Book.allocation_id == allocation_id).scalar_subquery()
    day = func.date(Entry.at)
    signed = case((Entry.to_book_id == mine, Entry.amount_micro), else_=-Entry.amount_micro)
    found = select(day, func.sum(signed)).where((Entry.from_book_id == mine) | (Entry.to_book_id == mine))
    return _by_day(session, found.where(Entry.at >= since).group_by(day))


def platform_spent_by_day(session: Session, *, since: datetime) -> dict[date, int]:
    """Return what servers and storage cost per UTC day in all accounts, less what was given back."""
    used = _of_use(Entry.to_book_id, BookKind.USED, since)
    given_back = _of_use(Entry.from_book_id, BookKind.CORRECTED, since)
    spent = _by_day(session, used)
    for day, micro in _by_day(session, given_back).items():
        spent[day] = spent.get(day, 0) - micro
    return spent


def _of_use(side: InstrumentedAttribute[UUID], kind: BookKind, since: datetime) -> Select[date, int]:
    book = select(Book.id).where(Book.kind == kind, Book.allocation_id.is_(None)).scalar_subquery()
    day = func.date(Entry.at)
    found = select(day, func.sum(Entry.amount_micro)).where(side == book, Entry.at >= since)
    return found.where(chains.is_use()).group_by(day)


def platform_net(session: Session, *, since: datetime) -> int:
    """Return what all accounts together gained since then: grants and corrections less usage."""
    total = func.coalesce(func.sum(Entry.amount_micro), 0)
    own = select(Book.id).where(Book.allocation_id.is_(None))
    came = select(total).where(Entry.from_book_id.in_(own), Entry.at >= since).scalar_subquery()
    went = select(total).where(Entry.to_book_id.in_(own), Entry.at >= since).scalar_subquery()
    return int(session.scalars(select(came - went)).one())


def left_in_running(session: Session, *, now: datetime) -> tuple[int, int]:
    """Return how many allocations have not ended, and the sum of their balances."""
    balances = (
        select(chains.balance_of_book().label("micro"))
        .select_from(Book)
        .join(Allocation, Allocation.id == Book.allocation_id)
        .where(Allocation.expires_at > now)
        .subquery()
    )
    total = select(func.count(), func.coalesce(func.sum(balances.c.micro), 0)).select_from(balances)
    row = session.execute(total).one()
    return row[0], int(row[1])


def first_account(session: Session) -> datetime | None:
    """Return when the first account was opened, before which nothing can have been spent."""
    return session.scalar(select(func.min(Account.created_at)))


def live_sums(session: Session) -> tuple[int, int, int, int]:
    """Return of all live servers: how many, their hourly rate, what is kept for them, what is unposted."""
    kept = case((Hold.usage_micro > Hold.amount_micro, Hold.usage_micro), else_=Hold.amount_micro)
    sums = (Hold.rate_micro_per_hour, kept - Hold.posted_micro, Hold.usage_micro - Hold.posted_micro)
    found = select(func.count(), *(func.coalesce(func.sum(each), 0) for each in sums))
    count, rate, held, unposted = session.execute(found.where(Hold.state.in_(LIVE))).one()
    return count, int(rate), int(held), int(unposted)


def _by_day(session: Session, found: Select[date, int]) -> dict[date, int]:
    # SQLite gives the day as text, PostgreSQL as a date.
    return {date.fromisoformat(str(when)): int(total) for when, total in session.execute(found)}
