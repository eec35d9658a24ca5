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
    MEMBER = "member"


class EntryKind(StrEnum):
    GRANT = "grant"
    USAGE = "usage"
    CORRECTION = "correction"
    TRANSFER = "transfer"


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
    SUBMITTED = "submitted"
    AWARDED = "awarded"
    DENIED = "denied"


class StopReason(StrEnum):
    OWN_HAND = "own-hand"
    IDLE = "idle"
    MAX_AGE = "max-age"
    PLANNED_HOURS = "planned-hours"
    QUOTA = "quota"
    ADMINISTRATOR = "administrator"
    SUSPENDED = "suspended"
    SHUTDOWN = "shutdown"
    START_FAILED = "start-failed"
    OUT_OF_MEMORY = "out-of-memory"
    SIGNAL = "signal"
    EXIT = "exit"
    NEVER_STARTED = "never-started"
    REPLACED = "replaced"
    UNKNOWN = "unknown"
