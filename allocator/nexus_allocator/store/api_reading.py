"""Long lists a page at a time: each query goes on after the last row of the page before."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session, joinedload

from nexus_allocator.domain.states import RequestState, TierSlug
from nexus_allocator.store.portal_reading import about, containing
from nexus_allocator.store.tables import Account, Book, Entry, Hold, Link, Person, TierRequest


def people(session: Session, text: str, *, after: str | None, limit: int) -> Sequence[Person]:
    """Return the people who match, by hub name."""
    query = select(Person).where(containing(text, Person.display_name, Person.hub_name, Person.email))
    query = query.where(Person.merged_into_id.is_(None))
    if after is not None:
        query = query.where(Person.hub_name > after)
    return session.scalars(query.order_by(Person.hub_name).limit(limit)).all()


def accounts(session: Session, text: str, *, after: str | None, limit: int) -> Sequence[Account]:
    """Return the accounts that match by name or owner, by slug."""
    owned = select(Account).outerjoin(Person, Person.id == Account.person_id)
    query = owned.where(containing(text, Account.slug, Account.label, Person.display_name))
    if after is not None:
        query = query.where(Account.slug > after)
    shown = query.options(joinedload(Account.allocation)).order_by(Account.slug)
    return session.scalars(shown.limit(limit)).all()


@dataclass(frozen=True)
class Requests:
    """Which requests to read: in these states, of one person, of one tier, containing a text."""

    states: Collection[RequestState]
    person_id: UUID | None = None
    tier: TierSlug | None = None
    text: str = ""


def requests(
    session: Session, wanted: Requests, *, after: tuple[datetime, UUID] | None, limit: int
) -> Sequence[TierRequest]:
    """Return the requests that are wanted, the longest waiting first."""
    account = joinedload(TierRequest.account).joinedload(Account.allocation)
    query = select(TierRequest).options(account, joinedload(TierRequest.person))
    query = query.where(TierRequest.state.in_(wanted.states))
    if wanted.person_id is not None:
        query = query.where(TierRequest.person_id == wanted.person_id)
    if wanted.tier is not None:
        query = query.where(TierRequest.tier == wanted.tier)
    if wanted.text:
        query = query.where(about(wanted.text))
    if after is not None:
        later = and_(TierRequest.submitted_at == after[0], TierRequest.id > after[1])
        query = query.where(or_(TierRequest.submitted_at > after[0], later))
    return session.scalars(query.order_by(TierRequest.submitted_at, TierRequest.id).limit(limit)).all()


def entries(
    session: Session,
    allocation_id: UUID,
    *,
    since: datetime,
    until: datetime,
    after: int | None,
    limit: int,
) -> Sequence[tuple[int, Entry, int, Hold | None]]:
    """Return an allocation's entries of a time in the order of its chain: number, entry, amount, hold."""
    book = select(Book.id).where(Book.allocation_id == allocation_id).scalar_subquery()
    found = select(Link.number, Entry, Link.amount_micro, Hold).join(Entry, Entry.id == Link.entry_id)
    mine = found.outerjoin(Hold, Hold.id == Entry.hold_id).where(Link.book_id == book)
    mine = mine.where(Entry.at >= since, Entry.at < until)
    if after is not None:
        mine = mine.where(Link.number > after)
    rows = session.execute(mine.order_by(Link.number).limit(limit))
    return [(number, entry, amount, hold) for number, entry, amount, hold in rows]
