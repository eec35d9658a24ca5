"""Events: made with credits and an end, joined by a code; at the end what was not used goes back.

An event is a team with an account of its own, so that admission, parts, statements and enforcement need not
know it. Nothing here stops a server: one that runs at the end goes on to its planned end on what was set
aside for it, and what then is left returns, too.
"""

import random
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain import events as rules
from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.errors import (
    AlreadyJoined,
    BadAmount,
    BadDate,
    EventFull,
    EventNotBegun,
    EventOver,
    TooManyTries,
    UnknownEvent,
    UnknownSize,
)
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.records import NEXUS, Act
from nexus_allocator.domain.rights import Action
from nexus_allocator.domain.states import EntryKind, NoticeKind, Role, ShareKind, TierSlug
from nexus_allocator.services import allocations, endings, teams
from nexus_allocator.services.notices import tell
from nexus_allocator.services.records import record
from nexus_allocator.services.rights import (
    in_good_standing,
    lock_team,
    overseer,
    person_called,
    themselves,
)
from nexus_allocator.store import accounts, events, holds, ledger, people
from nexus_allocator.store import teams as team_rows
from nexus_allocator.store.event_tables import Event
from nexus_allocator.store.session import Database
from nexus_allocator.store.tables import Account, Person, Share


@dataclass(frozen=True)
class Plan:
    """An event as it is asked for: one of ``per_person_micro`` and ``pool_micro``."""

    label: str
    sizes: tuple[str, ...]
    starts_at: datetime
    ends_at: datetime
    most_people: int
    per_person_micro: int | None = None
    pool_micro: int | None = None


@dataclass(frozen=True)
class EventRow:
    """An event as administrators see it; ``people`` have joined."""

    id: UUID
    slug: str
    label: str
    code: str
    sizes: tuple[str, ...]
    starts_at: datetime
    ends_at: datetime
    per_person_micro: int | None
    pool_micro: int | None
    most_people: int
    people: int
    closed_at: datetime | None


def make(
    session: Session, plan: Plan, *, policy: Policy, actor: str, rng: random.Random, now: datetime
) -> EventRow:
    """Make an event with its team, account and code; a shared pool is granted at once.

    Raises BadName, BadDate, BadAmount, UnknownSize.
    """
    require_sense(plan, policy, now=now)
    account = teams.found_without_lead(session, policy=policy, label=plan.label, tier=TierSlug.SPECIAL,
                                       actor=actor, now=now)  # fmt: skip
    allocation = accounts.by_id(session, account.id).allocation
    allocation.starts_at, allocation.sizes = plan.starts_at, list(plan.sizes)
    endings.begin_anew(session, allocation, expires_at=plan.ends_at)
    assert account.team_id is not None  # noqa: S101 - made as a team's
    event = Event(
        team_id=account.team_id, code=_free_code(session, rng), sizes=list(plan.sizes),
        starts_at=plan.starts_at, ends_at=plan.ends_at, per_person_micro=plan.per_person_micro,
        pool_micro=plan.pool_micro, most_people=plan.most_people, made_at=now,
    )  # fmt: skip
    events.add(session, event)
    record(session, Act.EVENT_MADE, account.team_id, by=actor, now=now, after={
        "sizes": list(plan.sizes), "starts_at": plan.starts_at, "ends_at": plan.ends_at,
        "most_people": plan.most_people, "per_person_micro": plan.per_person_micro,
        "pool_micro": plan.pool_micro,
    })  # fmt: skip
    if plan.pool_micro is not None:
        allocations.award(session, allocation.id, plan.pool_micro, key=f"event/{event.id}", actor=actor,
                          reason="shared credits of an event", now=now)  # fmt: skip
    return row_of(session, event.id)


def make_as_administrator(
    session: Session,
    plan: Plan,
    *,
    policy: Policy,
    administrator_id: UUID,
    rng: random.Random,
    now: datetime,
) -> EventRow:
    """As `make`. Raises NotAllowed."""
    actor = overseer(session, administrator_id, Action.EVENT_MAKE)
    return make(session, plan, policy=policy, actor=actor.hub_name, rng=rng, now=now)


def require_sense(plan: Plan, policy: Policy, *, now: datetime) -> None:
    """Raise what is wrong with the plan, if anything."""
    teams.require_label(plan.label)
    offered = policy.tiers[TierSlug.SPECIAL].sizes
    for slug in plan.sizes:
        if slug not in offered:
            raise UnknownSize(size=slug[:40], known=list(offered))
    if not plan.sizes:
        raise UnknownSize(size="none", known=list(offered))
    if plan.ends_at <= now or not rules.length_is_sound(plan.starts_at, plan.ends_at):
        must_be = "in the future, after the beginning and within a year of it"
        raise BadDate(date=plan.ends_at.isoformat(timespec="minutes"), must_be=must_be)
    if not 0 < plan.most_people <= rules.MOST_PEOPLE:
        raise BadAmount(amount=plan.most_people, must_be=f"from 1 to {rules.MOST_PEOPLE:,} people")
    given = [amount for amount in (plan.per_person_micro, plan.pool_micro) if amount is not None]
    if len(given) != 1 or not 0 < given[0] <= allocations.LARGEST_MICRO:
        raise BadAmount(amount=sum(given) / MICRO, must_be=allocations.GRANT_RANGE)


def note_try(session: Session, *, hub_name: str, now: datetime) -> None:
    """Count a try of a code, in a transaction of its own. Raises UnknownPerson, TooManyTries."""
    person = people.lock(session, person_called(session, hub_name).id)
    since = now - rules.TRIES_WITHIN
    if events.tries(session, person.id, since=since) >= rules.MOST_TRIES:
        raise TooManyTries(most=rules.MOST_TRIES, minutes=int(rules.TRIES_WITHIN.total_seconds() // 60))
    events.add_try(session, person.id, now=now, forget_before=since)


def join(session: Session, *, code: str, hub_name: str, now: datetime) -> str:
    """Let a person join by code and return the event's name; credits per person are granted with it.

    Raises Suspended, UnknownEvent, AlreadyJoined, EventOver, EventNotBegun, EventFull.
    """
    person = in_good_standing(themselves(session, hub_name, Action.EVENT_JOIN))
    event = events.by_code(session, rules.typed_code(code))
    if event is None:
        raise UnknownEvent()
    lock_team(session, event.team_id)
    events.again(session, event)
    _require_open(session, event, person, now=now)
    teams.seat(session, event.team, person, Role.MEMBER, by=person.id, now=now)
    if event.per_person_micro is not None:
        _give_part(session, event, person, event.per_person_micro, now=now)
    record(session, Act.EVENT_JOINED, event.team_id, by=person.id, now=now)
    return event.team.label


def _require_open(session: Session, event: Event, person: Person, *, now: datetime) -> None:
    label = event.team.label
    if team_rows.membership(session, event.team_id, person.id) is not None:
        raise AlreadyJoined(event=label)
    if event.ends_at <= now:
        raise EventOver(event=label, ended=event.ends_at.date().isoformat())
    if now < event.starts_at:
        raise EventNotBegun(event=label, starts=event.starts_at.isoformat(sep=" ", timespec="minutes")[:16])
    if events.people(session, event.team_id) >= event.most_people:
        raise EventFull(event=label, most=event.most_people)


def _give_part(session: Session, event: Event, person: Person, amount_micro: int, *, now: datetime) -> None:
    """Grant one person's credits, once, and keep them for that person's own servers."""
    account = team_rows.account_of(session, event.team_id)
    key = f"event/{event.id}/{person.id}"
    if not ledger.has_entry(session, f"{EntryKind.GRANT}/{key}"):
        allocations.award(session, account.allocation.id, amount_micro, key=key, actor=NEXUS,
                          reason="credits of one person in an event", now=now)  # fmt: skip
    session.add(
        Share(team_id=event.team_id, person_id=person.id, subgroup_id=None, kind=ShareKind.CAP,
              amount_micro=amount_micro, set_at=now)
    )  # fmt: skip
    session.flush()


def end(session: Session, event_id: UUID, *, actor: str, reason: str, now: datetime) -> None:
    """Let an event end now; what runs goes on to its planned end.

    Raises UnknownEvent, BadReason, EventOver.
    """
    text = allocations.require_reason(reason)
    event = events.by_id(session, event_id)
    if event is None:
        raise UnknownEvent()
    lock_team(session, event.team_id)
    events.again(session, event)
    if event.ends_at <= now:
        raise EventOver(event=event.team.label, ended=event.ends_at.date().isoformat())
    record(session, Act.EVENT_ENDED, event.team_id, by=actor, reason=text, before={"ends_at": event.ends_at},
           after={"ends_at": now}, now=now)  # fmt: skip
    event.starts_at, event.ends_at = min(event.starts_at, now - rules.SHORTEST), now
    account = team_rows.account_of(session, event.team_id)
    account.allocation.expires_at = now
    turn(session, event_id, now=now)


def end_as_administrator(
    session: Session, event_id: UUID, *, administrator_id: UUID, reason: str, now: datetime
) -> None:
    """As `end`. Raises NotAllowed."""
    actor = overseer(session, administrator_id, Action.EVENT_END)
    end(session, event_id, actor=actor.hub_name, reason=reason, now=now)


def turn_all(database: Database, *, now: datetime) -> int:
    """Do what the clock owes the events that ended, each in a transaction of its own; return how many."""
    with database.reading_scope() as session:
        due = events.over(session, now=now)
    for event_id in due:
        with database.session_scope() as session:
            turn(session, event_id, now=now)
    return len(due)


def turn(session: Session, event_id: UUID, *, now: datetime) -> None:
    """Tell people of the end once, and take back what is neither used nor held. Again, it does the rest."""
    event = events.by_id(session, event_id)
    assert event is not None  # noqa: S101 - rows are never deleted
    lock_team(session, event.team_id)
    events.again(session, event)
    if event.closed_at is not None or now < event.ends_at:
        return
    account = team_rows.account_of(session, event.team_id)
    running = len(holds.open_of_allocation(session, account.allocation.id))
    if event.ended_at is None:
        event.ended_at = account.allocation.closed_at = now
        _take_back(session, event, account, when="ended", now=now)
        _tell(session, event, now=now)
    if not running:
        event.closed_at = now
        _take_back(session, event, account, when="closed", now=now)


def _take_back(session: Session, event: Event, account: Account, *, when: str, now: datetime) -> None:
    allocation_id = account.allocation.id
    free = ledger.balance(session, allocation_id) - ledger.held(session, allocation_id)
    if free > 0:
        key = f"{EntryKind.LAPSE}/event/{event.id}/{when}"
        ledger.append(
            session, allocation_id, -free, kind=EntryKind.LAPSE, key=key, at=now, actor=NEXUS,
            reason="the event is over",
        )  # fmt: skip
    record(session, Act.EVENT_CLOSED, event.team_id, by=NEXUS, now=now,
           after={"returned_micro": max(free, 0), "state": when})  # fmt: skip


def _tell(session: Session, event: Event, *, now: datetime) -> None:
    for person_id in events.members(session, event.team_id):
        tell(session, person_id, NoticeKind.EVENT_ENDED, key=f"event-ended/{event.id}",
             facts={"event": event.team.label}, now=now)  # fmt: skip


def listing(session: Session, *, limit: int = 200) -> list[EventRow]:
    """Return the events, the latest to end first."""
    return [_row(event, count) for event, count in events.every(session, limit=limit)]


def row_of(session: Session, event_id: UUID) -> EventRow:
    """Return one event. Raises UnknownEvent."""
    event = events.by_id(session, event_id)
    if event is None:
        raise UnknownEvent()
    return _row(event, events.people(session, event.team_id))


def coded(session: Session, code: str) -> UUID:
    """Return the id of the event with this code. Raises UnknownEvent."""
    event = events.by_code(session, rules.typed_code(code))
    if event is None:
        raise UnknownEvent()
    return event.id


def _row(event: Event, count: int) -> EventRow:
    return EventRow(
        id=event.id, slug=event.team.slug, label=event.team.label, code=rules.shown_code(event.code),
        sizes=tuple(event.sizes), starts_at=event.starts_at, ends_at=event.ends_at,
        per_person_micro=event.per_person_micro, pool_micro=event.pool_micro, most_people=event.most_people,
        people=count, closed_at=event.closed_at,
    )  # fmt: skip


def _free_code(session: Session, rng: random.Random) -> str:
    while events.by_code(session, code := rules.new_code(rng)) is not None:
        continue
    return code
