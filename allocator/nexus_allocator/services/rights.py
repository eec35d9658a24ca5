"""Who may do what: the one place that asks the table of `domain/rights.py`."""

from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain import rights
from nexus_allocator.domain.errors import (
    NotAllowed,
    NotReviewer,
    Suspended,
    TeamRoleNeeded,
    UnknownAccount,
    UnknownMember,
    UnknownPerson,
    UnknownTeam,
)
from nexus_allocator.domain.rights import Action, Capacity, Reach
from nexus_allocator.domain.states import Role
from nexus_allocator.store import accounts, panel, people
from nexus_allocator.store import teams as team_rows
from nexus_allocator.store.tables import Account, Person, Team

# Under this name a transaction knows what a token limits it to.
LIMITS = "nexus_capacities"


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


def themselves(session: Session, hub_name: str, action: Action) -> Person:
    """Return the person when they may do it with what is their own. Raises UnknownPerson, NotAllowed."""
    person = person_called(session, hub_name)
    require(session, person, action, Reach.OWN)
    return person


def overseer(session: Session, person_id: UUID, action: Action) -> Person:
    """Return the person when they may do it to anybody. Raises NotAllowed."""
    person = people.by_id(session, person_id)
    if person is None or person.suspended_at is not None:
        raise NotAllowed()
    require(session, person, action, Reach.ANY)
    return person


def require(session: Session, person: Person, action: Action, over: Reach) -> None:
    """Raise NotAllowed unless the person may do it with something of no team."""
    if not rights.may(_acting_as(session, person), action, over):
        raise NotAllowed()


def require_reviewer(session: Session, person: Person, action: Action) -> None:
    """Raise NotReviewer unless the person may do it as a reviewer of the panel."""
    limits = session.info.get(LIMITS, {Capacity.REVIEWER})
    acting_as = {Capacity.REVIEWER} & limits if panel.term_of(session, person.id) else frozenset()
    if not rights.may(acting_as, action, Reach.ANY):
        raise NotReviewer()


def may_with(session: Session, person: Person, owner_id: UUID, action: Action) -> bool:
    """Whether the person may do it with what is theirs or another person's."""
    over = Reach.OWN if owner_id == person.id else Reach.ANY
    return rights.may(_acting_as(session, person), action, over)


def in_good_standing(person: Person) -> Person:
    """Return the person. Raises Suspended."""
    if person.suspended_at is not None:
        raise Suspended(since=person.suspended_at.date().isoformat(), reason=person.suspension_reason)
    return person


def account_for(session: Session, person: Person, slug: str, action: Action) -> Account:
    """Return the account called ``slug`` when the person may do it with this account.

    Raises UnknownAccount for another person's account as for none: the answer tells nobody what exists.
    """
    account = accounts.by_slug(session, slug)
    if account is None or not _may_with_account(session, person, account, action):
        raise UnknownAccount(account=slug[:40])
    return account


def account_to_charge(session: Session, person: Person, slug: str) -> Account:
    """Return the account a person may launch on: their own, or that of a team they are in."""
    return account_for(session, person, slug, Action.ACCOUNT_CHARGE)


def team_for(session: Session, slug: str, person: Person, action: Action = Action.TEAM_SEE) -> Team:
    """Return the team when the person may do it in there.

    Raises UnknownTeam to who may not see it, as for none; else TeamRoleNeeded, or UnknownMember.
    """
    team = accounts.team_by_slug(session, slug)
    if team is None:
        raise UnknownTeam(team=slug[:40])
    require_in_team(session, team, person, action)
    return team


def team_to_change(
    session: Session, slug: str, action: Action, *, by: str | None
) -> tuple[Team, Person | None]:
    """Return the team, locked by its allocation, and who changes it; ``by`` None is an operator.

    Raises UnknownPerson, Suspended, UnknownTeam, TeamRoleNeeded.
    """
    person = None if by is None else in_good_standing(person_called(session, by))
    team = accounts.team_by_slug(session, slug) if person is None else team_for(session, slug, person)
    if team is None:
        raise UnknownTeam(team=slug[:40])
    lock_team(session, team.id)
    if person is not None:
        require_in_team(session, team, person, action)
    elif not rights.may({Capacity.OPERATOR}, action, Reach.ANY):
        raise NotAllowed()
    return team, person


def lock_team(session: Session, team_id: UUID) -> None:
    """Let one transaction at a time change who is in the team, launch on its credits or divide them."""
    accounts.lock(session, [team_rows.account_of(session, team_id).allocation.id])


def require_in_team(session: Session, team: Team, person: Person, action: Action) -> None:
    """Raise UnknownTeam unless the person may see the team, and TeamRoleNeeded unless they may do it there.

    Who may see it without a seat is told by UnknownMember that one is needed.
    """
    seat = team_rows.seat(session, team.id, person.id)
    role, over = (seat.role, Reach.TEAM) if seat else (None, Reach.ANY)
    acting_as = _acting_as(session, person, role)
    if not rights.may(acting_as, Action.TEAM_SEE, over):
        raise UnknownTeam(team=team.slug)
    if rights.may(acting_as, action, over):
        return
    if role is None:
        raise UnknownMember(person=person.hub_name, team=team.label)
    allowed = [each.value for each in rights.roles_for(action)]
    raise TeamRoleNeeded(team=team.label, role=role.value, roles=allowed)


def team_acts(session: Session, role: Role | None, viewer: Person | None) -> frozenset[Action]:
    """Return what somebody may do in a team where they have ``role``; ``viewer`` None is an operator."""
    acting_as = frozenset({Capacity.OPERATOR}) if viewer is None else _acting_as(session, viewer, role)
    over = Reach.ANY if role is None else Reach.TEAM
    return frozenset(each for each in rights.TEAM_ACTIONS if rights.may(acting_as, each, over))


def _may_with_account(session: Session, person: Person, account: Account, action: Action) -> bool:
    if account.team_id is None:
        over = Reach.OWN if account.person_id == person.id else Reach.ANY
        return rights.may(_acting_as(session, person), action, over)
    seat = accounts.membership(session, account.team_id, person.id)
    role, over = (seat.role, Reach.TEAM) if seat else (None, Reach.ANY)
    return rights.may(_acting_as(session, person, role), action, over)


def limit(session: Session, acting_as: frozenset[Capacity]) -> None:
    """Let a person act only so in this transaction, whatever else they are: their token may allow less."""
    session.info[LIMITS] = acting_as


def _acting_as(session: Session, person: Person, role: Role | None = None) -> frozenset[Capacity]:
    held = rights.capacities(is_administrator=person.is_administrator, role=role)
    limits: frozenset[Capacity] = session.info.get(LIMITS, held)
    return held & limits
