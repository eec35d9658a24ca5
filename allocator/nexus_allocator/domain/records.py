"""What the log of decisions and changes is made of: acts, what they are about, and who did them."""

from enum import StrEnum


class About(StrEnum):
    """What kind of thing an act concerns."""

    PERSON = "person"
    ACCOUNT = "account"
    TEAM = "team"
    REQUEST = "request"
    SERVER = "server"
    PLATFORM = "platform"


class ActorKind(StrEnum):
    """Who acts: a person, whoever runs the command line, or the Nexus itself by clock or rule."""

    PERSON = "person"
    OPERATOR = "operator"
    NEXUS = "nexus"


class Act(StrEnum):
    """One kind of decision or change."""

    PERSON_CREATED = "person_created"
    PERSON_RENAMED = "person_renamed"
    ADMINISTRATOR_CHANGED = "administrator_changed"
    AGREEMENT_ACCEPTED = "agreement_accepted"
    PERSON_SUSPENDED = "person_suspended"
    PERSON_REINSTATED = "person_reinstated"
    IDENTITY_CHANGED = "identity_changed"
    PEOPLE_MERGED = "people_merged"
    PERSON_ERASED = "person_erased"
    MAIL_CHOSEN = "mail_chosen"
    ACCOUNT_OPENED = "account_opened"
    GRANTED = "granted"
    CORRECTED = "corrected"
    TRANSFERRED = "transferred"
    ALLOCATION_CHANGED = "allocation_changed"
    ALLOCATION_NOTICED = "allocation_noticed"
    ALLOCATION_RENEWED = "allocation_renewed"
    ALLOCATION_LAPSED = "allocation_lapsed"
    NOTICED = "noticed"
    NOTICE_CLEARED = "notice_cleared"
    TEAM_CREATED = "team_created"
    MEMBER_SEATED = "member_joined"
    MEMBER_LEFT = "member_left"
    MEMBER_REMOVED = "member_removed"
    ROLE_CHANGED = "role_changed"
    HANDED_OVER = "handed_over"
    INVITED = "invited"
    INVITATION_ANSWERED = "invitation_answered"
    INVITATION_WITHDRAWN = "invitation_withdrawn"
    INVITATION_EXPIRED = "invitation_expired"
    SHARE_SET = "share_set"
    SHARE_LIFTED = "share_lifted"
    SHARES_RESTARTED = "shares_restarted"
    SUBGROUP_MADE = "subgroup_made"
    SUBGROUP_ENDED = "subgroup_ended"
    GROUPED = "grouped"
    REQUEST_BEGUN = "request_begun"
    REQUEST_WRITTEN = "request_written"
    REQUEST_MOVED = "request_moved"
    REQUEST_REFERRED = "request_referred"
    REQUEST_PLACED = "request_placed"
    REVIEW_GIVEN = "review_given"
    CONFLICT_DECLARED = "conflict_declared"
    PANEL_BYPASSED = "panel_bypassed"
    OFFER_MADE = "offer_made"
    OFFER_ANSWERED = "offer_answered"
    OFFER_EXPIRED = "offer_expired"
    REVIEWER_APPOINTED = "reviewer_appointed"
    REVIEWER_ENDED = "reviewer_ended"
    ROUND_MADE = "round_made"
    ROUND_CHANGED = "round_changed"
    STOP_INTENDED = "stop_intended"
    KEPT_ALIVE = "kept_alive"
    SERVER_ENTERED = "server_entered"
    SERVER_LEFT = "server_left"
    ANNOUNCED = "announced"
    ANNOUNCEMENT_WITHDRAWN = "announcement_withdrawn"
    WHAT_IF_ASKED = "what_if_asked"
    EVENT_MADE = "event_made"
    EVENT_JOINED = "event_joined"
    EVENT_ENDED = "event_ended"
    EVENT_CLOSED = "event_closed"
    VOLUME_OPENED = "volume_opened"
    VOLUME_CLOSED = "volume_closed"
    PLACE_OPENED = "place_opened"
    PLACE_SIZED = "place_sized"
    SCRATCH_TAKEN = "scratch_taken"
    SCRATCH_ENDED = "scratch_ended"
    FILES_EXEMPTED = "files_exempted"
    EXEMPTION_ENDED = "exemption_ended"
    EXEMPTION_ASKED = "exemption_asked"
    EXEMPTION_GRANTED = "exemption_granted"
    PURGE_MOVED = "purge_moved"
    PURGE_CANCELLED = "purge_cancelled"
    FILES_RESTORE_ASKED = "files_restore_asked"
    SNAPSHOT_ASKED = "snapshot_asked"
    GRANTS_IMPORTED = "grants_imported"
    LAUNCHES_HELD = "launches_held"
    LAUNCHES_LET_THROUGH = "launches_let_through"
    POOL_BRAKE_ON = "pool_brake_on"
    POOL_BRAKE_OFF = "pool_brake_off"
    RATE_CARD_KEPT = "rate_card_kept"
    AGREEMENT_KEPT = "agreement_kept"
    OUTGOING_RETRIED = "outgoing_retried"
    ENDPOINT_REGISTERED = "endpoint_registered"
    ENDPOINT_ROTATED = "endpoint_rotated"
    ENDPOINT_SWITCHED = "endpoint_switched"
    ENDPOINT_DISABLED = "endpoint_disabled"
    ENDPOINT_REMOVED = "endpoint_removed"
    ENDPOINT_TESTED = "endpoint_tested"


_OF_PEOPLE = {
    Act.PERSON_CREATED,
    Act.PERSON_RENAMED,
    Act.ADMINISTRATOR_CHANGED,
    Act.AGREEMENT_ACCEPTED,
    Act.PERSON_SUSPENDED,
    Act.PERSON_REINSTATED,
    Act.IDENTITY_CHANGED,
    Act.PEOPLE_MERGED,
    Act.PERSON_ERASED,
    Act.MAIL_CHOSEN,
    Act.REVIEWER_APPOINTED,
    Act.REVIEWER_ENDED,
}
_OF_ACCOUNTS = {
    Act.ACCOUNT_OPENED,
    Act.GRANTED,
    Act.CORRECTED,
    Act.TRANSFERRED,
    Act.ALLOCATION_CHANGED,
    Act.ALLOCATION_NOTICED,
    Act.ALLOCATION_RENEWED,
    Act.ALLOCATION_LAPSED,
    Act.NOTICED,
    Act.NOTICE_CLEARED,
    Act.PLACE_OPENED,
    Act.PLACE_SIZED,
    Act.SCRATCH_TAKEN,
    Act.SCRATCH_ENDED,
}
_OF_REQUESTS = {
    Act.REQUEST_BEGUN,
    Act.REQUEST_WRITTEN,
    Act.REQUEST_MOVED,
    Act.REQUEST_REFERRED,
    Act.REQUEST_PLACED,
    Act.REVIEW_GIVEN,
    Act.CONFLICT_DECLARED,
    Act.PANEL_BYPASSED,
    Act.OFFER_MADE,
    Act.OFFER_ANSWERED,
    Act.OFFER_EXPIRED,
}
_OF_TEAMS = {
    Act.TEAM_CREATED,
    Act.MEMBER_SEATED,
    Act.MEMBER_LEFT,
    Act.MEMBER_REMOVED,
    Act.ROLE_CHANGED,
    Act.HANDED_OVER,
    Act.INVITED,
    Act.INVITATION_ANSWERED,
    Act.INVITATION_WITHDRAWN,
    Act.INVITATION_EXPIRED,
    Act.SHARE_SET,
    Act.SHARE_LIFTED,
    Act.SHARES_RESTARTED,
    Act.SUBGROUP_MADE,
    Act.SUBGROUP_ENDED,
    Act.GROUPED,
    Act.EVENT_MADE,
    Act.EVENT_JOINED,
    Act.EVENT_ENDED,
    Act.EVENT_CLOSED,
}
ABOUT: dict[Act, About] = {
    **dict.fromkeys(Act, About.PLATFORM),
    **dict.fromkeys(_OF_PEOPLE, About.PERSON),
    **dict.fromkeys(_OF_ACCOUNTS, About.ACCOUNT),
    **dict.fromkeys(_OF_TEAMS, About.TEAM),
    **dict.fromkeys(_OF_REQUESTS, About.REQUEST),
    **dict.fromkeys((Act.STOP_INTENDED, Act.KEPT_ALIVE, Act.SERVER_ENTERED, Act.SERVER_LEFT), About.SERVER),
}
# How acts stand in the services that name their actor by a word.
OPERATOR, NEXUS = "operator", "nexus"
