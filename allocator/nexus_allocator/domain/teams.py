"""Who may do what in a team, and how long an invitation waits."""

from collections.abc import Mapping
from datetime import timedelta

from nexus_allocator.domain.errors import BadAddress
from nexus_allocator.domain.names import NAME
from nexus_allocator.domain.states import Role, TeamAct

INVITATION_LASTS = timedelta(days=14)
MOST_OPEN_INVITATIONS = 100
LONGEST_ADDRESS = 254

EVERYBODY = frozenset(Role)
LEADING = frozenset({Role.LEAD, Role.MANAGER})
LEAD = frozenset({Role.LEAD})

ROLES: Mapping[TeamAct, frozenset[Role]] = {
    TeamAct.SEE: EVERYBODY,
    TeamAct.INVITE: LEADING,
    TeamAct.INVITE_MANAGER: LEAD,
    TeamAct.REMOVE_MEMBER: LEADING,
    TeamAct.REMOVE_MANAGER: LEAD,
    TeamAct.CHANGE_ROLE: LEAD,
    TeamAct.HAND_OVER: LEAD,
    TeamAct.DIVIDE: LEADING,
}


def may(role: Role, act: TeamAct) -> bool:
    return role in ROLES[act]


def acts_of(role: Role) -> frozenset[TeamAct]:
    return frozenset(act for act in TeamAct if may(role, act))


def address(text: str) -> tuple[str | None, str | None]:
    """Return by what somebody is invited: (hub name, None) or (None, e-mail address). Raises BadAddress."""
    words = text.strip()
    if NAME.fullmatch(words):
        return words, None
    local, at, host = words.partition("@")
    spaced = any(sign.isspace() or not sign.isprintable() for sign in words)
    if not (local and at and "." in host) or "@" in host or spaced or len(words) > LONGEST_ADDRESS:
        raise BadAddress(address=words[:60])
    return None, words.casefold()
