"""How mail, webhooks and the outbox read on a page."""

from dataclasses import dataclass

from nexus_allocator.domain.mailing import LetterKind, MailKind, Timing
from nexus_allocator.domain.outbox import Channel, FileCall, HubCall, OutgoingState, PurgeCall
from nexus_allocator.domain.webhooks import EventKind
from nexus_allocator.services.outbox_reading import Row


@dataclass(frozen=True)
class KindView:
    label: str
    hint: str


KINDS: dict[MailKind, KindView] = {
    MailKind.ENDINGS: KindView(
        "Ends and renewals", "30, 14, 7 and 1 days before an allocation ends, and after."
    ),
    MailKind.SPENDING: KindView("Spending", "When 75, 90 and 100 % of an award are used."),
    MailKind.STOPS: KindView(
        "Servers stopped", "When a server of yours was not stopped by yourself, and why."
    ),
    MailKind.REQUESTS: KindView("Requests", "What becomes of your requests; reviews asked of you."),
    MailKind.INVITATIONS: KindView("Invitations", "When a team invites you."),
    MailKind.TEAMS: KindView("Teams", "When somebody joins, leaves or leads."),
    MailKind.FILES: KindView("Files", "Before a purge, while files wait in quarantine, as a place fills."),
    MailKind.STANDING: KindView(
        "Your standing", "Suspension, reinstatement, a new user agreement, an administrator in your server."
    ),
    MailKind.PLATFORM: KindView("The platform", "What only administrators can mend."),
}

TIMINGS: dict[Timing, str] = {
    Timing.AT_ONCE: "At once",
    Timing.DIGEST: "Once a day, at 07:00 UTC",
    Timing.NEVER: "Never",
}

CHANNELS: dict[Channel, str] = {
    Channel.MAIL: "Mail",
    Channel.WEBHOOK: "Webhook",
    Channel.HUB: "Hub",
    Channel.FILES: "Files",
    Channel.PURGES: "Purges",
    Channel.SNAPSHOTS: "Snapshots",
}

# What each state reads as, and the tag's colour.
STATE_TAGS: dict[OutgoingState, tuple[str, str]] = {
    OutgoingState.WAITING: ("Waiting", "nx-tag--accent"),
    OutgoingState.FOR_DIGEST: ("For the digest", "nx-tag--accent"),
    OutgoingState.SENT: ("Sent", "nx-tag--good"),
    OutgoingState.IN_DIGEST: ("In a digest", "nx-tag--good"),
    OutgoingState.DROPPED: ("Not sent", ""),
    OutgoingState.DEAD: ("Given up", "nx-tag--bad"),
}

WHAT: dict[str, str] = {
    LetterKind.SPENDING_MARK: "Credits used to a mark",
    LetterKind.SERVER_STOPPED: "Server stopped",
    LetterKind.REQUEST_MOVED: "Request decided or returned",
    LetterKind.INVITED: "Invitation",
    LetterKind.SUSPENDED: "Suspended",
    LetterKind.REINSTATED: "Reinstated",
    LetterKind.AGREEMENT_RENEWED: "New user agreement",
    LetterKind.DIGEST: "Digest",
    HubCall.STOP_SERVER: "Stop a server",
    HubCall.REVOKE_TOKENS: "Revoke tokens",
    PurgeCall.RESTORE: "Restore files",
    PurgeCall.CANCEL_PURGE: "Cancel a purge",
    FileCall.SETTLE_PLACE: "Make or limit a place",
    FileCall.LOOK: "Look at a place",
}


def row_label(row: Row) -> str:
    """Return what a row is about; a notice's kind is a word that people can read."""
    return WHAT.get(row.kind, row.kind.replace("-", " ").replace(".", " ").capitalize())


EVENTS: dict[EventKind, str] = {
    EventKind.REQUEST_MOVED: "A request moved",
    EventKind.ALLOCATION_TOLD: "An allocation ends, ended, began anew or lapsed",
    EventKind.SPENDING_MARKED: "Credits were used to a mark",
    EventKind.SERVER_STOPPED: "A server stopped",
    EventKind.PERSON_SUSPENDED: "A person was suspended",
    EventKind.PERSON_REINSTATED: "A person was reinstated",
}
