"""Who may do what: the one place that answers it."""

from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.errors import NotAllowed, Suspended, UnknownAccount, UnknownPerson
from nexus_allocator.domain.states import Role
from nexus_allocator.store import accounts, people
from nexus_allocator.store.tables import Account, Person


def person_called(session: Session, hub_name: str) -> Person:
    """Return the person the hub calls ``hub_name``. Raises UnknownPerson."""
    person = people.by_hub_name(session, hub_name)
    if person is None:
        raise UnknownPerson(person=hub_name[:40])
    return person


def locked_person_called(session: Session, hub_name: str) -> Person:
    """Return the person the hub calls ``hub_name``, locked. Raises UnknownPerson."""
    person = people.lock_called(session, hub_name)
    if person is None:
        raise UnknownPerson(person=hub_name[:40])
    return person


def administrator(session: Session, person_id: UUID) -> Person:
    """Return the person when they are an administrator in good standing. Raises NotAllowed."""
    person = people.by_id(session, person_id)
    if person is None or not person.is_administrator or person.suspended_at:
        raise NotAllowed()
    return person


def in_good_standing(person: Person) -> Person:
    """Return the person. Raises Suspended."""
    if person.suspended_at is not None:
        raise Suspended(since=person.suspended_at.date().isoformat())
    return person


def account_to_charge(session: Session, person: Person, slug: str) -> Account:
    """Return the account called ``slug`` when the person may charge it.

    Raises UnknownAccount for another person's account as for none: the answer tells nobody what exists.
    """
    account = accounts.by_slug(session, slug)
    if account is None or not _may_charge(session, person, account):
        raise UnknownAccount(account=slug[:40])
    return account


def account_to_speak_for(session: Session, person: Person, slug: str) -> Account:
    """Return the account when the person may ask for more on its behalf: their own, or a team's as lead."""
    account = account_to_charge(session, person, slug)
    if account.team_id is not None:
        member = accounts.membership(session, account.team_id, person.id)
        if member is None or member.role != Role.LEAD:
            raise UnknownAccount(account=slug[:40])
    return account


def _may_charge(session: Session, person: Person, account: Account) -> bool:
    if account.team_id is None:
        return account.person_id == person.id
    return accounts.membership(session, account.team_id, person.id) is not None
