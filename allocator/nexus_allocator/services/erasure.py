"""Erasure of personal data: planned first, confirmed by typing the name, and the ledger stays whole.

Names stand in one table, where a pseudonym takes their place; entries, holds and records name ids and stay.
"""

import random
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from nexus_allocator.domain.care import pseudonym
from nexus_allocator.domain.errors import LeadStays, NotConfirmed, UnknownPerson
from nexus_allocator.domain.records import NEXUS, Act
from nexus_allocator.domain.requests import may_move_to
from nexus_allocator.domain.states import EntryKind, Mover, RequestState, Role
from nexus_allocator.services.allocations import require_reason
from nexus_allocator.services.identities import require_no_servers
from nexus_allocator.services.records import By, record
from nexus_allocator.services.request_moves import move
from nexus_allocator.services.rights import lock_team, person_called
from nexus_allocator.store import accounts, erasure, holds, identities, ledger, people, requests, teams
from nexus_allocator.store.erasure import Whose
from nexus_allocator.store.tables import Person, Team

# What no row of this database holds.
ELSEWHERE = (
    "the hub's own database: its user of that name, and what the sign-in provider told it",
    "log files, and the databases' backups, until they are dropped",
    "files: the home, and what was put into teams' folders",
)


@dataclass(frozen=True)
class Plan:
    """What an erasure does: how many rows of what go or are written over, and what stays that names them."""

    hub_name: str
    erased: tuple[tuple[str, int], ...]
    kept: tuple[tuple[str, int], ...]
    teams: tuple[str, ...]
    leads: tuple[str, ...]
    left_micro: int
    home: str | None
    servers: int
    elsewhere: tuple[str, ...] = ELSEWHERE


def plan(session: Session, *, hub_name: str) -> Plan:
    """Return what an erasure would do, and change nothing. Raises UnknownPerson."""
    person = _erasable(session, hub_name)
    account, home = accounts.of_person(session, person.id), people.home(session, person.id)
    counted: dict[str, int] = {}
    kept: dict[str, int] = {}
    for whose in _everybody(session, person, ""):
        for part in erasure.parts(whose):
            counted[part.what] = counted.get(part.what, 0) + part.count(session)
        others = "others' requests and notices that name them"
        counted[others] = counted.get(others, 0) + len(erasure.in_others_rows(session, whose))
        for what, count in erasure.kept(session, whose):
            kept[what] = kept.get(what, 0) + count
    seats = _seats(session, person)
    return Plan(
        hub_name=person.hub_name,
        erased=(("names and addresses of the person", 1), *((what, n) for what, n in counted.items() if n)),
        kept=tuple(kept.items()),
        teams=tuple(team.label for team, _ in seats),
        leads=tuple(team.label for team, role in seats if role is Role.LEAD),
        left_micro=_left(session, person) if account else 0,
        home=home.name if home else None,
        servers=len(holds.open_of_person(session, person.id)),
    )


def erase(
    session: Session,
    *,
    hub_name: str,
    typed: str,
    reason: str,
    actor: By,
    rng: random.Random,
    now: datetime,
) -> Plan:
    """Put a pseudonym in the place of a person and return what was done, the home's folder among it.

    Raises UnknownPerson, NotConfirmed unless ``typed`` is the hub name, LiveServers, LeadStays, BadReason.
    """
    text = require_reason(reason)
    person = people.lock(session, _erasable(session, hub_name).id)
    if typed.strip() != person.hub_name:
        raise NotConfirmed(person=person.hub_name)
    require_no_servers(session, person)
    planned = plan(session, hub_name=hub_name)
    if planned.leads:
        raise LeadStays(team=planned.leads[0])
    name = _free_pseudonym(session, rng, now=now)
    _leave_teams(session, person)
    everybody = [person, *identities.aliases(session, person.id)]
    names = [name if number == 0 else f"{name}-{number}" for number in range(len(everybody))]
    _withdraw_requests(session, person, now=now)
    for each, called in zip(everybody, names, strict=True):
        _close_account(session, each, called, now=now)
    for whose in _everybody(session, person, name):
        for put in erasure.in_others_rows(session, whose):
            put()
        session.flush()
        for part in erasure.parts(whose):
            part.erase(session)
    session.expire_all()
    for each, called in zip(everybody, names, strict=True):
        _forget(each, called, now=now)
    record(session, Act.PERSON_ERASED, person.id, by=actor, reason=text, now=now,
           after={"rows": sum(count for _, count in planned.erased), "lapsed_micro": planned.left_micro,
                  "teams_left": len(planned.teams)})  # fmt: skip
    return planned


def _erasable(session: Session, hub_name: str) -> Person:
    """Return the person; who was merged goes with who they are, and who was erased is nobody."""
    person = person_called(session, hub_name)
    if person.merged_into_id is not None or person.erased_at is not None:
        raise UnknownPerson(person=hub_name[:40])
    return person


def _everybody(session: Session, person: Person, name: str) -> list[Whose]:
    """Return the person and who they were before merges, all with the same pseudonym."""
    return [
        Whose(each.id, each.hub_name, each.display_name, each.email, name)
        for each in (person, *identities.aliases(session, person.id))
    ]


def _free_pseudonym(session: Session, rng: random.Random, *, now: datetime) -> str:
    while people.is_taken(session, name := pseudonym(f"{rng.randrange(16**8):08x}")):
        continue
    people.take_name(session, name, now=now)
    return name


def _seats(session: Session, person: Person) -> list[tuple[Team, Role]]:
    rows = identities.memberships(session, person.id)
    return [(session.get_one(Team, row.team_id), row.role) for row in rows]


def _leave_teams(session: Session, person: Person) -> None:
    for team, _ in _seats(session, person):
        lock_team(session, team.id)
        teams.remove_seat(session, team.id, person.id)
    session.expire_all()


def _withdraw_requests(session: Session, person: Person, *, now: datetime) -> None:
    """Nobody is left to answer for what waits, as far as its applicant may take it back."""
    for found in requests.of_person(session, person.id):
        if RequestState.WITHDRAWN in may_move_to(found.state, Mover.APPLICANT):
            request = requests.lock(session, found.id)
            assert request is not None  # noqa: S101 - rows are never deleted
            move(session, request, RequestState.WITHDRAWN, mover=Mover.APPLICANT, actor_id=person.id, now=now)


def _left(session: Session, person: Person) -> int:
    account = accounts.of_person(session, person.id)
    return max(0, ledger.balance(session, account.allocation.id)) if account else 0


def _close_account(session: Session, person: Person, name: str, *, now: datetime) -> None:
    """Let what is left lapse, and call the account by the pseudonym."""
    account = accounts.of_person(session, person.id)
    if account is None:
        return
    allocation = accounts.lock(session, [account.allocation.id])[account.allocation.id]
    left = ledger.balance(session, allocation.id)
    if left > 0:
        ledger.append(
            session, allocation.id, -left, kind=EntryKind.LAPSE, key=f"{EntryKind.LAPSE}/erasure/{person.id}",
            at=now, actor=NEXUS, reason="the account's person was erased",
        )  # fmt: skip
    allocation.expires_at = allocation.closed_at = now
    account.slug, account.label = name, "Account of an erased person"


def _forget(person: Person, name: str, *, now: datetime) -> None:
    """Write the pseudonym over all that names a person. Writes into ``person``."""
    person.issuer, person.subject = "erased", str(person.id)
    person.hub_name = person.preferred_username = person.display_name = name
    person.email = person.home_name = person.suspension_reason = None
    person.is_administrator, person.erased_at, person.signed_in_at = False, now, None
    person.suspended_at = person.suspended_at or now
