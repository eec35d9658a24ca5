"""What the portal tells a person, as sentences. Called at the edges only."""

from collections.abc import Callable

from nexus_allocator.domain.states import NoticeKind
from nexus_allocator.domain.wording import Facts


def _stopped(facts: Facts) -> str:
    count = facts["servers"]
    if not count:
        return "No server of yours was running on its credits."
    return f"{count} server{'s' if count > 1 else ''} of yours that ran on its credits {_was(count)} stopped."


def _was(count: int) -> str:
    return "were" if count > 1 else "was"


FILES = "What you put into its folder stays with the team; your home is yours as before."

NOTICES: dict[str, Callable[[Facts], str]] = {
    NoticeKind.LEFT_TEAM: lambda f: f"You left {f['team']}. {_stopped(f)} {FILES}",
    NoticeKind.REMOVED_FROM_TEAM: lambda f: (
        f"You are no longer in {f['team']}. Reason given: {f['reason']} {_stopped(f)} {FILES}"
    ),
    NoticeKind.MEMBER_JOINED: lambda f: f"{f['person']} joined {f['team']}.",
    NoticeKind.MEMBER_LEFT: lambda f: f"{f['person']} left {f['team']}.",
    NoticeKind.INVITATION_DECLINED: lambda f: f"{f['person']} declined the invitation to {f['team']}.",
    NoticeKind.LEADS_TEAM: lambda f: (
        f"You lead {f['team']} now: you say who is in it and who may use how much, and you ask for more."
    ),
}


def notice_sentence(kind: str, facts: Facts) -> str:
    """Return what to tell; a kind of an older or newer release is named as it is."""
    told = NOTICES.get(kind)
    return told(facts) if told else kind
