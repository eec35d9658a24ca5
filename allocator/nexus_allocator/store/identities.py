"""Two people who are one: what of a person's rows goes to another, and what stays as history."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, Table, and_, func, select, update
from sqlalchemy.orm import Session

from nexus_allocator.domain.states import LIVE, HoldState
from nexus_allocator.store.base import Base
from nexus_allocator.store.tables import Acceptance, Hold, Membership, Person, Share

SERVERS = ("hold.person_id",)
# Whose row is: the other person's from now on.
MOVED = (
    *SERVERS,
    "offline_event.person_id",
    "tier_request.person_id",
    "invitation.person_id",
    "invitation.invited_by",
    "portal_notice.person_id",
    "join_try.person_id",
    "question.asked_by",
    "outgoing.person_id",
)
# What takes more than another id; the service sees to each.
BY_HAND = (
    "account.person_id",
    "membership.person_id",
    "share.person_id",
    "acceptance.person_id",
    "home.person_id",
    "web_session.person_id",
    "mail_preference.person_id",
    "person.merged_into_id",
)
# Who did something then: history, which is not rewritten; the id leads to who they are now.
LEFT = (
    "team_move.actor_id",
    "team_move.subject_id",
    "request_move.actor_id",
    "tier_request.decided_by",
    "webhook_endpoint.created_by",
    "kept_answer.person_id",
    "entering.administrator_id",
    "panel_round.made_by",
    "panel_term.person_id",
    "panel_term.appointed_by",
    "panel_term.ended_by",
    "panel_case.referred_by",
    "panel_case.placed_by",
    "panel_conflict.person_id",
    "panel_review.person_id",
    "panel_bypass.person_id",
    "request_offer.person_id",
    "purge_told.person_id",
    "storage_exemption.asked_by",
)


def references() -> set[str]:
    """Return every column that refers to a person, as ``table.column``."""
    return {
        f"{table.name}.{key.parent.name}"
        for table in Base.metadata.tables.values()
        for key in table.foreign_keys
        if key.column.table.name == "person"
    }


def move(session: Session, gone: UUID, keep: UUID, *, columns: Sequence[str] = MOVED) -> dict[str, int]:
    """Give the rows of one person to another; return how many of each column."""
    session.flush()
    moved = {}
    for name in columns:
        table, column = _column(name)
        theirs = column == gone
        if table is Hold.__table__:
            # What still runs goes by the name under which the hub knows it.
            theirs = and_(theirs, Hold.state == HoldState.SETTLED)
        count = session.scalar(select(func.count()).select_from(table).where(theirs)) or 0
        if count:
            session.execute(update(table).where(theirs).values({column.name: keep}))
            moved[name] = count
    session.execute(update(Person).where(Person.merged_into_id == gone).values(merged_into_id=keep))
    session.expire_all()
    return moved


def unfinished(session: Session) -> Sequence[Person]:
    """Return the merged people who had servers at the time, all of which have ended since."""
    theirs = select(Hold.id).where(Hold.person_id == Person.id)
    live = theirs.where(Hold.state.in_(LIVE))
    found = select(Person).where(Person.merged_into_id.is_not(None), theirs.exists(), ~live.exists())
    return session.scalars(found).all()


def _column(name: str) -> tuple[Table, ColumnElement[UUID]]:
    table_name, column_name = name.split(".")
    table = Base.metadata.tables[table_name]
    return table, table.columns[column_name]


def memberships(session: Session, person_id: UUID) -> Sequence[Membership]:
    return session.scalars(select(Membership).where(Membership.person_id == person_id)).all()


def give_seat(session: Session, team_id: UUID, gone: UUID, keep: UUID) -> None:
    """Let ``keep`` have the seat and the part that ``gone`` had."""
    for table in (Membership, Share):
        mine = (table.team_id == team_id, table.person_id == gone)
        session.execute(update(table).where(*mine).values(person_id=keep))
    session.expire_all()


def copy_acceptances(session: Session, gone: UUID, keep: UUID) -> None:
    known = set(session.scalars(select(Acceptance.version).where(Acceptance.person_id == keep)))
    for row in session.scalars(select(Acceptance).where(Acceptance.person_id == gone)):
        if row.version not in known:
            session.add(Acceptance(person_id=keep, version=row.version, accepted_at=row.accepted_at))


def aliases(session: Session, person_id: UUID) -> Sequence[Person]:
    """Return the people who were found to be this one."""
    return session.scalars(select(Person).where(Person.merged_into_id == person_id)).all()
