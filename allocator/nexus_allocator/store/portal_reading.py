"""Queries that only the portal's pages ask: sums per account at once, days of spending, lists to search."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, case, func, or_, select
from sqlalchemy.orm import Session, joinedload

from nexus_allocator.domain.states import LIVE, EntryKind, HoldState, RequestState, TierSlug
from nexus_allocator.store import chains
from nexus_allocator.store.holds import WITH_OWNERS
from nexus_allocator.store.tables import (
    Acceptance,
    Account,
    Book,
    Entry,
    Hold,
    Membership,
    Person,
    StopIntent,
    Team,
    TierRequest,
)


@dataclass(frozen=True)
class Sums:
    """An allocation's money in micro-credits, as posted and as open holds keep and have used it."""

    balance: int
    used: int
    held: int
    unposted: int


def sums(session: Session, allocation_ids: Sequence[UUID]) -> Mapping[UUID, Sums]:
    """Return the allocations' money, all of it in one query."""
    kept = case((Hold.usage_micro > Hold.amount_micro, Hold.usage_micro), else_=Hold.amount_micro)
    held = _of_open_holds(kept - Hold.posted_micro)
    unposted = _of_open_holds(Hold.usage_micro - Hold.posted_micro)
    columns = (chains.balance_of_book(), chains.used_of_book(), held, unposted)
    rows = session.execute(select(Book.allocation_id, *columns).where(Book.allocation_id.in_(allocation_ids)))
    return {row[0]: Sums(*(int(each) for each in row[1:])) for row in rows if row[0] is not None}


def _of_open_holds(what: ColumnElement[int]) -> ColumnElement[int]:
    total = select(func.coalesce(func.sum(what), 0)).correlate(Book)
    return total.where(Hold.allocation_id == Book.allocation_id, Hold.state.in_(LIVE)).scalar_subquery()


def other_entries(session: Session, allocation_id: UUID, *, limit: int) -> Sequence[tuple[Entry, bool]]:
    """Return grants and corrections made by people, newest first, each with whether it adds."""
    book = select(Book.id).where(Book.allocation_id == allocation_id).scalar_subquery()
    found: list[tuple[Entry, bool]] = []
    # One query for each side, because each has an index of its own and either alone would read them all.
    for side, adds in ((Entry.to_book_id, True), (Entry.from_book_id, False)):
        query = select(Entry).where(side == book, Entry.hold_id.is_(None), Entry.kind != EntryKind.STORAGE)
        rows = session.scalars(query.order_by(Entry.at.desc(), Entry.id).limit(limit))
        found += [(entry, adds) for entry in rows]
    return sorted(found, key=lambda row: (-row[0].at.timestamp(), row[0].id))[:limit]


def holds_of_account(session: Session, allocation_id: UUID, *, limit: int) -> Sequence[Hold]:
    """Return the servers charged to an allocation, newest first; launches that never started are left out."""
    query = select(Hold).where(Hold.allocation_id == allocation_id, _ran())
    return session.scalars(query.options(*WITH_OWNERS).order_by(Hold.placed_at.desc()).limit(limit)).all()


def holds_of_person(session: Session, person_id: UUID, *, limit: int) -> Sequence[Hold]:
    """Return a person's servers, newest first; launches that never started are left out."""
    query = select(Hold).where(Hold.person_id == person_id, _ran())
    return session.scalars(query.options(*WITH_OWNERS).order_by(Hold.placed_at.desc()).limit(limit)).all()


def live_hold(session: Session, person_id: UUID, server_name: str) -> Hold | None:
    """Return the open hold of a person's server."""
    query = select(Hold).where(Hold.person_id == person_id, Hold.server_name == server_name)
    return session.scalar(query.where(Hold.state.in_(LIVE)).options(*WITH_OWNERS))


def last_ended(session: Session, person_id: UUID) -> Hold | None:
    """Return the person's server that ended last, a launch that never came up included."""
    query = select(Hold).where(Hold.person_id == person_id, Hold.state == HoldState.SETTLED)
    return session.scalar(query.options(*WITH_OWNERS).order_by(Hold.settled_at.desc(), Hold.id).limit(1))


def announced_stops(session: Session, hold_ids: Sequence[UUID], *, since: datetime) -> set[UUID]:
    """Return the holds of which a stop was announced since then."""
    query = select(StopIntent.hold_id).where(StopIntent.hold_id.in_(hold_ids), StopIntent.at >= since)
    return set(session.scalars(query))


def search_people(session: Session, text: str, *, limit: int, offset: int) -> tuple[int, Sequence[Person]]:
    """Return how many people match and one page of them, by hub name."""
    query = select(Person).where(containing(text, Person.display_name, Person.hub_name, Person.email))
    query = query.where(Person.merged_into_id.is_(None))
    total = session.scalars(select(func.count()).select_from(query.subquery())).one()
    return total, session.scalars(query.order_by(Person.hub_name).limit(limit).offset(offset)).all()


def teams_of_people(session: Session, person_ids: Sequence[UUID]) -> Sequence[tuple[UUID, str]]:
    query = select(Membership.person_id, Team.label).join(Team, Team.id == Membership.team_id)
    rows = session.execute(query.where(Membership.person_id.in_(person_ids)).order_by(Team.label))
    return [(row[0], row[1]) for row in rows]


def accepted_by(session: Session, person_ids: Sequence[UUID], version: str) -> set[UUID]:
    query = select(Acceptance.person_id).where(Acceptance.version == version)
    return set(session.scalars(query.where(Acceptance.person_id.in_(person_ids))))


def search_accounts(session: Session, text: str, *, limit: int, offset: int) -> tuple[int, Sequence[Account]]:
    """Return how many accounts match by name or owner and one page of them, by slug."""
    owned = select(Account).outerjoin(Person, Person.id == Account.person_id)
    query = owned.where(containing(text, Account.slug, Account.label, Person.display_name))
    total = session.scalars(select(func.count()).select_from(query.subquery())).one()
    shown = query.options(joinedload(Account.allocation)).order_by(Account.slug)
    return total, session.scalars(shown.limit(limit).offset(offset)).all()


def owners(session: Session, accounts: Sequence[Account]) -> Mapping[UUID | None, Person]:
    """Return the owners of personal accounts by their id; a team's account has none."""
    person_ids = [account.person_id for account in accounts if account.person_id]
    return {person.id: person for person in session.scalars(select(Person).where(Person.id.in_(person_ids)))}


def request(session: Session, request_id: UUID) -> TierRequest | None:
    return session.scalar(_requests().where(TierRequest.id == request_id))


def decided_requests(session: Session, *, limit: int) -> Sequence[TierRequest]:
    """Return the last decisions, newest first."""
    query = _requests().where(TierRequest.decided_at.is_not(None))
    return session.scalars(query.order_by(TierRequest.decided_at.desc()).limit(limit)).all()


def search_requests(
    session: Session,
    text: str,
    *,
    tier: TierSlug | None,
    states: Collection[RequestState],
    limit: int,
    offset: int,
) -> tuple[int, Sequence[TierRequest]]:
    """Return how many requests match by person, account or title, and one page of them, the latest first."""
    query = _requests().where(TierRequest.state.in_(states), about(text))
    if tier is not None:
        query = query.where(TierRequest.tier == tier)
    total = session.scalars(select(func.count()).select_from(query.subquery())).one()
    ordered = query.order_by(TierRequest.submitted_at.desc(), TierRequest.id)
    return total, session.scalars(ordered.limit(limit).offset(offset)).all()


def about(text: str) -> ColumnElement[bool]:
    """Say which requests are of a person, on an account or under a title that contains ``text``."""
    people = select(Person.id).where(containing(text, Person.display_name, Person.hub_name))
    accounts = select(Account.id).where(containing(text, Account.slug, Account.label))
    titled = TierRequest.title.icontains(text, autoescape=True)
    return or_(TierRequest.person_id.in_(people), TierRequest.account_id.in_(accounts), titled)


def _requests() -> Select[TierRequest]:
    account = joinedload(TierRequest.account).joinedload(Account.allocation)
    return select(TierRequest).options(account, joinedload(TierRequest.person))


def _ran() -> Any:
    return or_(Hold.state.in_(LIVE), Hold.process_started_at.is_not(None))


def containing(text: str, *columns: Any) -> Any:
    return or_(*(column.icontains(text, autoescape=True) for column in columns))
