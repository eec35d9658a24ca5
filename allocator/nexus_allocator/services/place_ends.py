"""When the right to keep a place has ended: a scratch's lease, a team's allocation, a person's access.

It is read anew whenever it matters: a renewal, an award, a reinstatement or a sign-in takes the end away.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.endings import renews_itself
from nexus_allocator.domain.places import Place, PlaceKind
from nexus_allocator.domain.policy import Policy, PurgeRule
from nexus_allocator.domain.requests import WITH_APPLICANT
from nexus_allocator.services import storage
from nexus_allocator.store import accounts, people, places, requests, teams
from nexus_allocator.store.tables import Account


def has_ended(session: Session, place: Place, rule: PurgeRule, *, policy: Policy, now: datetime) -> bool:
    """Say whether the place's right ended as long ago as the rule asks; a rule may ask for no end.

    Raises UnknownPlace.
    """
    if rule.ended is None:
        return True
    end = ended_at(session, place, policy=policy)
    return end is not None and end + rule.ended <= now


def ended_at(session: Session, place: Place, *, policy: Policy) -> datetime | None:
    """Return when the right to keep a place ends or ended, its days of grace added; None for not in sight.

    Raises UnknownPlace.
    """
    person_id, team_id = storage.owner(session, place)
    if place.kind is PlaceKind.SCRATCH:
        row = places.called(session, place)
        return row.ends_at if row else None
    if team_id is not None:
        return _of_team(session, teams.account_of(session, team_id), policy)
    assert person_id is not None  # noqa: S101 - a home is a person's
    return _of_person(session, person_id, policy)


def _of_team(session: Session, account: Account, policy: Policy) -> datetime | None:
    """Return its allocation's end and grace; none while more was asked for and is being decided."""
    tier = policy.tiers[account.allocation.tier]
    asked = requests.open_of_account(session, account.id)
    if renews_itself(tier) or (asked and asked.state not in WITH_APPLICANT):
        return None
    return account.allocation.expires_at + tier.grace


def _of_person(session: Session, person_id: UUID, policy: Policy) -> datetime | None:
    """Return when a person was suspended, or when the term ended in which they were last seen; and grace.

    Entry begins anew by itself, whoever comes. Who was erased or is somebody else now waits for an operator.
    """
    person, account = people.by_id(session, person_id), accounts.of_person(session, person_id)
    if person is None or person.erased_at or person.merged_into_id or account is None:
        return None
    tier, starts_at = policy.tiers[account.allocation.tier], account.allocation.starts_at
    if person.suspended_at is not None:
        return person.suspended_at + tier.grace
    if not renews_itself(tier) or people.last_seen(session, person) >= starts_at:
        return None
    return starts_at + tier.grace
