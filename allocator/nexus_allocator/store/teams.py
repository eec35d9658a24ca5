"""Seats, sub-groups, shares, invitations and what happened in teams."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, delete, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased, joinedload

from nexus_allocator.domain.clusters import CLUSTER
from nexus_allocator.domain.shares import Taken
from nexus_allocator.domain.states import LIVE, InvitationState, Role, TeamMoveKind
from nexus_allocator.store.tables import (
    Account,
    Allocation,
    Hold,
    Invitation,
    Membership,
    Person,
    Share,
    Subgroup,
    Team,
    TeamMove,
)


class Seat(NamedTuple):
    """A member's place in a team, read anew whatever the session has seen before."""

    role: Role
    subgroup_id: UUID | None
    counted_from: datetime | None


def seat(session: Session, team_id: UUID, person_id: UUID) -> Seat | None:
    found = (
        select(Membership.role, Membership.subgroup_id, Team.counted_from)
        .join(Team, Team.id == Membership.team_id)
        .where(Membership.team_id == team_id, Membership.person_id == person_id)
    )
    row = session.execute(found).one_or_none()
    return Seat(*row) if row else None


def by_account(session: Session, account_id: UUID) -> Team | None:
    return session.scalar(
        select(Team).join(Account, Account.team_id == Team.id).where(Account.id == account_id)
    )


def account_of(session: Session, team_id: UUID) -> Account:
    found = select(Account).options(joinedload(Account.allocation)).where(Account.team_id == team_id)
    return session.scalars(found).one()


def membership(session: Session, team_id: UUID, person_id: UUID) -> Membership | None:
    """Return the row as it is now; the caller holds the lock of the team's allocation."""
    found = select(Membership).where(Membership.team_id == team_id, Membership.person_id == person_id)
    return session.scalar(found.execution_options(populate_existing=True))


def lead_of(session: Session, team_id: UUID) -> Membership | None:
    found = select(Membership).where(Membership.team_id == team_id, Membership.role == Role.LEAD)
    return session.scalar(found.execution_options(populate_existing=True))


def members(session: Session, team_id: UUID) -> Sequence[tuple[Person, Membership]]:
    """Return who is in the team: the lead, the managers, then the members by name."""
    order = case({role.value: number for number, role in enumerate(Role)}, value=Membership.role)
    joined = select(Person, Membership).join(Membership, Membership.person_id == Person.id)
    rows = session.execute(joined.where(Membership.team_id == team_id).order_by(order, Person.display_name))
    return [(person, member) for person, member in rows]


def lead(session: Session, team_id: UUID) -> UUID | None:
    found = select(Membership.person_id).where(Membership.team_id == team_id, Membership.role == Role.LEAD)
    return session.scalar(found)


def leading(session: Session, team_id: UUID) -> Sequence[UUID]:
    """Return who leads or manages the team."""
    roles = (Role.LEAD, Role.MANAGER)
    found = select(Membership.person_id).where(Membership.team_id == team_id, Membership.role.in_(roles))
    return session.scalars(found).all()


def remove_seat(session: Session, team_id: UUID, person_id: UUID) -> None:
    """Take the member and their share out of the team."""
    session.execute(delete(Share).where(Share.team_id == team_id, Share.person_id == person_id))
    session.execute(
        delete(Membership).where(Membership.team_id == team_id, Membership.person_id == person_id)
    )


def subgroups(session: Session, team_id: UUID) -> Sequence[Subgroup]:
    found = select(Subgroup).where(Subgroup.team_id == team_id, Subgroup.ended_at.is_(None))
    return session.scalars(found.order_by(Subgroup.label)).all()


def subgroup(session: Session, team_id: UUID, subgroup_id: UUID) -> Subgroup | None:
    found = select(Subgroup).where(Subgroup.id == subgroup_id, Subgroup.team_id == team_id)
    return session.scalar(found.where(Subgroup.ended_at.is_(None)))


def in_subgroup(session: Session, subgroup_id: UUID) -> Sequence[Membership]:
    return session.scalars(select(Membership).where(Membership.subgroup_id == subgroup_id)).all()


class HeldShare(NamedTuple):
    """A share with the sub-group of the member who holds it."""

    share: Share
    member_subgroup_id: UUID | None


def shares(session: Session, team_id: UUID) -> Sequence[HeldShare]:
    found = (
        select(Share, Membership.subgroup_id)
        .outerjoin(
            Membership, and_(Membership.team_id == Share.team_id, Membership.person_id == Share.person_id)
        )
        .where(Share.team_id == team_id)
    )
    return [HeldShare(*row) for row in session.execute(found)]


def share_of(
    session: Session, team_id: UUID, *, person_id: UUID | None = None, subgroup_id: UUID | None = None
) -> Share | None:
    found = select(Share).where(Share.team_id == team_id)
    if subgroup_id is not None:
        return session.scalar(found.where(Share.subgroup_id == subgroup_id))
    return session.scalar(found.where(Share.person_id == person_id))


def taken_by_people(
    session: Session,
    allocation_id: UUID,
    *,
    since: datetime | None,
    now: datetime,
    person_ids: Sequence[UUID] | None = None,
) -> Mapping[UUID, Taken]:
    """Return what each person's servers took of the allocation.

    ``since`` None is from the beginning, ``person_ids`` None all who ever ran one.
    """
    chosen = Hold.allocation_id == allocation_id
    if person_ids is not None:
        chosen = and_(chosen, Hold.person_id.in_(person_ids))
    return _taken(session, Hold.person_id, chosen, since=since, now=now)


def taken_by_subgroups(
    session: Session, subgroup_ids: Sequence[UUID], *, since: datetime | None, now: datetime
) -> Mapping[UUID, Taken]:
    return _taken(session, Hold.subgroup_id, Hold.subgroup_id.in_(subgroup_ids), since=since, now=now)


def _taken(
    session: Session,
    holder: InstrumentedAttribute[UUID] | InstrumentedAttribute[UUID | None],
    chosen: ColumnElement[bool],
    *,
    since: datetime | None,
    now: datetime,
) -> Mapping[UUID, Taken]:
    live = Hold.state.in_(LIVE)
    amount = case(
        (and_(live, Hold.amount_micro > Hold.usage_micro), Hold.amount_micro), else_=Hold.usage_micro
    )
    alive = func.sum(case((live, 1), else_=0))
    counted = chosen if since is None else and_(chosen, Hold.placed_at >= since)
    found = (
        select(holder, func.sum(amount), func.max(func.coalesce(Hold.settled_at, Hold.placed_at)), alive)
        .where(counted)
        .group_by(holder)
    )
    return {
        row[0]: Taken(int(row[1]), now if row[3] else row[2])
        for row in session.execute(found)
        if row[0] is not None
    }


def live_holds(session: Session, allocation_id: UUID, person_id: UUID) -> Sequence[Hold]:
    found = select(Hold).where(Hold.allocation_id == allocation_id, Hold.person_id == person_id)
    return session.scalars(found.where(Hold.state.in_(LIVE)).order_by(Hold.placed_at)).all()


def live_elsewhere(
    session: Session, allocation_id: UUID, person_id: UUID, *, since: datetime
) -> Sequence[Hold]:
    """Return a person's servers on other credits that were started since then and write in folders."""
    found = select(Hold).where(Hold.allocation_id != allocation_id, Hold.person_id == person_id)
    mine = found.where(Hold.state.in_(LIVE), Hold.placed_at >= since, ~Hold.read_only, Hold.size != CLUSTER)
    return session.scalars(mine.order_by(Hold.placed_at)).all()


def live_of_leavers(session: Session, *, left_before: datetime) -> Sequence[tuple[Hold, Person, Team]]:
    """Return the servers that were started by a member of a team who left it before then."""
    gone = TeamMove.kind.in_((TeamMoveKind.LEFT, TeamMoveKind.REMOVED)) & (TeamMove.at <= left_before)
    member = select(Membership.person_id).where(
        Membership.team_id == TeamMove.team_id, Membership.person_id == Hold.person_id
    )
    joined = aliased(TeamMove)
    was_member = select(joined.number).where(
        joined.team_id == TeamMove.team_id, joined.subject_id == Hold.person_id,
        joined.kind == TeamMoveKind.JOINED, joined.at <= Hold.placed_at,
    )  # fmt: skip
    found = (
        select(Hold, Person, Team)
        .join(Person, Person.id == Hold.person_id)
        .join(TeamMove, (TeamMove.subject_id == Hold.person_id) & (TeamMove.at >= Hold.placed_at))
        .join(Team, Team.id == TeamMove.team_id)
        .where(Hold.state.in_(LIVE), ~Hold.read_only, Hold.size != CLUSTER, gone)
        .where(was_member.exists(), ~member.exists())
    )
    return [(row[0], row[1], row[2]) for row in session.execute(found.distinct())]


def live_of_suspended(session: Session) -> Sequence[tuple[Hold, Person]]:
    """Return the servers that suspended people still run."""
    found = select(Hold, Person).join(Person, Person.id == Hold.person_id)
    rows = session.execute(found.where(Hold.state.in_(LIVE), Person.suspended_at.is_not(None)))
    return [(row[0], row[1]) for row in rows]


def live_without_seat(session: Session) -> Sequence[tuple[Hold, Person, Team]]:
    """Return the servers that run on a team's credits and belong to nobody in the team."""
    member = (
        select(Membership.person_id)
        .where(Membership.team_id == Account.team_id, Membership.person_id == Hold.person_id)
        .correlate(Account, Hold)
    )
    found = (
        select(Hold, Person, Team)
        .join(Person, Person.id == Hold.person_id)
        .join(Allocation, Allocation.id == Hold.allocation_id)
        .join(Account, Account.id == Allocation.account_id)
        .join(Team, Team.id == Account.team_id)
        .where(Hold.state.in_(LIVE), ~member.exists())
    )
    return [(row[0], row[1], row[2]) for row in session.execute(found)]


def open_invitation(
    session: Session, team_id: UUID, *, person_id: UUID | None, email: str | None, now: datetime
) -> Invitation | None:
    found = select(Invitation).where(
        Invitation.team_id == team_id, Invitation.state == InvitationState.OPEN, Invitation.expires_at > now
    )
    way = Invitation.person_id == person_id if person_id is not None else Invitation.email == email
    return session.scalar(found.where(way).limit(1))


def invitation(session: Session, invitation_id: UUID) -> tuple[Invitation, Team] | None:
    found = select(Invitation, Team).join(Team, Team.id == Invitation.team_id)
    row = session.execute(
        found.where(Invitation.id == invitation_id), execution_options={"populate_existing": True}
    ).one_or_none()
    return (row[0], row[1]) if row else None


def open_invitations(
    session: Session, team_id: UUID, *, now: datetime
) -> Sequence[tuple[Invitation, str | None]]:
    """Return the team's open invitations, the latest first, each with the invited person's name."""
    found = select(Invitation, Person.display_name).outerjoin(Person, Person.id == Invitation.person_id)
    waiting = found.where(
        Invitation.team_id == team_id, Invitation.state == InvitationState.OPEN, Invitation.expires_at > now
    )
    return [(row[0], row[1]) for row in session.execute(waiting.order_by(Invitation.invited_at.desc()))]


def unanswered(session: Session, *, now: datetime) -> Sequence[UUID]:
    """Return the open invitations that are past their date."""
    found = select(Invitation.id).where(Invitation.state == InvitationState.OPEN)
    return session.scalars(found.where(Invitation.expires_at <= now)).all()


def invitations_to(
    session: Session, person: Person, *, now: datetime
) -> Sequence[tuple[Invitation, Team, str | None]]:
    """Return a person's open invitations to teams they are not in, each with who invited them."""
    inviter = aliased(Person)
    seated = (
        select(Membership.team_id)
        .where(Membership.team_id == Invitation.team_id, Membership.person_id == person.id)
        .correlate(Invitation)
    )
    mine = or_(
        Invitation.person_id == person.id,
        and_(Invitation.email.is_not(None), Invitation.email == (person.email or "").casefold()),
    )
    found = (
        select(Invitation, Team, inviter.display_name)
        .join(Team, Team.id == Invitation.team_id)
        .outerjoin(inviter, inviter.id == Invitation.invited_by)
        .where(mine, Invitation.state == InvitationState.OPEN, Invitation.expires_at > now, ~seated.exists())
        .order_by(Invitation.invited_at)
    )
    return [(row[0], row[1], row[2]) for row in session.execute(found)]


def add_move(
    session: Session,
    team_id: UUID,
    kind: TeamMoveKind,
    *,
    actor_id: UUID | None,
    subject_id: UUID | None = None,
    facts: Mapping[str, Any] | None = None,
    at: datetime,
) -> int:
    """Keep what happened and return its number. The caller holds the lock of the team's allocation."""
    last = session.scalar(select(func.max(TeamMove.number)).where(TeamMove.team_id == team_id))
    number = (last or 0) + 1
    session.add(
        TeamMove(
            team_id=team_id,
            number=number,
            kind=kind,
            actor_id=actor_id,
            subject_id=subject_id,
            facts=dict(facts or {}),
            at=at,
        )
    )
    session.flush()
    return number


def moves(
    session: Session, team_id: UUID, *, limit: int
) -> Sequence[tuple[TeamMove, str | None, str | None]]:
    """Return what happened last, the latest first, each with the names of who did it and to whom."""
    actor, subject = aliased(Person), aliased(Person)
    found = (
        select(TeamMove, actor.display_name, subject.display_name)
        .outerjoin(actor, actor.id == TeamMove.actor_id)
        .outerjoin(subject, subject.id == TeamMove.subject_id)
        .where(TeamMove.team_id == team_id)
    )
    rows = session.execute(found.order_by(TeamMove.number.desc()).limit(limit))
    return [(row[0], row[1], row[2]) for row in rows]


def people(session: Session, person_ids: Sequence[UUID]) -> Mapping[UUID, Person]:
    found = session.scalars(select(Person).where(Person.id.in_(person_ids)))
    return {person.id: person for person in found}
