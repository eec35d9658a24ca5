"""Teams: made with an account of their own, and joined."""

from datetime import datetime

from sqlalchemy.orm import Session

from nexus_allocator.domain.errors import BadName, NameTaken, UnknownTeam
from nexus_allocator.domain.names import require_name
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.states import AccountKind, Role, TierSlug
from nexus_allocator.services import allocations
from nexus_allocator.services.rights import person_called
from nexus_allocator.store import accounts, people
from nexus_allocator.store.session import announce
from nexus_allocator.store.tables import Membership, Team

LABEL_LENGTH = 80


def create(
    session: Session, *, policy: Policy, slug: str, label: str, tier: TierSlug, actor: str, now: datetime
) -> Team:
    """Make a team with its gid, account and allocation. Raises BadName, NameTaken."""
    require_name(slug)
    if not 0 < len(label.strip()) <= LABEL_LENGTH:
        raise BadName(name=label[:40], must_be=f"1 to {LABEL_LENGTH} characters for people to read")
    gid = people.next_number(session, "team_gid")
    if people.is_taken(session, slug):
        raise NameTaken(name=slug)
    people.take_name(session, slug, now=now)
    team = Team(slug=slug, label=label.strip(), gid=gid, created_at=now)
    session.add(team)
    session.flush()
    allocations.open_account(
        session, policy=policy, slug=slug, label=team.label, kind=AccountKind.TEAM, owner_id=team.id,
        tier=tier, actor=actor, now=now,
    )  # fmt: skip
    announce(session, "team_created", team_id=team.id, gid=gid)
    return team


def add_member(session: Session, *, team: str, hub_name: str, role: Role, now: datetime) -> None:
    """Let a person join a team, or change their role in it. Raises UnknownTeam, UnknownPerson."""
    found = accounts.team_by_slug(session, team)
    if found is None:
        raise UnknownTeam(team=team[:40])
    person = person_called(session, hub_name)
    member = accounts.membership(session, found.id, person.id)
    if member is None:
        session.add(Membership(team_id=found.id, person_id=person.id, role=role, joined_at=now))
    else:
        member.role = role
    announce(session, "member_joined", team_id=found.id, person_id=person.id, role=role)
