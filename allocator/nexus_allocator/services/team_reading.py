"""What the pages of a team show: who is in it, what each took, how it is divided, who is invited."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.errors import UnknownMember, UnknownSubgroup, UnknownTeam
from nexus_allocator.domain.rights import Action
from nexus_allocator.domain.shares import Part, Taken
from nexus_allocator.domain.states import LIVE, Role, TeamMoveKind
from nexus_allocator.services import portal_reading, rights, shares
from nexus_allocator.services.portal_reading import AccountReading
from nexus_allocator.store import accounts, holds, teams
from nexus_allocator.store.tables import Account, Invitation, Membership, Person, Share, Team, TeamMove

MOVES = 20


@dataclass(frozen=True)
class MemberRow:
    """``is_former``: left, yet took something since counting began. ``rests``: the fair share of the
    sub-group stands for the member's own.
    """

    hub_name: str
    label: str
    role: Role | None
    joined_at: datetime | None
    subgroup_id: UUID | None
    subgroup: str | None
    part: Part | None
    rests: bool
    taken_micro: int

    @property
    def is_former(self) -> bool:
        return self.role is None


@dataclass(frozen=True)
class GroupRow:
    id: UUID
    label: str
    members: int
    part: Part | None


@dataclass(frozen=True)
class InvitationRow:
    """``whom`` is a name where the person is known, else the e-mail address."""

    id: UUID
    whom: str
    role: Role
    team: str
    by: str | None
    expires_at: datetime


@dataclass(frozen=True)
class MoveRow:
    kind: TeamMoveKind
    by: str | None
    whom: str | None
    facts: Mapping[str, Any]
    at: datetime


@dataclass(frozen=True)
class TeamPage:
    """``role`` None is an administrator not in the team; ``room_micro`` None: no limit of one's own."""

    slug: str
    label: str
    role: Role | None
    acts: frozenset[Action]
    room_micro: int | None
    counted_from: datetime
    account: AccountReading
    members: tuple[MemberRow, ...]
    groups: tuple[GroupRow, ...]
    invitations: tuple[InvitationRow, ...]
    moves: tuple[MoveRow, ...]

    def member(self, hub_name: str) -> MemberRow:
        """Return a present member. Raises UnknownMember."""
        for row in self.members:
            if row.hub_name == hub_name and not row.is_former:
                return row
        raise UnknownMember(person=hub_name[:40], team=self.label)

    def group(self, subgroup_id: UUID) -> GroupRow:
        """Return a sub-group. Raises UnknownSubgroup."""
        for row in self.groups:
            if row.id == subgroup_id:
                return row
        raise UnknownSubgroup(team=self.label)


def team_page(session: Session, *, slug: str, hub_name: str, now: datetime) -> TeamPage:
    """Return a team's page as ``hub_name`` may see it. Raises UnknownTeam for others' as for none."""
    viewer = rights.person_called(session, hub_name)
    return _page(session, rights.team_for(session, slug, viewer), viewer, now=now)


def _page(session: Session, team: Team, viewer: Person | None, *, now: datetime) -> TeamPage:
    seat = teams.seat(session, team.id, viewer.id) if viewer else None
    account = teams.account_of(session, team.id)
    since = team.counted_from
    groups = teams.subgroups(session, team.id)
    held = teams.shares(session, team.id)
    parts = shares.parts_of(session, held, account.allocation.id, since=since, now=now)
    taken = teams.taken_by_people(session, account.allocation.id, since=since, now=now)
    by_person = {each.share.person_id: each.share for each in held if each.share.person_id}
    by_group = {each.share.subgroup_id: parts.get(each.share.id) for each in held if each.share.subgroup_id}
    members = teams.members(session, team.id)
    labels = {group.id: group.label for group in groups}
    present = [
        _member_row(
            person,
            row,
            by_person.get(person.id),
            parts=parts,
            taken=taken.get(person.id, Taken()),
            labels=labels,
        )
        for person, row in members
    ]
    return TeamPage(
        slug=team.slug,
        label=team.label,
        role=seat.role if seat else None,
        acts=rights.team_acts(session, seat.role if seat else None, viewer),
        room_micro=_room(session, team, account, viewer, now=now),
        counted_from=since or team.created_at,
        account=portal_reading.account_readings(session, [account], viewer=viewer, now=now)[0],
        members=(*present, *_former(session, taken, {person.id for person, _ in members})),
        groups=tuple(
            GroupRow(
                group.id,
                group.label,
                sum(row.subgroup_id == group.id for _, row in members),
                by_group.get(group.id),
            )
            for group in groups
        ),
        invitations=tuple(
            _invitation_row(invitation, team, name or invitation.email or "", None)
            for invitation, name in teams.open_invitations(session, team.id, now=now)
        ),
        moves=tuple(_move_row(*row) for row in teams.moves(session, team.id, limit=MOVES)),
    )


def operators_page(session: Session, *, slug: str, now: datetime) -> TeamPage:
    """Return a team's page for an operator. Raises UnknownTeam."""
    team = accounts.team_by_slug(session, slug)
    if team is None:
        raise UnknownTeam(team=slug[:40])
    return _page(session, team, None, now=now)


def invitations_to(session: Session, *, hub_name: str, now: datetime) -> tuple[InvitationRow, ...]:
    """Return the invitations that a person may answer. Raises UnknownPerson."""
    person = rights.themselves(session, hub_name, Action.INVITATION_SEE)
    rows = teams.invitations_to(session, person, now=now)
    return tuple(_invitation_row(invitation, team, person.display_name, by) for invitation, team, by in rows)


def servers_on(session: Session, *, slug: str, hub_name: str) -> int:
    """Return how many servers would stop if the person left the team.

    Raises UnknownPerson, UnknownTeam, and UnknownMember for who has no seat to leave.
    """
    person = rights.person_called(session, hub_name)
    account = teams.account_of(session, rights.team_for(session, slug, person, Action.TEAM_LEAVE).id)
    mine = holds.open_of_person(session, person.id)
    return sum(hold.allocation_id == account.allocation.id and hold.state in LIVE for hold in mine)


def _room(
    session: Session, team: Team, account: Account, viewer: Person | None, *, now: datetime
) -> int | None:
    if viewer is None:
        return None
    standing = shares.standing_of(session, team.id, account.allocation.id, person_id=viewer.id, now=now)
    return standing.room_micro if standing else None


def _member_row(
    person: Person,
    row: Membership,
    share: Share | None,
    *,
    parts: Mapping[UUID, Part],
    taken: Taken,
    labels: Mapping[UUID, str],
) -> MemberRow:
    part = None
    if share is not None:
        part = parts.get(share.id, Part(share.kind, share.amount_micro, taken.micro))
    return MemberRow(
        hub_name=person.hub_name,
        label=person.display_name,
        role=row.role,
        joined_at=row.joined_at,
        subgroup_id=row.subgroup_id,
        subgroup=labels.get(row.subgroup_id) if row.subgroup_id else None,
        part=part,
        rests=share is not None and share.id not in parts,
        taken_micro=taken.micro,
    )


def _former(session: Session, taken: Mapping[UUID, Taken], present: set[UUID]) -> list[MemberRow]:
    gone = [person_id for person_id, each in taken.items() if person_id not in present and each.micro]
    return [
        MemberRow(
            person.hub_name, person.display_name, None, None, None, None, None, False, taken[person.id].micro
        )
        for person in sorted(teams.people(session, gone).values(), key=lambda each: each.display_name)
    ]


def _invitation_row(invitation: Invitation, team: Team, whom: str, by: str | None) -> InvitationRow:
    return InvitationRow(invitation.id, whom, invitation.role, team.label, by, invitation.expires_at)


def _move_row(move: TeamMove, by: str | None, whom: str | None) -> MoveRow:
    return MoveRow(move.kind, by, whom, move.facts, move.at)
