"""The demo: a team with two of the demo people, through the same functions as any other."""

from datetime import datetime

from sqlalchemy.orm import Session

from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.states import Role, TierSlug
from nexus_allocator.services import people, teams
from nexus_allocator.store import accounts

TEAM, TEAM_LABEL = "wide-field-demo", "Wide Field Demo"
MEMBERS = {"astronomer": Role.LEAD, "teammate": Role.MEMBER}


def seed(session: Session, *, policy: Policy, issuer: str, now: datetime) -> bool:
    """Make the demo team and expect its people; return False when the team is there already."""
    if accounts.team_by_slug(session, TEAM) is not None:
        return False
    teams.create(
        session, policy=policy, slug=TEAM, label=TEAM_LABEL, tier=TierSlug.TEAM, actor="demo", now=now
    )
    for subject, role in MEMBERS.items():
        person = people.expect(session, issuer=issuer, subject=subject, preferred_username=subject, now=now)
        teams.add_member(session, team=TEAM, hub_name=person.hub_name, role=role, now=now)
    return True
