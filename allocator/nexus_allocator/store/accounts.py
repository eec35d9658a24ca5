"""Accounts, their allocations, and teams with their members."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session, joinedload

from nexus_allocator.store.tables import Account, Allocation, Membership, Person, Team


def _with_allocation() -> Select[Account]:
    return select(Account).options(joinedload(Account.allocation))


def by_slug(session: Session, slug: str) -> Account | None:
    return session.scalar(_with_allocation().where(Account.slug == slug))


def by_slugs(session: Session, slugs: Sequence[str]) -> Sequence[Account]:
    return session.scalars(_with_allocation().where(Account.slug.in_(slugs)).order_by(Account.slug)).all()


def of_person(session: Session, person_id: UUID) -> Account | None:
    return session.scalar(_with_allocation().where(Account.person_id == person_id))


def by_id(session: Session, account_id: UUID) -> Account:
    return session.scalars(_with_allocation().where(Account.id == account_id)).one()


def of_allocation(session: Session, allocation_id: UUID) -> Account:
    found = select(Account).join(Allocation, Allocation.account_id == Account.id)
    return session.scalars(found.where(Allocation.id == allocation_id)).one()


def chargeable_by(session: Session, person_id: UUID) -> Sequence[Account]:
    """Return the accounts a person may charge: the own one first, then the teams', by name."""
    teams = select(Membership.team_id).where(Membership.person_id == person_id)
    mine = or_(Account.person_id == person_id, Account.team_id.in_(teams))
    return session.scalars(_with_allocation().where(mine).order_by(Account.kind, Account.slug)).all()


def page(session: Session, *, limit: int, offset: int) -> Sequence[Account]:
    return session.scalars(_with_allocation().order_by(Account.slug).limit(limit).offset(offset)).all()


def count(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(Account)) or 0


def every_allocation(session: Session) -> Sequence[Allocation]:
    found = select(Allocation).options(joinedload(Allocation.account)).order_by(Allocation.id)
    return session.scalars(found).all()


def ending_before(session: Session, moment: datetime) -> Sequence[Allocation]:
    """Return the allocations that end before then and were not closed."""
    found = select(Allocation).where(Allocation.expires_at <= moment, Allocation.closed_at.is_(None))
    return session.scalars(found.order_by(Allocation.expires_at)).all()


def lock(session: Session, allocation_ids: Iterable[UUID]) -> dict[UUID, Allocation]:
    """Return the allocations, locked in one order, so that two transactions never wait for each other."""
    found = select(Allocation).where(Allocation.id.in_(sorted(allocation_ids))).order_by(Allocation.id)
    locked = session.scalars(found.with_for_update().execution_options(populate_existing=True))
    return {allocation.id: allocation for allocation in locked}


def team_by_slug(session: Session, slug: str) -> Team | None:
    return session.scalar(select(Team).where(Team.slug == slug))


def teams_of(session: Session, person_id: UUID) -> Sequence[Team]:
    joined = select(Team).join(Membership, Membership.team_id == Team.id)
    return session.scalars(joined.where(Membership.person_id == person_id).order_by(Team.slug)).all()


def membership(session: Session, team_id: UUID, person_id: UUID) -> Membership | None:
    return session.get(Membership, (team_id, person_id))


def members(session: Session, team_id: UUID) -> Sequence[tuple[Person, Membership]]:
    joined = select(Person, Membership).join(Membership, Membership.person_id == Person.id)
    rows = session.execute(joined.where(Membership.team_id == team_id).order_by(Person.hub_name))
    return [(person, member) for person, member in rows]
