"""The states and kinds that rows carry; code compares members, never English words."""

from enum import StrEnum


class TierSlug(StrEnum):
    ENTRY = "entry"
    RESEARCH = "research"
    TEAM = "team"
    SPECIAL = "special"


class Approval(StrEnum):
    """Who says yes to a tier; ``reason`` is an administrator who states why."""

    AUTOMATIC = "automatic"
    ADMINISTRATOR = "administrator"
    PANEL = "panel"
    REASON = "reason"


class AccountKind(StrEnum):
    PERSONAL = "personal"
    TEAM = "team"


class Role(StrEnum):
    LEAD = "lead"
    MANAGER = "manager"
    MEMBER = "member"


class TeamMoveKind(StrEnum):
    """What happened in a team; each is kept with who, when and to whom."""

    MADE = "made"
    INVITED = "invited"
    INVITATION_WITHDRAWN = "invitation-withdrawn"
    JOINED = "joined"
    DECLINED = "declined"
    ROLE_CHANGED = "role-changed"
    HANDED_OVER = "handed-over"
    LEFT = "left"
    REMOVED = "removed"
    GROUP_MADE = "group-made"
    GROUP_ENDED = "group-ended"
    GROUPED = "grouped"
    SHARE_SET = "share-set"
    SHARE_LIFTED = "share-lifted"


class InvitationState(StrEnum):
    """An open invitation past its date counts as expired, also before the sweep has written it down."""

    OPEN = "open"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


class ShareKind(StrEnum):
    """A cap is the most that a holder may take; a fair share is kept for its holder while they use it."""

    CAP = "cap"
    FAIR = "fair"


class NoticeKind(StrEnum):
    """What the portal tells a person, once each."""

    LEFT_TEAM = "left-team"
    REMOVED_FROM_TEAM = "removed-from-team"
    MEMBER_JOINED = "member-joined"
    MEMBER_LEFT = "member-left"
    INVITATION_DECLINED = "invitation-declined"
    LEADS_TEAM = "leads-team"
    SERVER_ENTERED = "server-entered"
    ALLOCATION_ENDS = "allocation-ends"
    ALLOCATION_ENDED = "allocation-ended"
    ALLOCATION_RENEWED = "allocation-renewed"
    ALLOCATION_LAPSED = "allocation-lapsed"
    REVIEWER_APPOINTED = "reviewer-appointed"
    REVIEWER_ENDED = "reviewer-ended"
    REVIEW_ASKED = "review-asked"
    OFFER_MADE = "offer-made"
    OFFER_ANSWERED = "offer-answered"
    OFFER_EXPIRED = "offer-expired"
    INVITATION_EXPIRED = "invitation-expired"
    WEBHOOK_DISABLED = "webhook-disabled"
    EVENT_ENDED = "event-ended"
    PLACE_FILLS = "place-fills"
    PLACE_SOFT = "place-soft"
    PLACE_LOCKED = "place-locked"
    SCRATCH_ENDS = "scratch-ends"
    SCRATCH_ENDED = "scratch-ended"
    PURGE_PLANNED = "purge-planned"
    PURGE_CALLED_OFF = "purge-called-off"
    FILES_IN_QUARANTINE = "files-in-quarantine"
    FILES_RESTORED = "files-restored"
    EXEMPTION_ANSWERED = "exemption-answered"
    FILES_BROUGHT_BACK = "files-brought-back"


class EntryKind(StrEnum):
    GRANT = "grant"
    USAGE = "usage"
    STORAGE = "storage"
    CORRECTION = "correction"
    TRANSFER = "transfer"
    LAPSE = "lapse"


class BookKind(StrEnum):
    """The books that entries move credits between: one per allocation, and the platform's own three."""

    ALLOCATION = "allocation"
    GRANTED = "granted"
    USED = "used"
    CORRECTED = "corrected"


class HoldState(StrEnum):
    PLACED = "placed"
    RUNNING = "running"
    SETTLED = "settled"


LIVE = (HoldState.PLACED, HoldState.RUNNING)


class RequestState(StrEnum):
    """A request's way to a decision, and from an award on the life of what was awarded."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    IN_REVIEW = "in-review"
    RETURNED = "returned"
    OFFERED = "offered"
    ACCEPTED = "accepted"
    AWARDED = "awarded"
    AWARDED_IN_PART = "awarded-in-part"
    DENIED = "denied"
    WITHDRAWN = "withdrawn"
    ACTIVE = "active"
    EXPIRING = "expiring"
    GRACE = "grace"
    EXPIRED = "expired"
    RENEWED = "renewed"


class Mover(StrEnum):
    """As what somebody moves a request.

    The platform moves it by the clock, by the list of grants, or because its applicant accepted an offer.
    """

    APPLICANT = "applicant"
    REVIEWER = "reviewer"
    ADMINISTRATOR = "administrator"
    PLATFORM = "platform"


class StopReason(StrEnum):
    OWN_HAND = "own-hand"
    IDLE = "idle"
    MAX_AGE = "max-age"
    PLANNED_HOURS = "planned-hours"
    QUOTA = "quota"
    ADMINISTRATOR = "administrator"
    SUSPENDED = "suspended"
    LEFT_TEAM = "left-team"
    ACCESS_ENDED = "access-ended"
    TEAM_HAND = "team-hand"
    MEMBER_GONE = "member-gone"
    UNPAID = "unpaid"
    SHUTDOWN = "shutdown"
    START_FAILED = "start-failed"
    OUT_OF_MEMORY = "out-of-memory"
    NODE_LOST = "node-lost"
    SIGNAL = "signal"
    EXIT = "exit"
    NEVER_STARTED = "never-started"
    REPLACED = "replaced"
    UNKNOWN = "unknown"
