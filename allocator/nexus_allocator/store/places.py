"""Places, the volumes that they lie on, what was found in them, and their charged days."""

from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CompoundSelect,
    Select,
    case,
    cast,
    delete,
    extract,
    func,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased, defer, joinedload

from nexus_allocator.domain.places import Place, PlaceKind
from nexus_allocator.store.places_tables import PlaceDay, PlaceRow, PlaceUsage, VolumeRow
from nexus_allocator.store.tables import Account, Home, Membership, Person, Team


def add(session: Session, row: PlaceRow | PlaceUsage | VolumeRow) -> None:
    session.add(row)
    session.flush()


def _with_account() -> Select[PlaceRow]:
    return select(PlaceRow).options(joinedload(PlaceRow.account).joinedload(Account.allocation))


def called(session: Session, place: Place) -> PlaceRow | None:
    found = _with_account().where(PlaceRow.kind == place.kind, PlaceRow.name == place.name)
    return session.scalar(found)


def lock(session: Session, place_id: UUID) -> PlaceRow | None:
    found = _with_account().where(PlaceRow.id == place_id)
    return session.scalar(found.with_for_update(of=PlaceRow).execution_options(populate_existing=True))


def by_id(session: Session, place_id: UUID) -> PlaceRow | None:
    return session.scalar(_with_account().where(PlaceRow.id == place_id))


def of_account(session: Session, account_id: UUID) -> Sequence[PlaceRow]:
    found = _with_account().where(PlaceRow.account_id == account_id)
    return session.scalars(found.order_by(PlaceRow.kind, PlaceRow.name)).all()


def reached_by(session: Session, person_id: UUID) -> Sequence[PlaceRow]:
    """Return a person's own places and those of the teams that they are in: home, scratch, teams by name."""
    teams = select(Membership.team_id).where(Membership.person_id == person_id)
    mine = or_(Account.person_id == person_id, Account.team_id.in_(teams))
    found = _with_account().join(Account, Account.id == PlaceRow.account_id).where(mine)
    return session.scalars(found.order_by(Account.kind, PlaceRow.kind, PlaceRow.name)).all()


class Laid(NamedTuple):
    """A place that was made: on which volume, until when it is leased (None: it is no scratch)."""

    place: Place
    volume: str | None
    ends_at: datetime | None
    is_over: bool


def laid(session: Session, person_id: UUID, team_ids: Collection[UUID]) -> list[Laid]:
    """Return the places of a person and of teams that were made, by kind and name."""
    # Each half by an index of its own: either or both in one condition would read all accounts.
    own = select(Account.id).where(Account.person_id == person_id)
    theirs = union_all(own, select(Account.id).where(Account.team_id.in_(team_ids))) if team_ids else own
    return _laid(session, theirs)


def laid_of_team(session: Session, team_id: UUID) -> list[Laid]:
    """Return the places of a team that were made."""
    return _laid(session, select(Account.id).where(Account.team_id == team_id))


def _laid(session: Session, account_ids: Select[UUID] | CompoundSelect[UUID]) -> list[Laid]:
    columns = (PlaceRow.kind, PlaceRow.name, PlaceRow.volume, PlaceRow.ends_at, PlaceRow.over_since)
    made = select(*columns).where(PlaceRow.account_id.in_(account_ids), PlaceRow.made_at.is_not(None))
    rows = session.execute(made.order_by(PlaceRow.kind, PlaceRow.name))
    return [
        Laid(Place(kind, name), volume, ends_at, over_since is not None)
        for kind, name, volume, ends_at, over_since in rows
    ]


def every(session: Session) -> Sequence[PlaceRow]:
    return session.scalars(_with_account().order_by(PlaceRow.kind, PlaceRow.name)).all()


def every_id(session: Session) -> Sequence[UUID]:
    return session.scalars(_living().order_by(PlaceRow.kind, PlaceRow.name)).all()


def _living() -> Select[UUID]:
    """Return a query of the ids of places, without those of people who were erased."""
    erased = select(Person.id).where(Person.id == Account.person_id, Person.erased_at.is_not(None))
    return select(PlaceRow.id).join(Account, Account.id == PlaceRow.account_id).where(~erased.exists())


def leases_ending(session: Session, *, before: datetime) -> Sequence[UUID]:
    """Return the scratches whose lease ends before then and was not ended."""
    found = _living().where(PlaceRow.ends_at <= before, PlaceRow.ended_at.is_(None))
    return session.scalars(found.order_by(PlaceRow.ends_at)).all()


def undone(session: Session) -> Sequence[UUID]:
    """Return the places that are on no volume, or were not seen to be as their rows say."""
    limit = PlaceRow.applied_bytes.is_distinct_from(PlaceRow.limit_bytes)
    found = _living().where(or_(PlaceRow.volume.is_(None), PlaceRow.made_at.is_(None), limit))
    return session.scalars(found.order_by(PlaceRow.kind, PlaceRow.name)).all()


def made(session: Session) -> Sequence[UUID]:
    """Return the places that lie on a volume."""
    return session.scalars(
        select(PlaceRow.id).where(PlaceRow.made_at.is_not(None)).order_by(PlaceRow.id)
    ).all()


def on_volume(session: Session, name: str) -> Sequence[PlaceRow]:
    """Return the places that were made on a volume."""
    found = _with_account().where(PlaceRow.volume == name, PlaceRow.made_at.is_not(None))
    return session.scalars(found.order_by(PlaceRow.kind, PlaceRow.name)).all()


def overfull_of_person(session: Session, person_id: UUID) -> Sequence[PlaceRow]:
    """Return a person's own places that held more than their soft limit when last looked at."""
    found = _with_account().join(Account, Account.id == PlaceRow.account_id)
    return session.scalars(
        found.where(Account.person_id == person_id, PlaceRow.over_since.is_not(None))
    ).all()


def volume(session: Session, name: str) -> VolumeRow | None:
    return session.get(VolumeRow, name)


def volumes(session: Session) -> Sequence[VolumeRow]:
    return session.scalars(select(VolumeRow).order_by(VolumeRow.opened_at, VolumeRow.name)).all()


def volume_with_room(session: Session) -> str | None:
    """Return the open volume with the fewest places that takes another; None when there is none."""
    places = func.count(PlaceRow.id)
    found = select(VolumeRow.name).outerjoin(PlaceRow, PlaceRow.volume == VolumeRow.name)
    found = found.where(VolumeRow.closed_at.is_(None)).group_by(VolumeRow.name, VolumeRow.most_places)
    room = found.having(or_(VolumeRow.most_places.is_(None), places < VolumeRow.most_places))
    return session.scalar(room.order_by(places, VolumeRow.name).limit(1))


def without_place(session: Session) -> Sequence[Account]:
    """Return the accounts that have neither home nor team folder: people with a home, and all teams."""
    own = select(PlaceRow.id).where(PlaceRow.account_id == Account.id, PlaceRow.kind != PlaceKind.SCRATCH)
    housed = select(Home.person_id).where(Home.person_id == Account.person_id)
    wanted = or_(Account.team_id.is_not(None), housed.exists())
    found = select(Account).options(joinedload(Account.allocation)).where(wanted, ~own.exists())
    return session.scalars(found.order_by(Account.slug)).all()


def team_gid(session: Session, team_id: UUID) -> int:
    return session.scalars(select(Team.gid).where(Team.id == team_id)).one()


def latest_usage(
    session: Session,
    place_ids: Collection[UUID],
    *,
    until: datetime | None = None,
    with_parts: bool = False,
) -> dict[UUID, PlaceUsage]:
    """Return what was last found in each of the places, until a moment or now; its parts only if asked."""
    newest = select(PlaceUsage.place_id, func.max(PlaceUsage.at).label("at")).group_by(PlaceUsage.place_id)
    if until is not None:
        newest = newest.where(PlaceUsage.at <= until)
    last = newest.where(PlaceUsage.place_id.in_(place_ids)).subquery()
    found = select(PlaceUsage).join(
        last, (PlaceUsage.place_id == last.c.place_id) & (PlaceUsage.at == last.c.at)
    )
    if not with_parts:
        found = found.options(defer(PlaceUsage.parts, raiseload=True))
    return {row.place_id: row for row in session.scalars(found)}


def add_usage(session: Session, row: PlaceUsage) -> None:
    """Keep what was found; a second look of the same moment takes the first one's place."""
    session.merge(row)
    session.flush()


def usage_before(session: Session, place_id: UUID, moment: datetime) -> PlaceUsage | None:
    """Return what was last found in the place before ``moment``."""
    found = select(PlaceUsage).where(PlaceUsage.place_id == place_id, PlaceUsage.at < moment)
    return session.scalar(found.order_by(PlaceUsage.at.desc()).limit(1))


def thin_usage(session: Session, *, before: datetime, period: timedelta) -> None:
    """Leave of each place the last look of each period before ``before``.

    PostgreSQL rounds a moment to its second here: a look at a period's very end may count to the next.
    """
    seconds = cast(extract("epoch", PlaceUsage.at), BigInteger)
    number = (seconds // int(period.total_seconds())).label("number")
    old = select(PlaceUsage.place_id, PlaceUsage.at, number).where(PlaceUsage.at < before).subquery()
    last = select(old.c.place_id, func.max(old.c.at).label("at")).group_by(old.c.place_id, old.c.number)
    kept = last.subquery()
    is_kept = select(kept.c.at).where(kept.c.place_id == PlaceUsage.place_id, kept.c.at == PlaceUsage.at)
    gone = delete(PlaceUsage).where(PlaceUsage.at < before, ~is_kept.exists())
    session.execute(gone.execution_options(synchronize_session=False))


def forget_parts(session: Session, *, before: datetime) -> None:
    """Forget what places were made of before ``before``, save at each one's last look."""
    later = aliased(PlaceUsage)
    follows = select(later.at).where(later.place_id == PlaceUsage.place_id, later.at > PlaceUsage.at)
    old = update(PlaceUsage).where(PlaceUsage.at < before, PlaceUsage.parts.is_not(None), follows.exists())
    session.execute(old.values(parts=None).execution_options(synchronize_session=False))


def keep_day(session: Session, row: PlaceDay) -> bool:
    """Keep a place's charged day; False when it was kept before."""
    if session.get(PlaceDay, (row.place_id, row.day)) is not None:
        return False
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        return False
    return True


def last_day(session: Session, place_id: UUID) -> date | None:
    return session.scalar(select(func.max(PlaceDay.day)).where(PlaceDay.place_id == place_id))


def paid_since(session: Session, place_ids: Collection[UUID], first: date) -> dict[UUID, int]:
    """Return what each place was charged from the day ``first`` on."""
    found = select(PlaceDay.place_id, func.sum(PlaceDay.paid_micro))
    rows = session.execute(
        found.where(PlaceDay.place_id.in_(place_ids), PlaceDay.day >= first).group_by(PlaceDay.place_id)
    )
    return {row[0]: int(row[1]) for row in rows}


class PlacesNow(NamedTuple):
    """Of one kind: all places, those not seen to be as ordered, those that hold more than they should."""

    places: int
    undone: int
    overfull: int


def now_by_kind(session: Session) -> dict[PlaceKind, PlacesNow]:
    """Return the places of each kind in figures."""
    limit = PlaceRow.applied_bytes.is_distinct_from(PlaceRow.limit_bytes)
    undone = case((or_(PlaceRow.made_at.is_(None), limit), 1), else_=0)
    overfull = case((PlaceRow.over_since.is_not(None), 1), else_=0)
    sums = (func.count(PlaceRow.id), func.sum(undone), func.sum(overfull))
    rows = session.execute(select(PlaceRow.kind, *sums).group_by(PlaceRow.kind))
    return {row[0]: PlacesNow(*(int(each) for each in row[1:])) for row in rows}
