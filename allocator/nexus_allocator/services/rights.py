"""Who may do what: the one place that answers it."""

from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain import teams as rules
from nexus_allocator.domain.errors import (
    NotAllowed,
    Suspended,
    TeamRoleNeeded,
    UnknownAccount,
    UnknownPerson,
    UnknownTeam,
)
from nexus_allocator.domain.states import Role, TeamAct
from nexus_allocator.store import accounts, people
from nexus_allocator.store import teams as team_rows
from nexus_allocator.store.tables import Account, Person, Team


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
        raise Suspended(since=person.suspended_at.date().isoformat(), reason=person.suspension_reason)
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


def team_to_see(session: Session, slug: str, person: Person) -> Team:
    """Return the team of a member or for an administrator. Raises UnknownTeam for others' as for none."""
    team = accounts.team_by_slug(session, slug)
    seated = team is not None and accounts.membership(session, team.id, person.id) is not None
    if team is None or not (seated or person.is_administrator):
        raise UnknownTeam(team=slug[:40])
    return team


def team_to_change(
    session: Session, slug: str, act: TeamAct, *, by: str | None
) -> tuple[Team, Person | None]:
    """Return the team, locked by its allocation, and who changes it; ``by`` None is an operator.

    Raises UnknownPerson, Suspended, UnknownTeam, TeamRoleNeeded.
    """
    person = None if by is None else in_good_standing(person_called(session, by))
    team = accounts.team_by_slug(session, slug) if person is None else team_to_see(session, slug, person)
    if team is None:
        raise UnknownTeam(team=slug[:40])
    lock_team(session, team.id)
    if person is not None and not person.is_administrator:
        seat = team_rows.seat(session, team.id, person.id)
        if seat is None:
            raise UnknownTeam(team=slug[:40])
        require_role(team, seat.role, act)
    return team, person


def lock_team(session: Session, team_id: UUID) -> None:
    """Let one transaction at a time change who is in the team, launch on its credits or divide them."""
    accounts.lock(session, [team_rows.account_of(session, team_id).allocation.id])


def require_role(team: Team, role: Role, act: TeamAct) -> None:
    """Raise TeamRoleNeeded unless the role may do it."""
    if not rules.may(role, act):
        allowed = [each.value for each in Role if rules.may(each, act)]
        raise TeamRoleNeeded(team=team.label, role=role.value, roles=allowed)
