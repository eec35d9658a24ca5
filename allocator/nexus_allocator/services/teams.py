"""Teams: made with an account of their own, by an operator or from a Team award, and joined."""

from datetime import datetime

from sqlalchemy.orm import Session

from nexus_allocator.domain.errors import BadName, NameTaken, TooManyTeams, UnknownTeam
from nexus_allocator.domain.names import RESERVED, hub_name_from, numbered, require_name
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.records import NEXUS, OPERATOR, Act
from nexus_allocator.domain.states import AccountKind, Role, TeamMoveKind, TierSlug
from nexus_allocator.domain.teams import MOST_TEAMS
from nexus_allocator.services import allocations, places
from nexus_allocator.services.records import By, record, signature
from nexus_allocator.services.rights import lock_team, person_called
from nexus_allocator.store import accounts, people
from nexus_allocator.store import teams as team_rows
from nexus_allocator.store.tables import Account, Membership, Person, Team

LABEL_LENGTH = 80


def create(
    session: Session, *, policy: Policy, slug: str, label: str, tier: TierSlug, actor: str, now: datetime
) -> Team:
    """Make a team with its gid, account and allocation. Raises BadName, NameTaken."""
    require_name(slug)
    return _made(session, policy, slug, label, tier=tier, actor=actor, with_grant=True, now=now)[0]


def found(
    session: Session, *, policy: Policy, label: str, tier: TierSlug, lead: Person, actor: str, now: datetime
) -> Account:
    """Make the team of an award, led by ``lead``, and return its account, to which nothing is granted yet.

    The name for paths and addresses is made from the label. Raises BadName.
    """
    account = found_without_lead(session, policy=policy, label=label, tier=tier, actor=actor, now=now)
    team = team_rows.by_account(session, account.id)
    assert team is not None  # noqa: S101 - just made
    seat(session, team, lead, Role.LEAD, by=NEXUS, now=now)
    return account


def found_without_lead(
    session: Session, *, policy: Policy, label: str, tier: TierSlug, actor: str, now: datetime
) -> Account:
    """Make a team that nobody leads and return its account, to which nothing is granted. Raises BadName."""
    slug = free_slug(session, label)
    return _made(session, policy, slug, label, tier=tier, actor=actor, with_grant=False, now=now)[1]


def free_slug(session: Session, label: str) -> str:
    """Return a name made from the label that nobody was ever given."""
    wanted, number = hub_name_from(label), 1
    while (name := numbered(wanted, number)) in RESERVED or people.is_taken(session, name):
        number += 1
    return name


def require_label(label: str) -> str:
    """Return a name for people to read, without surrounding space. Raises BadName."""
    text = label.strip()
    if not 0 < len(text) <= LABEL_LENGTH or not text.isprintable():
        raise BadName(name=text[:40], must_be=f"1 to {LABEL_LENGTH} characters for people to read")
    return text


def _made(
    session: Session,
    policy: Policy,
    slug: str,
    label: str,
    *,
    tier: TierSlug,
    actor: str,
    with_grant: bool,
    now: datetime,
) -> tuple[Team, Account]:
    label = require_label(label)
    gid = people.next_number(session, "team_gid")
    if people.is_taken(session, slug):
        raise NameTaken(name=slug)
    people.take_name(session, slug, now=now)
    team = Team(slug=slug, label=label, gid=gid, created_at=now)
    session.add(team)
    session.flush()
    account = allocations.open_account(
        session, policy=policy, slug=slug, label=team.label, kind=AccountKind.TEAM, owner_id=team.id,
        tier=tier, actor=actor, now=now, with_grant=with_grant,
    )  # fmt: skip
    places.open_own(session, account, name=slug, policy=policy, now=now)
    team_rows.add_move(
        session, team.id, TeamMoveKind.MADE, actor_id=None, facts={"by": signature(session, actor)}, at=now
    )
    record(session, Act.TEAM_CREATED, team.id, by=actor, after={"gid": gid, "tier": tier}, now=now)
    return team, account


def add_member(session: Session, *, team: str, hub_name: str, role: Role, now: datetime) -> None:
    """Let a person join a team by an operator's hand, or change their role in it; a lead before stays on.

    Raises UnknownTeam, UnknownPerson.
    """
    found_team = accounts.team_by_slug(session, team)
    if found_team is None:
        raise UnknownTeam(team=team[:40])
    lock_team(session, found_team.id)
    seat(session, found_team, person_called(session, hub_name), role, by=OPERATOR, now=now)


def seat(session: Session, team: Team, person: Person, role: Role, *, by: By, now: datetime) -> None:
    """Give a person a seat or another role. The one lead before a new one becomes a manager."""
    if role is Role.LEAD:
        _step_back(session, team, but=person, by=by, now=now)
    member = team_rows.membership(session, team.id, person.id)
    before = member.role if member else None
    if member is None:
        require_seat_left(session, person, but=1)
        session.add(Membership(team_id=team.id, person_id=person.id, role=role, joined_at=now))
        kind = TeamMoveKind.JOINED
    else:
        member.role = role
        kind = TeamMoveKind.ROLE_CHANGED
    team_rows.add_move(
        session, team.id, kind, actor_id=None, subject_id=person.id, facts={"role": role.value}, at=now
    )
    record(session, Act.MEMBER_SEATED, team.id, by=by, person_id=person.id, before={"role": before},
           after={"role": role}, now=now)  # fmt: skip


def require_seat_left(session: Session, person: Person, *, but: int = 0) -> None:
    """Raise TooManyTeams when a person would be in more teams, with ``but`` more, than a volume knows."""
    if len(accounts.teams_of(session, person.id)) + but > MOST_TEAMS:
        raise TooManyTeams(person=person.hub_name, most=MOST_TEAMS)


def _step_back(session: Session, team: Team, *, but: Person, by: By, now: datetime) -> None:
    lead = team_rows.lead_of(session, team.id)
    if lead is not None and lead.person_id != but.id:
        lead.role = Role.MANAGER
        record(session, Act.ROLE_CHANGED, team.id, by=by, person_id=lead.person_id,
               before={"role": Role.LEAD}, after={"role": Role.MANAGER}, now=now)  # fmt: skip
        # Before the other row turns: the database has one lead a team.
        session.flush()
