"""People: the first sign-in, the groups the hub is told, the agreement, suspension."""

from datetime import datetime

from sqlalchemy.orm import Session

from nexus_allocator.domain.errors import AgreementOutdated
from nexus_allocator.domain.names import RESERVED, hub_name_from, numbered
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.records import NEXUS, Act
from nexus_allocator.domain.scopes import ADMINISTRATORS
from nexus_allocator.domain.states import AccountKind, TierSlug
from nexus_allocator.domain.teams import group_of_team
from nexus_allocator.services import allocations, places
from nexus_allocator.services.records import record
from nexus_allocator.services.rights import person_called
from nexus_allocator.store import accounts, people
from nexus_allocator.store.tables import Home, Person


def sign_in(
    session: Session,
    *,
    issuer: str,
    subject: str,
    preferred_username: str,
    display_name: str,
    email: str | None,
    is_administrator: bool,
    now: datetime,
) -> Person:
    """Return the person behind an identity, made on the first sign-in: the person only, no account.

    The hub name is given once and stays, whatever the provider calls the person later.
    """
    person = expect(session, issuer=issuer, subject=subject, preferred_username=preferred_username, now=now)
    told = {"preferred_username": preferred_username, "display_name": display_name, "email": email}
    _take_over(session, person, told, is_administrator=is_administrator, now=now)
    person.signed_in_at = now
    return person


def _take_over(
    session: Session, person: Person, told: dict[str, str | None], *, is_administrator: bool, now: datetime
) -> None:
    """Let the person be called what the provider says; what changed is recorded, names themselves are not."""
    changed = [name for name, value in told.items() if getattr(person, name) != value]
    for name in changed:
        setattr(person, name, told[name])
    if changed and person.signed_in_at is not None:
        record(session, Act.PERSON_RENAMED, person.id, by=NEXUS, after={"changed": changed}, now=now)
    if person.is_administrator != is_administrator:
        record(session, Act.ADMINISTRATOR_CHANGED, person.id, by=NEXUS, now=now,
               before={"is_administrator": person.is_administrator},
               after={"is_administrator": is_administrator})  # fmt: skip
        person.is_administrator = is_administrator


def expect(session: Session, *, issuer: str, subject: str, preferred_username: str, now: datetime) -> Person:
    """Return the person behind an identity, made now when nobody with it has signed in yet."""
    if found := people.by_identity_now(session, issuer, subject):
        return found
    # Numbers come first: their row serialises two first sign-ins, so the second finds the name taken.
    uid = people.next_number(session, "uid")
    if found := people.by_identity_now(session, issuer, subject):
        return found
    person = Person(
        issuer=issuer, subject=subject, hub_name=_free_name(session, preferred_username, now),
        preferred_username=preferred_username, display_name=preferred_username, email=None, uid=uid,
        is_administrator=False, suspended_at=None, created_at=now, signed_in_at=None,
    )  # fmt: skip
    session.add(person)
    session.flush()
    record(session, Act.PERSON_CREATED, person.id, by=NEXUS, after={"uid": uid}, now=now)
    return person


def _free_name(session: Session, preferred_username: str, now: datetime) -> str:
    wanted, number = hub_name_from(preferred_username), 1
    while (name := numbered(wanted, number)) in RESERVED or people.is_taken(session, name):
        number += 1
    people.take_name(session, name, now=now)
    return name


def is_suspended(session: Session, *, hub_name: str) -> bool:
    """Say whether an account of the hub, a person's or a team's, may have no server. Raises UnknownPerson."""
    person = people.by_hub_name(session, hub_name)
    if person is None and accounts.team_by_slug(session, hub_name) is not None:
        return False
    return person_called(session, hub_name).suspended_at is not None


def groups(session: Session, *, hub_name: str) -> list[str]:
    """Return the hub groups of a person: tiers, teams and, for administrators, theirs."""
    person = person_called(session, hub_name)
    found = {f"tier-{account.allocation.tier}" for account in accounts.chargeable_by(session, person.id)}
    found |= {group_of_team(team.slug) for team in accounts.teams_of(session, person.id)}
    if person.is_administrator:
        found.add(ADMINISTRATORS)
    return sorted(found)


def accept_agreement(session: Session, *, policy: Policy, hub_name: str, version: str, now: datetime) -> None:
    """Record the acceptance; the first one makes home, account, Entry allocation and grant with it.

    Accepting again changes nothing. Raises AgreementOutdated when another version is in force.
    """
    if version != policy.agreement.version:
        raise AgreementOutdated(given=version[:40], version=policy.agreement.version)
    person = people.lock(session, person_called(session, hub_name).id)
    if people.has_accepted(session, person.id, version):
        return
    people.accept(session, person.id, version, now=now)
    record(session, Act.AGREEMENT_ACCEPTED, person.id, by=person.id, after={"version": version}, now=now)
    if people.home(session, person.id) is None:
        _settle_in(session, policy, person, now)


def _settle_in(session: Session, policy: Policy, person: Person, now: datetime) -> None:
    session.add(Home(person_id=person.id, name=person.hub_name, created_at=now))
    account = allocations.open_account(
        session, policy=policy, slug=person.hub_name, label="Your own account", kind=AccountKind.PERSONAL,
        owner_id=person.id, tier=TierSlug.ENTRY, actor="nexus", now=now,
    )  # fmt: skip
    places.open_own(session, account, name=person.hub_name, policy=policy, now=now)
