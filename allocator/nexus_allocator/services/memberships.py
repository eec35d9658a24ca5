"""Who is in a team and as what: roles, the lead handed over, leaving and being removed.

Who leaves keeps nothing running on the team's credits, and soon nothing that reaches its folder: the reason
is stored with each such server and its stop put into the outbox, in the same transaction; `stop_leavers`
orders it again until it is done.
"""

import logging
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from nexus_allocator.clients.hub import HubClient
from nexus_allocator.domain.errors import LeadStays, NotAllowed, UnknownMember
from nexus_allocator.domain.records import OPERATOR, Act
from nexus_allocator.domain.rights import Action
from nexus_allocator.domain.states import NoticeKind, Role, StopReason, TeamMoveKind
from nexus_allocator.services.allocations import require_reason
from nexus_allocator.services.hub_calls import ToStop, ask_at_once, order_stop
from nexus_allocator.services.notices import tell
from nexus_allocator.services.records import record
from nexus_allocator.services.rights import (
    lock_team,
    person_called,
    require_in_team,
    team_for,
    team_to_change,
)
from nexus_allocator.services.stops import intend
from nexus_allocator.services.teams import seat
from nexus_allocator.store import holds, teams
from nexus_allocator.store.session import Database
from nexus_allocator.store.tables import Membership, Person, Team

log = logging.getLogger(__name__)
PLATFORM = "nexus"
# So long a leaver may save what they do on a server that has the team's folder; less than an intent lasts.
ACCESS_LASTS = timedelta(minutes=10)
ACTS = {
    TeamMoveKind.ROLE_CHANGED: Act.ROLE_CHANGED,
    TeamMoveKind.HANDED_OVER: Act.HANDED_OVER,
    TeamMoveKind.LEFT: Act.MEMBER_LEFT,
    TeamMoveKind.REMOVED: Act.MEMBER_REMOVED,
}


def change_role(
    session: Session, *, team: str, member: str, role: Role, by: str | None, now: datetime
) -> None:
    """Make a member a manager or a manager a member; the lead is handed over instead.

    Raises UnknownTeam, TeamRoleNeeded, UnknownMember, LeadStays, NotAllowed.
    """
    if role is Role.LEAD:
        raise NotAllowed()
    found, actor = team_to_change(session, team, Action.TEAM_CHANGE_ROLE, by=by)
    person, row = _member(session, found, member)
    if row.role is Role.LEAD:
        raise LeadStays(team=found.label)
    before, row.role = row.role, role
    _keep(
        session,
        found,
        TeamMoveKind.ROLE_CHANGED,
        actor=actor,
        subject=person,
        facts={"role": role.value},
        now=now,
        before={"role": before.value},
    )


def hand_over(session: Session, *, team: str, to: str, by: str | None, now: datetime) -> None:
    """Make another member the lead; the lead before becomes a manager.

    Raises UnknownTeam, TeamRoleNeeded, UnknownMember.
    """
    found, actor = team_to_change(session, team, Action.TEAM_HAND_OVER, by=by)
    person, row = _member(session, found, to)
    if row.role is Role.LEAD:
        return
    seat(session, found, person, Role.LEAD, by=actor.id if actor else OPERATOR, now=now)
    number = _keep(session, found, TeamMoveKind.HANDED_OVER, actor=actor, subject=person, facts={}, now=now)
    tell(session, person.id, NoticeKind.LEADS_TEAM, key=f"leads/{found.id}/{number}",
         facts={"team": found.label}, now=now)  # fmt: skip


def leave(session: Session, *, team: str, hub_name: str, now: datetime) -> list[ToStop]:
    """Leave a team; return the servers to stop after the commit. Raises UnknownTeam, LeadStays."""
    person = person_called(session, hub_name)
    found = team_for(session, team, person, Action.TEAM_LEAVE)
    lock_team(session, found.id)
    _, row = _member(session, found, hub_name)
    if row.role is Role.LEAD:
        raise LeadStays(team=found.label)
    servers, others = _part(session, found, person, row, actor=hub_name, note=None, now=now)
    facts: dict[str, object] = {"servers": len(servers), "others": others}
    number = _keep(session, found, TeamMoveKind.LEFT, actor=person, subject=person, facts=facts, now=now)
    tell(session, person.id, NoticeKind.LEFT_TEAM, key=f"left/{found.id}/{number}",
         facts={"team": found.label, **facts}, now=now)  # fmt: skip
    for leader in teams.leading(session, found.id):
        tell(session, leader, NoticeKind.MEMBER_LEFT, key=f"left/{found.id}/{number}",
             facts={"team": found.label, "person": person.hub_name}, now=now)  # fmt: skip
    return servers


def remove(
    session: Session, *, team: str, member: str, reason: str, by: str | None, now: datetime
) -> list[ToStop]:
    """Take a member out of a team, with a reason they read; return the servers to stop after the commit.

    Raises UnknownTeam, TeamRoleNeeded, UnknownMember, LeadStays, BadReason.
    """
    found, actor = team_to_change(session, team, Action.TEAM_REMOVE_MEMBER, by=by)
    text = require_reason(reason)
    person, row = _member(session, found, member)
    if row.role is Role.LEAD:
        raise LeadStays(team=found.label)
    _require_above(session, found, row, actor)
    servers, others = _part(session, found, person, row, actor=by or "operator", note=text, now=now)
    facts = {"reason": text, "servers": len(servers), "others": others}
    number = _keep(session, found, TeamMoveKind.REMOVED, actor=actor, subject=person, facts=facts, now=now)
    tell(session, person.id, NoticeKind.REMOVED_FROM_TEAM, key=f"removed/{found.id}/{number}",
         facts={"team": found.label, **facts}, now=now)  # fmt: skip
    return servers


def stop_leavers(database: Database, hub: HubClient, *, now: datetime) -> list[ToStop]:
    """Stop what still runs on a team's credits for people who are not in it, and what the suspended run."""
    with database.reading_scope() as session:
        reaching = teams.live_of_leavers(session, left_before=now - ACCESS_LASTS)
        if not reaching and not teams.live_without_seat(session) and not teams.live_of_suspended(session):
            return []
    with database.session_scope() as session:
        servers = []
        for hold, _, team in teams.live_without_seat(session):
            servers.append(intend(session, hold, StopReason.LEFT_TEAM, note=team.label, now=now))
        for hold, _, team in teams.live_of_leavers(session, left_before=now - ACCESS_LASTS):
            servers.append(intend(session, hold, StopReason.ACCESS_ENDED, note=team.label, now=now))
        for hold, person in teams.live_of_suspended(session):
            note = person.suspension_reason
            servers.append(intend(session, hold, StopReason.SUSPENDED, note=note, now=now))
    ask_at_once(database, hub, servers, now=now)
    return servers


def _member(session: Session, team: Team, hub_name: str) -> tuple[Person, Membership]:
    person = person_called(session, hub_name)
    row = teams.membership(session, team.id, person.id)
    if row is None:
        raise UnknownMember(person=hub_name[:40], team=team.label)
    return person, row


def _require_above(session: Session, team: Team, row: Membership, actor: Person | None) -> None:
    """Raise TeamRoleNeeded when a manager would take out another manager."""
    if row.role is Role.MANAGER and actor is not None:
        require_in_team(session, team, actor, Action.TEAM_REMOVE_MANAGER)


def _part(
    session: Session,
    team: Team,
    person: Person,
    seat: Membership,
    *,
    actor: str,
    note: str | None,
    now: datetime,
) -> tuple[list[ToStop], int]:
    """Take the seat away; return the servers to stop at once, and how many others stop in a while.

    The others run on other credits, but were started as a member's: they reach the team's folder while they
    last.
    """
    account, joined_at = teams.account_of(session, team.id), seat.joined_at
    teams.remove_seat(session, team.id, person.id)
    servers = []
    for hold in teams.live_holds(session, account.allocation.id, person.id):
        holds.add_intent(session, hold.id, reason=StopReason.LEFT_TEAM, actor=actor[:64], note=note, now=now)
        servers.append(order_stop(session, hold, now=now))
    others = teams.live_elsewhere(session, account.allocation.id, person.id, since=joined_at)
    for hold in others:
        reason = StopReason.ACCESS_ENDED
        holds.add_intent(session, hold.id, reason=reason, actor=actor[:64], note=team.label, now=now)
        order_stop(session, hold, now=now, after=ACCESS_LASTS)
    _stop_team_server(session, team, person, actor=actor, now=now)
    return servers, len(others)


def _stop_team_server(session: Session, team: Team, gone: Person, *, actor: str, now: datetime) -> None:
    """Have the team's own server stopped in a while: who left may be in it, and the hub puts nobody out."""
    hold = holds.open_of_team(session, team.slug)
    # That of who started it stops at once, with all that they run on the team's credits.
    if hold is not None and hold.person_id != gone.id:
        holds.add_intent(
            session, hold.id, reason=StopReason.MEMBER_GONE, actor=actor[:64], note=None, now=now
        )
        order_stop(session, hold, now=now, after=ACCESS_LASTS)


def _keep(
    session: Session,
    team: Team,
    kind: TeamMoveKind,
    *,
    actor: Person | None,
    subject: Person,
    facts: dict[str, object],
    now: datetime,
    before: dict[str, object] | None = None,
) -> int:
    told = {name: value for name, value in facts.items() if name != "reason"}
    why = facts.get("reason")
    record(session, ACTS[kind], team.id, by=actor.id if actor else OPERATOR, person_id=subject.id,
           reason=str(why) if why else None, before=before, after=told, now=now)  # fmt: skip
    return teams.add_move(
        session, team.id, kind, actor_id=actor.id if actor else None, subject_id=subject.id, facts=facts,
        at=now,
    )  # fmt: skip
