"""Admission: may this server start, and on whose credits. Yes places a hold; no says why, with arithmetic."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.endings import ReadOnly
from nexus_allocator.domain.errors import (
    AgreementRequired,
    ReadOnlyNow,
    TeamPays,
    UnknownMember,
    UnknownPerson,
)
from nexus_allocator.domain.launches import Price, planned_minutes
from nexus_allocator.domain.places import Place, PlaceKind
from nexus_allocator.domain.policy import Image, Policy, Size
from nexus_allocator.domain.room import Room, require_room
from nexus_allocator.domain.states import HoldState, StopReason
from nexus_allocator.domain.stops import Evidence
from nexus_allocator.domain.teams import server_of_team
from nexus_allocator.services import endings, maintenance, pool, shares
from nexus_allocator.services import holds as lifecycle
from nexus_allocator.services.rights import account_to_charge, in_good_standing, locked_person_called
from nexus_allocator.store import accounts, holds, people, places, teams
from nexus_allocator.store import room as rooms
from nexus_allocator.store.session import announce
from nexus_allocator.store.tables import Account, Allocation, Hold, Person, Team

UMASK = "0027"
# What somebody writes in a team's own server is the team's.
TEAM_UMASK = "0007"


@dataclass(frozen=True)
class Launch:
    """What a launch asks for, as the hub sent it; nothing in it is trusted but who asks.

    ``hub_name`` is the account whose server it is, a person's or a team's; ``started_by`` the person who
    asked, None when nobody did: a service of the hub.
    """

    hub_name: str
    server_name: str
    account: str
    size: str
    image: str
    hours: object
    started_by: str | None = None


@dataclass(frozen=True)
class Admission:
    """A yes: the hold, and everything the spawner needs to start the server."""

    hold_id: UUID
    account: str
    size: Size
    image: str
    until: datetime
    rate_micro_per_hour: int
    home: str
    uid: int
    gid: int
    supplemental_gids: list[int]
    teams: list[str]
    scratch: list[str]
    volumes: dict[str, str]
    home_is_over: bool
    umask: str = UMASK
    read_only: bool = False
    team: str | None = None
    """The team whose own server it is; then it has no home."""


@dataclass(frozen=True)
class _Order:
    """A launch whose words were checked against the policy; ``person`` answers for it.

    ``team`` is there when the server is the team's own.
    """

    person: Person
    team: Team | None
    account: Account
    server_name: str
    size: Size
    image: Image
    price: Price


def admit(
    session: Session, launch: Launch, *, policy: Policy, grace_minutes: int, now: datetime
) -> Admission:
    """Set aside what the launch may cost, or refuse.

    The allocation stays locked until the transaction ends, so of two servers started together only
    one can take the last hour. Raises the AllocatorError that says why not.
    """
    maintenance.require_open(session, now=now)
    order = _checked(session, launch, policy=policy, grace_minutes=grace_minutes)
    allocation = _lock_after_earlier(session, order, now=now)
    reading = endings.before_launch(session, order.account, allocation, policy=policy, now=now)
    if reading is not None:
        return _admit_to_read(session, policy, order, allocation, offered=reading, now=now)
    _require_room(session, policy, order, allocation, now=now)
    wanted = shares.Wanted(order.account, order.person.id, order.size, order.price)
    subgroup_id = shares.require_part(session, wanted, allocation, policy=policy, now=now)
    hold = _place(session, policy, order, allocation, subgroup_id=subgroup_id, now=now)
    return _admission(session, order, hold, now=now)


def _checked(session: Session, launch: Launch, *, policy: Policy, grace_minutes: int) -> _Order:
    person, team = _who_starts(session, launch)
    in_good_standing(person)
    if not people.has_accepted(session, person.id, policy.agreement.version):
        raise AgreementRequired(version=policy.agreement.version)
    account = account_to_charge(session, person, launch.account)
    if team is not None and account.team_id != team.id:
        raise TeamPays(team=team.slug)
    size, image = policy.size(launch.size), policy.image(launch.image)
    minutes = planned_minutes(launch.hours, policy.hours)
    price = Price(policy.rate_micro(size), minutes, grace_minutes)
    name = server_of_team(team.slug) if team else launch.server_name
    return _Order(person, team, account, name, size, image, price)


def _who_starts(session: Session, launch: Launch) -> tuple[Person, Team | None]:
    """Return who answers for the server, locked, and the team whose own it is.

    For a team's server that is who asked for it, and its lead when a service did. Raises UnknownPerson,
    and UnknownMember for a team without a lead.
    """
    person = people.lock_called(session, launch.hub_name)
    if person is not None:
        return person, None
    team = accounts.team_by_slug(session, launch.hub_name)
    if team is None:
        raise UnknownPerson(person=launch.hub_name[:40])
    if launch.started_by is not None:
        return locked_person_called(session, launch.started_by), team
    lead = teams.lead(session, team.id)
    if lead is None:
        raise UnknownMember(person="a lead", team=team.label)
    return people.lock(session, lead), team


def _lock_after_earlier(session: Session, order: _Order, *, now: datetime) -> Allocation:
    """Return the allocation to charge, locked, after ending what is left of the server's earlier run.

    The hub starts a server only when it knows it is not running, so an earlier hold has ended.
    """
    if order.team is not None:
        earlier = holds.open_of_team(session, order.team.slug)
    else:
        earlier = holds.open_of_server(session, order.person.id, order.server_name)
    wanted = order.account.allocation.id
    locked = accounts.lock(session, {wanted} | ({earlier.allocation_id} if earlier else set()))
    if earlier is not None:
        replaced = StopReason.REPLACED if earlier.state == HoldState.PLACED else None
        lifecycle.settle(session, earlier.id, Evidence(), reason=replaced, now=now)
    return locked[wanted]


def _admit_to_read(
    session: Session,
    policy: Policy,
    order: _Order,
    allocation: Allocation,
    *,
    offered: ReadOnly,
    now: datetime,
) -> Admission:
    """Admit the one small server of the days of grace, which costs nothing. Raises ReadOnlyNow."""
    fits = order.size == offered.size and order.price.planned_minutes <= offered.minutes_left
    if not fits or rooms.left(session, allocation.id).live:
        until = allocation.expires_at + policy.tiers[allocation.tier].grace
        raise ReadOnlyNow(
            account=order.account.slug, until=until.date().isoformat(), size=offered.size.label,
            hours_left=offered.minutes_left / 60,
        )  # fmt: skip
    free = replace(order, price=replace(order.price, rate_micro_per_hour=0))
    hold = _place(session, policy, free, allocation, subgroup_id=None, now=now)
    hold.read_only = True
    whole = _admission(session, free, hold, now=now)
    return replace(whole, read_only=True, supplemental_gids=[], teams=[], scratch=[])


def _require_room(
    session: Session, policy: Policy, order: _Order, allocation: Allocation, *, now: datetime
) -> None:
    left = rooms.left(session, allocation.id)
    room = Room(
        account=order.account.slug,
        tier=allocation.tier,
        expires_at=allocation.expires_at,
        live=left.live,
        gpus=left.gpus,
        available_micro=left.available_micro,
        sizes=tuple(allocation.sizes) if allocation.sizes is not None else None,
    )
    require_room(policy, room, order.size, order.price, now=now)
    pool.require_no_brake(session, policy, order.size, policy.tiers[allocation.tier], now=now)


def _place(
    session: Session,
    policy: Policy,
    order: _Order,
    allocation: Allocation,
    *,
    subgroup_id: UUID | None,
    now: datetime,
) -> Hold:
    price, size = order.price, order.size
    hold = Hold(
        allocation_id=allocation.id, person_id=order.person.id, subgroup_id=subgroup_id,
        server_name=order.server_name,
        state=HoldState.PLACED, size=size.slug, cpu=size.cpu, memory_bytes=size.memory_bytes, gpu=size.gpu,
        image=order.image.slug, planned_minutes=price.planned_minutes, grace_minutes=price.grace_minutes,
        rate_micro_per_hour=price.rate_micro_per_hour, rate_card_version=policy.rate_card.version,
        amount_micro=price.amount_micro, placed_at=now,
        until=now + timedelta(minutes=price.planned_minutes + price.grace_minutes),
    )  # fmt: skip
    session.add(hold)
    session.flush()
    announce(
        session, "admitted", hold_id=hold.id, allocation_id=allocation.id, size=size.slug,
        minutes=price.planned_minutes, amount_micro=hold.amount_micro,
    )  # fmt: skip
    return hold


def _admission(session: Session, order: _Order, hold: Hold, *, now: datetime) -> Admission:
    if order.team is not None:
        return _team_admission(session, order, order.team, hold)
    joined = accounts.teams_of(session, order.person.id)
    laid = places.laid(session, order.person.id, [team.id for team in joined])
    home = Place(PlaceKind.HOME, order.person.home_folder)
    return Admission(
        hold_id=hold.id,
        account=order.account.slug,
        size=order.size,
        image=order.image.slug,
        until=hold.until,
        rate_micro_per_hour=hold.rate_micro_per_hour,
        home=order.person.home_folder,
        uid=order.person.uid,
        gid=order.person.uid,
        supplemental_gids=[team.gid for team in joined],
        teams=[team.slug for team in joined],
        scratch=[each.place.name for each in laid if each.ends_at is not None and each.ends_at > now],
        volumes={str(each.place): each.volume for each in laid if each.volume is not None},
        home_is_over=any(each.is_over and each.place == home for each in laid),
    )


def _team_admission(session: Session, order: _Order, team: Team, hold: Hold) -> Admission:
    """Return what the team's own server may have: the team's folder and nothing of who started it.

    Its uid is the number of the team's group: numbers of people and of teams never meet.
    """
    laid = places.laid_of_team(session, team.id)
    return Admission(
        hold_id=hold.id, account=order.account.slug, size=order.size, image=order.image.slug,
        until=hold.until, rate_micro_per_hour=hold.rate_micro_per_hour, home="", uid=team.gid, gid=team.gid,
        supplemental_gids=[team.gid], teams=[team.slug], scratch=[],
        volumes={str(each.place): each.volume for each in laid if each.volume is not None},
        home_is_over=False, umask=TEAM_UMASK, team=team.slug,
    )  # fmt: skip
