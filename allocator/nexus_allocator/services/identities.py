"""Who somebody is: another hub name or e-mail address, and two people who turn out to be one.

Entries of the ledger hold no names, so none of this touches them: who is merged keeps a row that leads to who
they are now.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.errors import (
    BadAddress,
    LiveServers,
    NameTaken,
    NotAllowed,
    RequestOpen,
    SamePerson,
)
from nexus_allocator.domain.names import require_name
from nexus_allocator.domain.records import Act
from nexus_allocator.domain.rights import Action
from nexus_allocator.domain.states import Role, StopReason, TierSlug
from nexus_allocator.services.allocations import require_reason
from nexus_allocator.services.hub_calls import order_revocation
from nexus_allocator.services.records import By, record
from nexus_allocator.services.rights import in_good_standing, lock_team, overseer, person_called
from nexus_allocator.services.stops import PLATFORM, intend
from nexus_allocator.services.teams import require_seat_left
from nexus_allocator.store import (
    accounts,
    holds,
    identities,
    ledger,
    outbox,
    people,
    requests,
    teams,
    web_sessions,
)
from nexus_allocator.store.session import Database
from nexus_allocator.store.tables import Account, Home, Person

LONGEST_EMAIL = 254
MERGED = "This sign-in belongs to another person of the Nexus now; sign out and in again."


@dataclass(frozen=True)
class Merged:
    """What went over: rows by table and column, credits, and the home whose files nobody moved."""

    moved: dict[str, int]
    moved_micro: int
    home: str | None


def change(
    session: Session,
    *,
    hub_name: str,
    to: str | None = None,
    email: str | None = None,
    reason: str,
    actor: By,
    now: datetime,
) -> Person:
    """Give a person another hub name, or another e-mail address until their next sign-in tells one.

    The name before is never given again; the home keeps its folder. Raises UnknownPerson, BadName,
    NameTaken, BadAddress, BadReason, LiveServers.
    """
    text = require_reason(reason)
    person = _standing(session, hub_name)
    changed = []
    if to is not None and to != person.hub_name:
        _rename(session, person, to, now=now)
        changed.append("hub_name")
    if email is not None and email != person.email:
        person.email = _address(email)
        changed.append("email")
    if changed:
        record(session, Act.IDENTITY_CHANGED, person.id, by=actor, reason=text, after={"changed": changed},
               now=now)  # fmt: skip
    return person


def merge(session: Session, *, keep: str, gone: str, reason: str, actor: By, now: datetime) -> Merged:
    """Make two people one: who is ``gone`` signs in as ``keep`` from now on.

    Memberships, requests, past servers and what is left of the credits go over; past entries stay where they
    are. The servers of who is gone are stopped and their tokens revoked; what these servers hold comes over
    once they have ended (`finish_merges`). Raises UnknownPerson, SamePerson, Suspended, RequestOpen,
    BadReason, and LiveServers while who is kept runs any.
    """
    text = require_reason(reason)
    kept, left = _both(session, keep, gone)
    seats = identities.memberships(session, left.id)
    for seat in seats:
        lock_team(session, seat.team_id)
    moved_micro = _join_accounts(session, kept, left, now=now)
    for seat in seats:
        _join_seats(session, seat.team_id, kept, left)
    identities.copy_acceptances(session, left.id, kept.id)
    moved = identities.move(session, left.id, kept.id) | {"membership.person_id": len(seats)}
    home = people.home(session, left.id)
    if people.home(session, kept.id) is None and accounts.of_person(session, kept.id) is not None:
        session.add(Home(person_id=kept.id, name=kept.home_folder, created_at=now))
    left.merged_into_id, left.suspended_at, left.suspension_reason = kept.id, now, MERGED
    web_sessions.remove_of(session, left.id)
    _end_at_hub(session, left, now=now)
    # Which mail they get is what who stays has chosen.
    outbox.forget_choices(session, left.id)
    record(session, Act.PEOPLE_MERGED, kept.id, by=actor, person_id=left.id, reason=text, now=now,
           after={"merged_id": left.id, "moved_micro": moved_micro, **moved})  # fmt: skip
    return Merged(moved, moved_micro, home.name if home else None)


def finish_merges(database: Database, *, now: datetime) -> int:
    """Give over what the last servers of merged people left, once these have ended; return of how many."""
    with database.reading_scope() as session:
        waiting = [(person.id, person.merged_into_id) for person in identities.unfinished(session)]
    for left_id, kept_id in waiting:
        assert kept_id is not None  # noqa: S101 - that is what they were looked for by
        with database.session_scope() as session:
            _finish(session, left_id, kept_id, now=now)
    return len(waiting)


def acting_on(session: Session, administrator_id: UUID, action: Action, *hub_names: str) -> UUID:
    """Return the administrator's id. Raises NotAllowed to others, and to who would act on themselves."""
    actor = overseer(session, administrator_id, action)
    if actor.hub_name in hub_names:
        raise NotAllowed()
    return actor.id


def require_no_servers(session: Session, person: Person) -> None:
    """Raise LiveServers while any runs."""
    running = len(holds.open_of_person(session, person.id))
    if running:
        raise LiveServers(person=person.hub_name, servers=running)


def _standing(session: Session, hub_name: str) -> Person:
    person = in_good_standing(people.lock(session, person_called(session, hub_name).id))
    require_no_servers(session, person)
    return person


def _both(session: Session, keep: str, gone: str) -> tuple[Person, Person]:
    ids = [person_called(session, name).id for name in (keep, gone)]
    if ids[0] == ids[1]:
        raise SamePerson(person=keep[:40])
    locked = {person_id: people.lock(session, person_id) for person_id in sorted(ids)}
    kept, left = (in_good_standing(locked[person_id]) for person_id in ids)
    require_no_servers(session, kept)
    return kept, left


def _end_at_hub(session: Session, left: Person, *, now: datetime) -> None:
    """Have the hub end what runs and every token under the name that nobody signs in with any more."""
    for hold in holds.open_of_person(session, left.id):
        intend(session, hold, StopReason.SUSPENDED, note=MERGED, now=now)
    order_revocation(session, left, now=now)


def _finish(session: Session, left_id: UUID, kept_id: UUID, *, now: datetime) -> None:
    mine, other = accounts.of_person(session, kept_id), accounts.of_person(session, left_id)
    moved_micro = 0
    if mine is not None and other is not None:
        source, target = other.allocation.id, mine.allocation.id
        accounts.lock(session, [source, target])
        moved_micro = ledger.balance(session, source)
        _pay_over(session, source, target, moved_micro, key=f"merge/{left_id}/{now.isoformat()}", now=now)
    moved = identities.move(session, left_id, kept_id, columns=identities.SERVERS)
    record(session, Act.PEOPLE_MERGED, kept_id, by=PLATFORM, person_id=left_id, now=now,
           after={"merged_id": left_id, "moved_micro": moved_micro, **moved})  # fmt: skip


def _rename(session: Session, person: Person, name: str, *, now: datetime) -> None:
    require_name(name)
    if people.is_taken(session, name):
        raise NameTaken(name=name)
    people.take_name(session, name, now=now)
    home, account = people.home(session, person.id), accounts.of_person(session, person.id)
    person.home_name = home.name if home else None
    person.hub_name = name
    if account is not None:
        account.slug = name
    web_sessions.remove_of(session, person.id)


def _address(email: str) -> str:
    text = email.strip()
    if text.count("@") != 1 or len(text) > LONGEST_EMAIL or any(sign.isspace() for sign in text):
        raise BadAddress(address=text[:60])
    return text


def _join_accounts(session: Session, kept: Person, left: Person, *, now: datetime) -> int:
    """Move what the account of who is gone has left, and its better tier; return the credits moved."""
    mine, other = accounts.of_person(session, kept.id), accounts.of_person(session, left.id)
    if other is None:
        return 0
    if mine is None:
        other.person_id = kept.id
        return 0
    accounts.lock(session, [mine.allocation.id, other.allocation.id])
    _join_requests(session, mine, other)
    ours, theirs = mine.allocation, other.allocation
    if list(TierSlug).index(theirs.tier) > list(TierSlug).index(ours.tier):
        ours.tier, ours.expires_at, ours.policy_version = (
            theirs.tier,
            theirs.expires_at,
            theirs.policy_version,
        )
        ours.told_days = theirs.told_days
    free = ledger.balance(session, theirs.id) - ledger.held(session, theirs.id)
    _pay_over(session, theirs.id, ours.id, free, key=f"merge/{left.id}", now=now)
    theirs.expires_at = theirs.closed_at = now
    return free


def _join_requests(session: Session, mine: Account, other: Account) -> None:
    """Let requests and awards be about the account that stays. Raises RequestOpen when both wait."""
    waiting = requests.open_of_account(session, other.id)
    if waiting is not None and requests.open_of_account(session, mine.id) is not None:
        raise RequestOpen(account=other.slug)
    for request in requests.every_of_account(session, other.id):
        request.account_id = mine.id


def _pay_over(session: Session, source: UUID, target: UUID, balance: int, *, key: str, now: datetime) -> None:
    """Transfer a balance, or the debt the other way; the audit finds both accounts whole."""
    if balance == 0:
        return
    giving, taking = (source, target) if balance > 0 else (target, source)
    ledger.transfer(
        session, giving, taking, abs(balance), key=key, at=now, actor=PLATFORM,
        reason="two people are one",
    )  # fmt: skip


def _join_seats(session: Session, team_id: UUID, kept: Person, left: Person) -> None:
    """Let who is kept have the seat, or the better of both roles."""
    mine, other = (teams.membership(session, team_id, each.id) for each in (kept, left))
    assert other is not None  # noqa: S101 - the caller has just read it
    if mine is None:
        identities.give_seat(session, team_id, left.id, kept.id)
        require_seat_left(session, kept)
        return
    roles = list(Role)
    better = min(mine.role, other.role, key=roles.index)
    teams.remove_seat(session, team_id, left.id)
    session.flush()
    mine.role = better
