"""Sub-allocations: who may take how much of a team's one allocation.

Nothing moves in the ledger: every server is charged to the team's account, its hold names the member and
the sub-group it counts for, and a launch is refused when the member's part of the whole can't pay it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.errors import (
    BadAmount,
    NameTaken,
    ShareExceeded,
    UnknownAccount,
    UnknownMember,
    UnknownSubgroup,
    UnknownTeam,
)
from nexus_allocator.domain.launches import Fit, Price, what_fits
from nexus_allocator.domain.policy import Policy, Size
from nexus_allocator.domain.records import NEXUS, OPERATOR, Act
from nexus_allocator.domain.rights import Action
from nexus_allocator.domain.shares import Part, Taken, part, room_micro
from nexus_allocator.domain.states import ShareKind, TeamMoveKind
from nexus_allocator.services.allocations import LARGEST_MICRO
from nexus_allocator.services.records import record
from nexus_allocator.services.rights import person_called, team_to_change
from nexus_allocator.services.teams import require_label
from nexus_allocator.store import accounts, ledger, teams
from nexus_allocator.store.tables import Account, Allocation, Person, Share, Subgroup, Team
from nexus_allocator.store.teams import HeldShare

ACTS = {
    TeamMoveKind.SHARE_SET: Act.SHARE_SET,
    TeamMoveKind.SHARE_LIFTED: Act.SHARE_LIFTED,
    TeamMoveKind.GROUP_MADE: Act.SUBGROUP_MADE,
    TeamMoveKind.GROUP_ENDED: Act.SUBGROUP_ENDED,
    TeamMoveKind.GROUPED: Act.GROUPED,
}
SHARE_RANGE = "from zero to a thousand million credits"


@dataclass(frozen=True)
class Holder:
    """Who holds a share: a member, or a sub-group; one of the two."""

    member: str | None = None
    subgroup_id: UUID | None = None


@dataclass(frozen=True)
class Wanted:
    """A launch that the account could pay; a cluster has no size."""

    account: Account
    person_id: UUID
    size: Size | None
    price: Price


@dataclass(frozen=True)
class Standing:
    """A member's place: the sub-group they launch for, and what is free for them; None is no limit but
    the account's.
    """

    subgroup_id: UUID | None
    room_micro: int | None


def standing_of(
    session: Session, team_id: UUID, allocation_id: UUID, *, person_id: UUID, now: datetime
) -> Standing | None:
    """Return where a member stands; None for who is not in the team. The caller holds the lock."""
    seat = teams.seat(session, team_id, person_id)
    if seat is None:
        return None
    held = teams.shares(session, team_id)
    own = [each for each in held if _is_own(each, person_id, seat.subgroup_id)]
    if not any(each.share.kind is ShareKind.FAIR for each in held):
        held = own
    if not held:
        return Standing(seat.subgroup_id, None)
    parts = parts_of(session, held, allocation_id, since=seat.counted_from, now=now)
    own_ids = {each.share.id for each in own}
    available = ledger.balance(session, allocation_id) - ledger.held(session, allocation_id)
    room = room_micro(
        available,
        own=[found for share_id, found in parts.items() if share_id in own_ids],
        others=[found for share_id, found in parts.items() if share_id not in own_ids],
    )
    return Standing(seat.subgroup_id, room)


def require_part(
    session: Session, wanted: Wanted, allocation: Allocation, *, policy: Policy, now: datetime
) -> UUID | None:
    """Return the sub-group for which a launch counts, once the member's part of a team's credits pays it.

    The caller holds the allocation's lock. Raises ShareExceeded, and UnknownAccount for who left the team
    while the launch waited for the lock.
    """
    if wanted.account.team_id is None:
        return None
    standing = standing_of(
        session, wanted.account.team_id, allocation.id, person_id=wanted.person_id, now=now
    )
    if standing is None:
        raise UnknownAccount(account=wanted.account.slug)
    room = standing.room_micro
    if room is not None and wanted.price.amount_micro > room:
        fit = _what_fits(wanted, allocation, room, policy=policy)
        raise ShareExceeded(
            account=wanted.account.label,
            requested_micro=wanted.price.amount_micro,
            available_micro=room,
            fits=fit.facts() if fit else None,
        )
    return standing.subgroup_id


def _what_fits(wanted: Wanted, allocation: Allocation, room_micro: int, *, policy: Policy) -> Fit | None:
    if wanted.size is None:
        return None
    return what_fits(
        policy, policy.sizes_of(allocation.tier, only=allocation.sizes), wanted=wanted.size,
        minutes=wanted.price.planned_minutes, grace_minutes=wanted.price.grace_minutes,
        available_micro=room_micro,
    )  # fmt: skip


def parts_of(
    session: Session, held: Sequence[HeldShare], allocation_id: UUID, *, since: datetime | None, now: datetime
) -> dict[UUID, Part]:
    """Return each share as it stands, by the share's id; fair shares that rest are left out.

    A member's fair share rests while their sub-group has one: it is the sub-group's that is kept.
    """
    fair_groups = {
        each.share.subgroup_id
        for each in held
        if each.share.kind is ShareKind.FAIR and each.share.subgroup_id
    }
    people = [each.share.person_id for each in held if each.share.person_id]
    groups = [each.share.subgroup_id for each in held if each.share.subgroup_id]
    by_person = (
        teams.taken_by_people(session, allocation_id, since=since, now=now, person_ids=people)
        if people
        else {}
    )
    by_group = teams.taken_by_subgroups(session, groups, since=since, now=now) if groups else {}
    return {
        each.share.id: _part(each.share, by_person, by_group, now=now)
        for each in held
        if not (each.share.kind is ShareKind.FAIR and each.member_subgroup_id in fair_groups)
    }


def set_share(
    session: Session,
    *,
    team: str,
    holder: Holder,
    kind: ShareKind,
    amount_micro: int,
    by: str | None,
    now: datetime,
) -> Share:
    """Give a member or a sub-group a part of the allocation, in place of the one they had.

    A part below what is taken already refuses launches, and stops nothing.
    Raises UnknownTeam, TeamRoleNeeded, UnknownMember, UnknownSubgroup, BadAmount.
    """
    found, actor = team_to_change(session, team, Action.TEAM_DIVIDE, by=by)
    if not 0 <= amount_micro <= LARGEST_MICRO:
        raise BadAmount(amount=amount_micro / MICRO, must_be=SHARE_RANGE)
    person, group = _holder(session, found, holder)
    share = _share_of(session, found, person, group)
    before = _told(share)
    if share is None:
        share = Share(
            team_id=found.id, person_id=person.id if person else None, subgroup_id=group.id if group else None
        )
        session.add(share)
    share.kind, share.amount_micro, share.set_at = kind, amount_micro, now
    session.flush()
    facts = {"kind": kind.value, "amount_micro": amount_micro, **_named(group)}
    _keep(session, found, TeamMoveKind.SHARE_SET, actor=actor, subject=person, facts=facts, now=now,
          before=before)  # fmt: skip
    return share


def lift_share(session: Session, *, team: str, holder: Holder, by: str | None, now: datetime) -> None:
    """Take the part away: the holder is limited by the account again, and by others' fair shares.

    Raises UnknownTeam, TeamRoleNeeded, UnknownMember, UnknownSubgroup.
    """
    found, actor = team_to_change(session, team, Action.TEAM_DIVIDE, by=by)
    person, group = _holder(session, found, holder)
    share = _share_of(session, found, person, group)
    if share is not None:
        session.delete(share)
        _keep(
            session,
            found,
            TeamMoveKind.SHARE_LIFTED,
            actor=actor,
            subject=person,
            facts=_named(group),
            now=now,
            before=_told(share),
        )


def make_subgroup(session: Session, *, team: str, label: str, by: str | None, now: datetime) -> Subgroup:
    """Make a sub-group, without members. Raises UnknownTeam, TeamRoleNeeded, BadName, NameTaken."""
    found, actor = team_to_change(session, team, Action.TEAM_DIVIDE, by=by)
    name = require_label(label)
    if any(group.label.casefold() == name.casefold() for group in teams.subgroups(session, found.id)):
        raise NameTaken(name=name)
    group = Subgroup(team_id=found.id, label=name, created_at=now)
    session.add(group)
    session.flush()
    _keep(session, found, TeamMoveKind.GROUP_MADE, actor=actor, subject=None, facts=_named(group), now=now)
    return group


def subgroup_called(session: Session, *, team: str, label: str) -> UUID:
    """Return the id of a team's sub-group, for operators. Raises UnknownTeam, UnknownSubgroup."""
    found = accounts.team_by_slug(session, team)
    if found is None:
        raise UnknownTeam(team=team[:40])
    for each in teams.subgroups(session, found.id):
        if each.label.casefold() == label.strip().casefold():
            return each.id
    raise UnknownSubgroup(team=found.label)


def end_subgroup(session: Session, *, team: str, subgroup_id: UUID, by: str | None, now: datetime) -> None:
    """End a sub-group and its share; its members stay in the team, what it took stays counted with them.

    Raises UnknownTeam, TeamRoleNeeded, UnknownSubgroup.
    """
    found, actor = team_to_change(session, team, Action.TEAM_DIVIDE, by=by)
    _, group = _holder(session, found, Holder(subgroup_id=subgroup_id))
    assert group is not None  # noqa: S101 - _holder raises instead
    for member in teams.in_subgroup(session, group.id):
        member.subgroup_id = None
    share = _share_of(session, found, None, group)
    if share is not None:
        session.delete(share)
    group.ended_at = now
    _keep(session, found, TeamMoveKind.GROUP_ENDED, actor=actor, subject=None, facts=_named(group), now=now)


def group(
    session: Session, *, team: str, member: str, subgroup_id: UUID | None, by: str | None, now: datetime
) -> None:
    """Put a member into a sub-group, or with None into none; running servers go on counting where they did.

    Raises UnknownTeam, TeamRoleNeeded, UnknownMember, UnknownSubgroup.
    """
    found, actor = team_to_change(session, team, Action.TEAM_DIVIDE, by=by)
    person, _ = _holder(session, found, Holder(member=member))
    assert person is not None  # noqa: S101 - _holder raises instead
    into = _holder(session, found, Holder(subgroup_id=subgroup_id))[1] if subgroup_id else None
    row = teams.membership(session, found.id, person.id)
    assert row is not None  # noqa: S101 - _holder has looked
    if row.subgroup_id == subgroup_id:
        return
    row.subgroup_id = subgroup_id
    _keep(session, found, TeamMoveKind.GROUPED, actor=actor, subject=person, facts=_named(into), now=now)


def count_anew(session: Session, team_id: UUID, *, now: datetime) -> None:
    """Let all shares count from now, as a renewed allocation is divided anew. The caller holds the lock."""
    team = session.get_one(Team, team_id)
    record(session, Act.SHARES_RESTARTED, team_id, by=NEXUS, before={"counted_from": team.counted_from},
           after={"counted_from": now}, now=now)  # fmt: skip
    team.counted_from = now


def _is_own(each: HeldShare, person_id: UUID, subgroup_id: UUID | None) -> bool:
    share = each.share
    return share.person_id == person_id or (subgroup_id is not None and share.subgroup_id == subgroup_id)


def _part(
    share: Share, by_person: Mapping[UUID, Taken], by_group: Mapping[UUID, Taken], *, now: datetime
) -> Part:
    if share.person_id is not None:
        taken = by_person.get(share.person_id, Taken())
    else:
        assert share.subgroup_id is not None  # noqa: S101 - the table has one holder
        taken = by_group.get(share.subgroup_id, Taken())
    return part(share.kind, share.amount_micro, taken, set_at=share.set_at, now=now)


def _holder(session: Session, team: Team, holder: Holder) -> tuple[Person | None, Subgroup | None]:
    if holder.subgroup_id is not None:
        found = teams.subgroup(session, team.id, holder.subgroup_id)
        if found is None:
            raise UnknownSubgroup(team=team.label)
        return None, found
    person = person_called(session, holder.member or "")
    if teams.membership(session, team.id, person.id) is None:
        raise UnknownMember(person=person.hub_name, team=team.label)
    return person, None


def _share_of(session: Session, team: Team, person: Person | None, group: Subgroup | None) -> Share | None:
    return teams.share_of(
        session,
        team.id,
        person_id=person.id if person else None,
        subgroup_id=group.id if group else None,
    )


def _told(share: Share | None) -> dict[str, object] | None:
    return None if share is None else {"kind": share.kind.value, "amount_micro": share.amount_micro}


def _named(group: Subgroup | None) -> dict[str, object]:
    return {"group": group.label, "subgroup_id": str(group.id)} if group else {}


def _keep(
    session: Session,
    team: Team,
    kind: TeamMoveKind,
    *,
    actor: Person | None,
    subject: Person | None,
    facts: Mapping[str, object],
    now: datetime,
    before: Mapping[str, object] | None = None,
) -> None:
    told = {name: value for name, value in facts.items() if name != "group"}
    record(session, ACTS[kind], team.id, by=actor.id if actor else OPERATOR,
           person_id=subject.id if subject else None, before=before, after=told, now=now)  # fmt: skip
    teams.add_move(
        session, team.id, kind, actor_id=actor.id if actor else None,
        subject_id=subject.id if subject else None, facts=facts, at=now,
    )  # fmt: skip
