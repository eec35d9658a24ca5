"""Invitations to a team: by hub name or e-mail address, answered by who is meant, over after a while."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain import teams as rules
from nexus_allocator.domain.errors import (
    AlreadyInvited,
    AlreadyMember,
    InvitationOver,
    NotAllowed,
    UnknownInvitation,
)
from nexus_allocator.domain.mailing import LetterKind
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.records import NEXUS, OPERATOR, Act
from nexus_allocator.domain.rights import Action
from nexus_allocator.domain.states import InvitationState, NoticeKind, Role, TeamMoveKind
from nexus_allocator.services import outbox
from nexus_allocator.services.notices import tell
from nexus_allocator.services.records import record
from nexus_allocator.services.rights import (
    in_good_standing,
    lock_team,
    person_called,
    team_to_change,
    themselves,
)
from nexus_allocator.services.teams import seat
from nexus_allocator.store import people, teams
from nexus_allocator.store.session import Database
from nexus_allocator.store.tables import Invitation, Person, Team

ACTS = {
    TeamMoveKind.INVITED: Act.INVITED,
    TeamMoveKind.INVITATION_WITHDRAWN: Act.INVITATION_WITHDRAWN,
    TeamMoveKind.DECLINED: Act.INVITATION_ANSWERED,
}
NEEDED = {Role.MEMBER: Action.TEAM_INVITE, Role.MANAGER: Action.TEAM_INVITE_MANAGER}


def invite(
    session: Session,
    *,
    policy: Policy,
    team: str,
    whom: str,
    role: Role = Role.MEMBER,
    by: str | None,
    now: datetime,
) -> Invitation:
    """Invite ``whom``, a hub name or an e-mail address, for as long as the policy lets invitations wait.

    Raises UnknownTeam, TeamRoleNeeded, BadAddress, UnknownPerson, AlreadyMember, AlreadyInvited.
    """
    if role not in NEEDED:
        raise NotAllowed()
    found, actor = team_to_change(session, team, NEEDED[role], by=by)
    return invite_to(
        session, found, whom, role=role, actor=actor, until=now + policy.answers.invitation, now=now
    )


def invite_to(
    session: Session,
    team: Team,
    whom: str,
    *,
    role: Role,
    actor: Person | None,
    until: datetime,
    now: datetime,
) -> Invitation:
    """Invite to a team whose allocation is locked."""
    hub_name, email = rules.address(whom)
    person = person_called(session, hub_name) if hub_name else None
    person_id = person.id if person else None
    if person is not None and teams.seat(session, team.id, person.id) is not None:
        raise AlreadyMember(person=whom.strip()[:60], team=team.label)
    if teams.open_invitation(session, team.id, person_id=person_id, email=email, now=now) is not None:
        raise AlreadyInvited(person=whom.strip()[:60], team=team.label)
    if len(teams.open_invitations(session, team.id, now=now)) >= rules.MOST_OPEN_INVITATIONS:
        raise AlreadyInvited(person=f"{rules.MOST_OPEN_INVITATIONS} people", team=team.label)
    invitation = Invitation(
        team_id=team.id, person_id=person_id, email=email, role=role, state=InvitationState.OPEN,
        invited_by=actor.id if actor else None, invited_at=now, expires_at=until,
    )  # fmt: skip
    session.add(invitation)
    _keep(session, team, TeamMoveKind.INVITED, actor=actor, invitation=invitation, now=now)
    _write(session, invitation, team, actor=actor, now=now)
    return invitation


def _write(
    session: Session, invitation: Invitation, team: Team, *, actor: Person | None, now: datetime
) -> None:
    facts = {
        "invitation": str(invitation.id), "team": team.label, "role": invitation.role.value,
        "by": actor.display_name if actor else None, "until": invitation.expires_at.date().isoformat(),
    }  # fmt: skip
    key = f"{LetterKind.INVITED}/{invitation.id}"
    outbox.mail(session, invitation.person_id, LetterKind.INVITED, key=key, facts=facts, now=now)


def withdraw(session: Session, invitation_id: UUID, *, by: str | None, now: datetime) -> None:
    """Take an open invitation back. Raises UnknownInvitation, TeamRoleNeeded, InvitationOver."""
    known = teams.invitation(session, invitation_id)
    if known is None:
        raise UnknownInvitation()
    _, actor = team_to_change(session, known[1].slug, Action.TEAM_INVITE, by=by)
    invitation, team = _open(session, invitation_id, now=now)
    _close(invitation, InvitationState.WITHDRAWN, now)
    _keep(session, team, TeamMoveKind.INVITATION_WITHDRAWN, actor=actor, invitation=invitation, now=now)


def accept(session: Session, invitation_id: UUID, *, hub_name: str, now: datetime) -> Team:
    """Join the team. Raises UnknownInvitation for another's as for none, InvitationOver, Suspended."""
    person = in_good_standing(themselves(session, hub_name, Action.INVITATION_ANSWER))
    invitation, team = _mine(session, invitation_id, person, now=now)
    _close(invitation, InvitationState.ACCEPTED, now)
    _record(session, Act.INVITATION_ANSWERED, team, actor=person, invitation=invitation, now=now)
    if teams.membership(session, team.id, person.id) is None:
        seat(session, team, person, invitation.role, by=person.id, now=now)
        _tell_inviter(session, invitation, team, person=person, kind=NoticeKind.MEMBER_JOINED, now=now)
    return team


def decline(session: Session, invitation_id: UUID, *, hub_name: str, now: datetime) -> Team:
    """Say no. Raises UnknownInvitation, InvitationOver."""
    person = themselves(session, hub_name, Action.INVITATION_ANSWER)
    invitation, team = _mine(session, invitation_id, person, now=now)
    _close(invitation, InvitationState.DECLINED, now)
    _keep(session, team, TeamMoveKind.DECLINED, actor=person, invitation=invitation, now=now)
    _tell_inviter(session, invitation, team, person=person, kind=NoticeKind.INVITATION_DECLINED, now=now)
    return team


def turn_all(database: Database, *, now: datetime) -> int:
    """Write down the invitations that nobody answered in time, and tell who invited; return how many."""
    with database.reading_scope() as session:
        due = teams.unanswered(session, now=now)
    for invitation_id in due:
        with database.session_scope() as session:
            _expire(session, invitation_id, now=now)
    return len(due)


def _expire(session: Session, invitation_id: UUID, *, now: datetime) -> None:
    known = teams.invitation(session, invitation_id)
    assert known is not None  # noqa: S101 - rows are never deleted
    lock_team(session, known[1].id)
    found = teams.invitation(session, invitation_id)
    if found is None or found[0].state is not InvitationState.OPEN:
        # Answered since it was looked at.
        return
    invitation, team = found
    _close(invitation, InvitationState.EXPIRED, now)
    after = {"invitation_id": invitation.id, "role": invitation.role, "state": invitation.state}
    record(session, Act.INVITATION_EXPIRED, team.id, by=NEXUS, person_id=invitation.person_id, after=after,
           now=now)  # fmt: skip
    if invitation.invited_by is not None:
        person = people.by_id(session, invitation.person_id) if invitation.person_id else None
        facts = {
            "team": team.label, "whom": person.hub_name if person else invitation.email,
            "answer_by": invitation.expires_at.date().isoformat(),
        }  # fmt: skip
        key = f"invitation/{invitation.id}/expired"
        tell(session, invitation.invited_by, NoticeKind.INVITATION_EXPIRED, key=key, facts=facts, now=now)


def _mine(session: Session, invitation_id: UUID, person: Person, *, now: datetime) -> tuple[Invitation, Team]:
    known = teams.invitation(session, invitation_id)
    if known is None or not _is_for(known[0], person):
        raise UnknownInvitation()
    lock_team(session, known[1].id)
    return _open(session, invitation_id, now=now)


def _is_for(invitation: Invitation, person: Person) -> bool:
    if invitation.person_id is not None:
        return invitation.person_id == person.id
    return invitation.email == (person.email or "").casefold()


def _open(session: Session, invitation_id: UUID, *, now: datetime) -> tuple[Invitation, Team]:
    """Return the invitation as it is now that the team is locked. Raises InvitationOver."""
    found = teams.invitation(session, invitation_id)
    assert found is not None  # noqa: S101 - rows are never deleted
    invitation, team = found
    if invitation.state not in (InvitationState.OPEN, InvitationState.EXPIRED):
        raise InvitationOver(team=team.label, ended=f"was {invitation.state.value}")
    if invitation.state is InvitationState.EXPIRED or invitation.expires_at <= now:
        raise InvitationOver(team=team.label, ended=f"expired on {invitation.expires_at.date().isoformat()}")
    return invitation, team


def _close(invitation: Invitation, state: InvitationState, now: datetime) -> None:
    invitation.state, invitation.answered_at = state, now


def _keep(
    session: Session,
    team: Team,
    kind: TeamMoveKind,
    *,
    actor: Person | None,
    invitation: Invitation,
    now: datetime,
) -> None:
    session.flush()
    teams.add_move(
        session, team.id, kind, actor_id=actor.id if actor else None, subject_id=invitation.person_id,
        facts={"invitation": str(invitation.id), "role": invitation.role.value}, at=now,
    )  # fmt: skip
    _record(session, ACTS[kind], team, actor=actor, invitation=invitation, now=now)


def _record(
    session: Session, act: Act, team: Team, *, actor: Person | None, invitation: Invitation, now: datetime
) -> None:
    after = {"invitation_id": invitation.id, "role": invitation.role, "state": invitation.state}
    record(session, act, team.id, by=actor.id if actor else OPERATOR, person_id=invitation.person_id,
           after=after, now=now)  # fmt: skip


def _tell_inviter(
    session: Session,
    invitation: Invitation,
    team: Team,
    *,
    person: Person,
    kind: NoticeKind,
    now: datetime,
) -> None:
    if invitation.invited_by is not None:
        tell(
            session, invitation.invited_by, kind, key=f"invitation/{invitation.id}",
            facts={"team": team.label, "person": person.hub_name}, now=now,
        )  # fmt: skip
