"""A team's readings as its pages want them: labels for slugs, sentences for moves, what the viewer may do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.rights import TEAM_ACTIONS, Action
from nexus_allocator.domain.shares import Part
from nexus_allocator.domain.states import Role, ShareKind, TeamMoveKind
from nexus_allocator.services.team_reading import MemberRow, MoveRow, TeamPage
from nexus_allocator.web.formats import credits_field, credits_round
from nexus_allocator.web.team_forms import ROLE_LABELS, ShareForm
from nexus_allocator.web.views import account_view

SHARE_LABELS = {ShareKind.CAP: "Cap", ShareKind.FAIR: "Fair share"}


@dataclass(frozen=True)
class MemberView:
    """A member's row with labels, and what the viewer may do to it."""

    row: MemberRow
    role_label: str
    part_text: str
    left_micro: int | None
    can_change: bool
    can_remove: bool

    def __getattr__(self, name: str) -> Any:
        return getattr(self.row, name)


def team_view(found: TeamPage, policy: Policy, *, viewer: str) -> dict[str, Any]:
    return {
        "slug": found.slug,
        "label": found.label,
        "role": found.role,
        "role_label": ROLE_LABELS[found.role] if found.role else "Administrator",
        "can": {act.removeprefix("team.").replace("-", "_"): act in found.acts for act in TEAM_ACTIONS},
        "room_micro": found.room_micro,
        "counted_from": found.counted_from,
        "account": account_view(found.account, policy),
        "members": [member_view(row, found) for row in found.members],
        "taken_micro": sum(row.taken_micro for row in found.members),
        "groups": [(group, part_text(group.part)) for group in found.groups],
        "invitations": [(row, ROLE_LABELS[row.role]) for row in found.invitations],
        "moves": [(move_text(move), move.at) for move in found.moves],
        "viewer": viewer,
    }


def member_view(row: MemberRow, found: TeamPage) -> MemberView:
    removing = Action.TEAM_REMOVE_MANAGER if row.role is Role.MANAGER else Action.TEAM_REMOVE_MEMBER
    stays = row.role in (None, Role.LEAD)
    changing = {Action.TEAM_CHANGE_ROLE, Action.TEAM_DIVIDE, Action.TEAM_REMOVE_MEMBER}
    return MemberView(
        row=row,
        role_label=ROLE_LABELS[row.role] if row.role else "Left",
        part_text=part_text(row.part) + (", rests while the sub-group has one" if row.rests else ""),
        left_micro=row.part.left_micro if row.part and not row.rests else None,
        can_change=row.role is not None and bool(changing & found.acts),
        can_remove=not stays and removing in found.acts,
    )


def part_text(part: Part | None) -> str:
    if part is None:
        return "–"
    idle = ", idle" if part.is_idle and part.kind is ShareKind.FAIR else ""
    return f"{SHARE_LABELS[part.kind]} of {credits_round(part.amount_micro)}{idle}"


def share_form(part: Part | None) -> ShareForm:
    return ShareForm() if part is None else ShareForm(part.kind.value, credits_field(part.amount_micro))


Facts = Mapping[str, Any]


def _share(facts: Facts) -> str:
    kind = "a cap" if facts["kind"] == ShareKind.CAP else "a fair share"
    return f"{kind} of {credits_round(facts['amount_micro'])} credits"


MOVES: dict[TeamMoveKind, Callable[[str, Facts], str]] = {
    TeamMoveKind.MADE: lambda whom, f: "The team was made",
    TeamMoveKind.INVITED: lambda whom, f: f"{whom} was invited as {f['role']}",
    TeamMoveKind.INVITATION_WITHDRAWN: lambda whom, f: f"The invitation of {whom} was withdrawn",
    TeamMoveKind.JOINED: lambda whom, f: f"{whom} joined as {f['role']}",
    TeamMoveKind.DECLINED: lambda whom, f: f"{whom} declined the invitation",
    TeamMoveKind.ROLE_CHANGED: lambda whom, f: f"{whom} became {f['role']}",
    TeamMoveKind.HANDED_OVER: lambda whom, f: f"The lead was handed over to {whom}",
    TeamMoveKind.LEFT: lambda whom, f: f"{whom} left",
    TeamMoveKind.REMOVED: lambda whom, f: f"{whom} was removed; reason: {f['reason']}",
    TeamMoveKind.GROUP_MADE: lambda whom, f: f"The sub-group {f['group']} was made",
    TeamMoveKind.GROUP_ENDED: lambda whom, f: f"The sub-group {f['group']} was ended",
    TeamMoveKind.GROUPED: lambda whom, f: f"{whom} was put into {f.get('group', 'no sub-group')}",
    TeamMoveKind.SHARE_SET: lambda whom, f: f"{f.get('group', whom)} was given {_share(f)}",
    TeamMoveKind.SHARE_LIFTED: lambda whom, f: f"The part of {f.get('group', whom)} was taken away",
}


def move_text(move: MoveRow) -> str:
    """Return one thing that happened, with who did it where that is another person."""
    text = MOVES[move.kind](move.whom or "Somebody by e-mail", move.facts)
    return f"{text}, by {move.by}" if move.by and move.by != move.whom else text
