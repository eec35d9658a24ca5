"""Which mail people get: kinds that each sets, those that nobody can switch off, and the daily digest."""

from datetime import UTC, datetime, time, timedelta
from enum import StrEnum

from nexus_allocator.domain.states import NoticeKind

# UTC; a digest tells what came before it.
DIGEST_TIME = time(7, tzinfo=UTC)


class MailKind(StrEnum):
    """What a person chooses by."""

    ENDINGS = "endings"
    SPENDING = "spending"
    STOPS = "stops"
    REQUESTS = "requests"
    INVITATIONS = "invitations"
    TEAMS = "teams"
    FILES = "files"
    STANDING = "standing"
    PLATFORM = "platform"


class Timing(StrEnum):
    AT_ONCE = "at-once"
    DIGEST = "digest"
    NEVER = "never"


class LetterKind(StrEnum):
    """What a letter is about, beside the kinds of notices that the portal shows too."""

    SPENDING_MARK = "spending-mark"
    SERVER_STOPPED = "server-stopped"
    REQUEST_MOVED = "request-moved"
    INVITED = "invited"
    SUSPENDED = "suspended"
    REINSTATED = "reinstated"
    AGREEMENT_RENEWED = "agreement-renewed"
    DIGEST = "digest"


# Whoever may not sign in can read it nowhere else, an agreement binds, and nobody is visited unawares.
ESSENTIAL = frozenset({MailKind.STANDING, MailKind.PLATFORM})
# Shown to who may get it only: administrators.
FOR_ADMINISTRATORS = frozenset({MailKind.PLATFORM})

MAIL_KINDS: dict[str, MailKind] = {
    NoticeKind.ALLOCATION_ENDS: MailKind.ENDINGS,
    NoticeKind.ALLOCATION_ENDED: MailKind.ENDINGS,
    NoticeKind.ALLOCATION_RENEWED: MailKind.ENDINGS,
    NoticeKind.ALLOCATION_LAPSED: MailKind.ENDINGS,
    NoticeKind.EVENT_ENDED: MailKind.ENDINGS,
    NoticeKind.REVIEWER_APPOINTED: MailKind.REQUESTS,
    NoticeKind.REVIEWER_ENDED: MailKind.REQUESTS,
    NoticeKind.REVIEW_ASKED: MailKind.REQUESTS,
    NoticeKind.OFFER_MADE: MailKind.REQUESTS,
    NoticeKind.OFFER_ANSWERED: MailKind.REQUESTS,
    NoticeKind.OFFER_EXPIRED: MailKind.REQUESTS,
    NoticeKind.INVITATION_EXPIRED: MailKind.TEAMS,
    NoticeKind.PURGE_PLANNED: MailKind.FILES,
    NoticeKind.PURGE_CALLED_OFF: MailKind.FILES,
    NoticeKind.FILES_IN_QUARANTINE: MailKind.FILES,
    NoticeKind.FILES_RESTORED: MailKind.FILES,
    NoticeKind.EXEMPTION_ANSWERED: MailKind.FILES,
    NoticeKind.FILES_BROUGHT_BACK: MailKind.FILES,
    NoticeKind.PLACE_FILLS: MailKind.FILES,
    NoticeKind.PLACE_SOFT: MailKind.FILES,
    NoticeKind.PLACE_LOCKED: MailKind.FILES,
    NoticeKind.SCRATCH_ENDS: MailKind.FILES,
    NoticeKind.SCRATCH_ENDED: MailKind.FILES,
    NoticeKind.LEFT_TEAM: MailKind.TEAMS,
    NoticeKind.REMOVED_FROM_TEAM: MailKind.TEAMS,
    NoticeKind.MEMBER_JOINED: MailKind.TEAMS,
    NoticeKind.MEMBER_LEFT: MailKind.TEAMS,
    NoticeKind.INVITATION_DECLINED: MailKind.TEAMS,
    NoticeKind.LEADS_TEAM: MailKind.TEAMS,
    NoticeKind.SERVER_ENTERED: MailKind.STANDING,
    NoticeKind.WEBHOOK_DISABLED: MailKind.PLATFORM,
    LetterKind.SPENDING_MARK: MailKind.SPENDING,
    LetterKind.SERVER_STOPPED: MailKind.STOPS,
    LetterKind.REQUEST_MOVED: MailKind.REQUESTS,
    LetterKind.INVITED: MailKind.INVITATIONS,
    LetterKind.SUSPENDED: MailKind.STANDING,
    LetterKind.REINSTATED: MailKind.STANDING,
    LetterKind.AGREEMENT_RENEWED: MailKind.STANDING,
}


def kind_of(letter: str) -> MailKind:
    """Return by which choice a letter goes; a kind of another release goes with what concerns teams."""
    return MAIL_KINDS.get(letter, MailKind.TEAMS)


def timing_of(kind: MailKind, chosen: Timing | None) -> Timing:
    """Return when a letter goes to who chose so; who chose nothing, or can't, gets it at once."""
    if chosen is None or kind in ESSENTIAL:
        return Timing.AT_ONCE
    return chosen


def last_digest(now: datetime) -> datetime:
    """Return the moment of the digest that is or was due last."""
    today = datetime.combine(now.astimezone(UTC).date(), DIGEST_TIME)
    return today if today <= now else today - timedelta(days=1)
