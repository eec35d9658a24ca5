"""A team's own server, in which its members work together, as who is in the team sees it."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from nexus_allocator.domain.errors import UnknownTeam
from nexus_allocator.services.rights import account_to_charge, in_good_standing, person_called
from nexus_allocator.store import accounts, holds


@dataclass(frozen=True)
class TeamServer:
    """What runs is None while nothing does."""

    label: str
    size: str | None
    started_by: str | None
    until: datetime | None


def server_of(session: Session, *, team: str, hub_name: str) -> TeamServer:
    """Return the team's server to a member. Raises UnknownPerson, Suspended, UnknownAccount, UnknownTeam."""
    person = in_good_standing(person_called(session, hub_name))
    account_to_charge(session, person, team)
    found = accounts.team_by_slug(session, team)
    if found is None:
        raise UnknownTeam(team=team[:40])
    hold = holds.open_of_team(session, found.slug)
    if hold is None:
        return TeamServer(found.label, None, None, None)
    return TeamServer(found.label, hold.size, hold.person.display_name, hold.until)
