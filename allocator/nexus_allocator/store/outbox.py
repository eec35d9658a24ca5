"""Rows of the outbox: written once by their key, claimed by one deliverer at a time, and looked through."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from nexus_allocator.domain.mailing import MailKind, Timing
from nexus_allocator.domain.outbox import OVER, Channel, OutgoingState
from nexus_allocator.store.outbox_tables import MailPreference, Outgoing
from nexus_allocator.store.tables import Person


def add_once(session: Session, row: Outgoing) -> bool:
    """Write the row unless one with its key is there; say whether it is new."""
    if session.scalar(select(Outgoing.id).where(Outgoing.key == row.key)) is not None:
        return False
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        # Another transaction wrote it meanwhile.
        return False
    return True


def by_id(session: Session, row_id: UUID) -> Outgoing | None:
    return session.get(Outgoing, row_id)


def lock(session: Session, row_id: UUID) -> Outgoing | None:
    return session.get(Outgoing, row_id, with_for_update=True, populate_existing=True)


def _due(channels: Collection[Channel], now: datetime) -> ColumnElement[bool]:
    free = or_(Outgoing.claimed_until.is_(None), Outgoing.claimed_until <= now)
    waits = and_(Outgoing.state == OutgoingState.WAITING, Outgoing.due_at <= now)
    return and_(waits, Outgoing.channel.in_(channels), free)


def any_due(session: Session, channels: Collection[Channel], *, now: datetime) -> bool:
    return session.scalar(select(Outgoing.id).where(_due(channels, now)).limit(1)) is not None


def claim(
    session: Session,
    channels: Collection[Channel],
    *,
    only: Collection[UUID] | None,
    holder: UUID,
    until: datetime,
    now: datetime,
) -> Outgoing | None:
    """Claim the row that is due longest, and count the attempt; None when none is due.

    Rows that another deliverer claims at this moment are passed over, not waited for. SQLite knows no row
    locks; there its one writer at a time makes the claim.
    """
    found = select(Outgoing).where(_due(channels, now)).order_by(Outgoing.due_at, Outgoing.created_at)
    if only is not None:
        found = found.where(Outgoing.id.in_(only))
    row = session.scalar(found.limit(1).with_for_update(skip_locked=True))
    if row is not None:
        row.claimed_by, row.claimed_until, row.attempts = holder, until, row.attempts + 1
        session.flush()
    return row


def people_awaiting_digest(session: Session, *, before: datetime) -> Sequence[UUID]:
    found = select(Outgoing.person_id).where(Outgoing.state == OutgoingState.FOR_DIGEST)
    rows = session.scalars(found.where(Outgoing.created_at < before).distinct())
    return [person_id for person_id in rows if person_id is not None]


def for_digest(session: Session, person_id: UUID, *, before: datetime) -> Sequence[Outgoing]:
    """Return what waits for a person's digest, the oldest first, locked."""
    found = select(Outgoing).where(
        Outgoing.state == OutgoingState.FOR_DIGEST,
        Outgoing.person_id == person_id,
        Outgoing.created_at < before,
    )
    return session.scalars(found.order_by(Outgoing.created_at, Outgoing.id).with_for_update()).all()


def waiting_for(session: Session, channel: Channel, kind: str, *, key_begins: str) -> Outgoing | None:
    """Return a row of this kind that is still to be sent and whose key begins so."""
    found = select(Outgoing).where(
        Outgoing.channel == channel,
        Outgoing.kind == kind,
        Outgoing.state == OutgoingState.WAITING,
        Outgoing.key.startswith(key_begins, autoescape=True),
    )
    return session.scalar(found.limit(1))


def _wanted(states: Collection[OutgoingState] | None, channel: Channel | None) -> Select[Outgoing, str]:
    found = select(Outgoing, Person.display_name).outerjoin(Person, Person.id == Outgoing.person_id)
    if states is not None:
        found = found.where(Outgoing.state.in_(states))
    return found if channel is None else found.where(Outgoing.channel == channel)


def page(
    session: Session,
    *,
    states: Collection[OutgoingState] | None,
    channel: Channel | None,
    limit: int,
    offset: int,
) -> Sequence[tuple[Outgoing, str | None]]:
    """Return rows, the latest first, each with its person's name."""
    order = (Outgoing.created_at.desc(), Outgoing.id)
    rows = session.execute(_wanted(states, channel).order_by(*order).limit(limit).offset(offset))
    return [(row[0], row[1]) for row in rows]


def page_after(
    session: Session,
    *,
    states: Collection[OutgoingState] | None,
    channel: Channel | None,
    last: tuple[datetime, UUID] | None,
    limit: int,
) -> Sequence[tuple[Outgoing, str | None]]:
    """Return rows as `page` does, from the one on that comes after another's moment and id."""
    found = _wanted(states, channel)
    if last is not None:
        same_moment = and_(Outgoing.created_at == last[0], Outgoing.id > last[1])
        found = found.where(or_(Outgoing.created_at < last[0], same_moment))
    rows = session.execute(found.order_by(Outgoing.created_at.desc(), Outgoing.id).limit(limit))
    return [(row[0], row[1]) for row in rows]


def count(session: Session, *, states: Collection[OutgoingState] | None, channel: Channel | None) -> int:
    inner = _wanted(states, channel).with_only_columns(Outgoing.id).subquery()
    return session.scalar(select(func.count()).select_from(inner)) or 0


def counts(session: Session) -> Mapping[OutgoingState, int]:
    rows = session.execute(select(Outgoing.state, func.count()).group_by(Outgoing.state))
    return {row[0]: row[1] for row in rows}


def revive(session: Session, *, only: UUID | None, channel: Channel | None, now: datetime) -> int:
    """Let dead rows wait again, due now and with all their attempts; return how many."""
    wanted = Outgoing.state == OutgoingState.DEAD
    if only is not None:
        wanted = and_(wanted, Outgoing.id == only)
    if channel is not None:
        wanted = and_(wanted, Outgoing.channel == channel)
    revived = (
        update(Outgoing)
        .where(wanted)
        .values(
            state=OutgoingState.WAITING, due_at=now, attempts=0, claimed_by=None, claimed_until=None,
            over_at=None,
        )
        .returning(Outgoing.id)
    )  # fmt: skip
    return len(session.scalars(revived.execution_options(synchronize_session=False)).all())


def forget(session: Session, *, before: datetime) -> None:
    """Remove what was over before then; dead rows stay until somebody looks at them."""
    over = and_(Outgoing.state.in_(OVER), Outgoing.over_at < before)
    session.execute(delete(Outgoing).where(over).execution_options(synchronize_session=False))


def timing(session: Session, person_id: UUID, kind: MailKind) -> Timing | None:
    """Return when the person wants mail of this kind; None when they chose nothing."""
    row = session.get(MailPreference, (person_id, kind))
    return None if row is None else row.timing


def timings(session: Session, person_id: UUID) -> Mapping[MailKind, Timing]:
    rows = session.scalars(select(MailPreference).where(MailPreference.person_id == person_id))
    return {row.kind: row.timing for row in rows}


def forget_choices(session: Session, person_id: UUID) -> None:
    session.execute(delete(MailPreference).where(MailPreference.person_id == person_id))


def choose(session: Session, person_id: UUID, kind: MailKind, timing: Timing) -> None:
    session.merge(MailPreference(person_id=person_id, kind=kind, timing=timing))
