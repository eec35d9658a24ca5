"""Who may do what: one table of actions, as what somebody acts, and over whose things.

`services/rights.py` asks it for every route and every service function; nothing else decides about rights.
A route says what it does with `does`, and one that names no action is for nobody.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from nexus_allocator.domain.states import Role


class Capacity(StrEnum):
    """As what somebody acts. One person acts in several: Ada is a person, a lead here and a member there."""

    VISITOR = "visitor"
    PERSON = "person"
    MEMBER = "member"
    MANAGER = "manager"
    LEAD = "lead"
    REVIEWER = "reviewer"
    ADMINISTRATOR = "administrator"
    OPERATOR = "operator"
    HUB = "hub"
    GATEWAY = "gateway"
    SERVER = "server"
    MONITOR = "monitor"


class Reach(StrEnum):
    """Over whose things: one's own, those of the team one acts in, or anybody's."""

    OWN = "own"
    TEAM = "team"
    ANY = "any"


class Action(StrEnum):
    """What is done; those on a team begin with ``team.``."""

    SIGN_IN = "sign-in"
    HEALTH_SEE = "health.see"
    POLICY_SEE = "policy.see"
    AGREEMENT_SEE = "agreement.see"
    AGREEMENT_ACCEPT = "agreement.accept"
    OVERVIEW_SEE = "overview.see"
    ACCOUNT_SEE = "account.see"
    ACCOUNT_CHARGE = "account.charge"
    ACCOUNT_ASK = "account.ask"
    REQUEST_SEE = "request.see"
    REQUEST_WITHDRAW = "request.withdraw"
    REQUEST_DECIDE = "request.decide"
    OFFER_ANSWER = "offer.answer"
    REVIEW_SEE = "review.see"
    REVIEW_GIVE = "review.give"
    PANEL_SEE = "panel.see"
    PANEL_RUN = "panel.run"
    NOTICE_SEE = "notice.see"
    NOTICE_PUT_AWAY = "notice.put-away"
    SERVER_SEE = "server.see"
    SERVER_STOP = "server.stop"
    SERVER_KEEP = "server.keep"
    SERVER_ENTER = "server.enter"
    INVITATION_SEE = "invitation.see"
    INVITATION_ANSWER = "invitation.answer"
    TEAM_SEE = "team.see"
    TEAM_INVITE = "team.invite"
    TEAM_INVITE_MANAGER = "team.invite-manager"
    TEAM_REMOVE_MEMBER = "team.remove-member"
    TEAM_REMOVE_MANAGER = "team.remove-manager"
    TEAM_CHANGE_ROLE = "team.change-role"
    TEAM_HAND_OVER = "team.hand-over"
    TEAM_DIVIDE = "team.divide"
    TEAM_LEAVE = "team.leave"
    PERSON_SEE = "person.see"
    PERSON_SUSPEND = "person.suspend"
    PERSON_REINSTATE = "person.reinstate"
    FORECAST_SEE = "forecast.see"
    POOL_SEE = "pool.see"
    LAUNCHES_HOLD = "launches.hold"
    MAIL_CHOOSE = "mail.choose"
    OUTBOX_SEE = "outbox.see"
    OUTBOX_RETRY = "outbox.retry"
    WEBHOOK_KEEP = "webhook.keep"
    LOG_SEE = "log.see"
    ANNOUNCE = "announce"
    WHAT_IF = "what-if"
    EVENT_SEE = "event.see"
    EVENT_MAKE = "event.make"
    EVENT_END = "event.end"
    EVENT_JOIN = "event.join"
    PERSON_CHANGE = "person.change"
    PERSON_MERGE = "person.merge"
    PERSON_ERASE = "person.erase"
    PURGE_SEE = "purge.see"
    PURGE_RESTORE = "purge.restore"
    PURGE_RUN = "purge.run"
    EXEMPTION_ASK = "exemption.ask"
    SNAPSHOT_SEE = "snapshot.see"
    SNAPSHOT_RESTORE = "snapshot.restore"
    IDENTITY_RECORD = "identity.record"
    STANDING_SEE = "standing.see"
    LAUNCH_SEE = "launch.see"
    LAUNCH_ADMIT = "launch.admit"
    HOLD_REPORT = "hold.report"
    STOP_RECORD = "stop.record"
    KEEP_SEE = "keep.see"
    CLUSTER_ADMIT = "cluster.admit"
    CLUSTER_REPORT = "cluster.report"
    CARD_SEE = "card.see"
    METRICS_SEE = "metrics.see"
    STORAGE_SEE = "storage.see"
    STORAGE_OVERSEE = "storage.oversee"
    STORAGE_SIZE = "storage.size"
    SCRATCH_TAKE = "scratch.take"
    STORE_OPEN = "store.open"


Cells = Mapping[Capacity, Reach]

PUBLIC: Cells = {Capacity.VISITOR: Reach.ANY}
OWNER: Cells = {Capacity.PERSON: Reach.OWN}
LED: Cells = {Capacity.LEAD: Reach.TEAM}
LEADING: Cells = {**LED, Capacity.MANAGER: Reach.TEAM}
SEATED: Cells = {**LEADING, Capacity.MEMBER: Reach.TEAM}
ADMINISTERED: Cells = {Capacity.ADMINISTRATOR: Reach.ANY}
OVERSEEN: Cells = {**ADMINISTERED, Capacity.OPERATOR: Reach.ANY}
REVIEWED: Cells = {Capacity.REVIEWER: Reach.ANY}
HUB: Cells = {Capacity.HUB: Reach.ANY}
GATEWAY: Cells = {Capacity.GATEWAY: Reach.ANY}
ITSELF: Cells = {Capacity.SERVER: Reach.OWN}
MONITORED: Cells = {Capacity.MONITOR: Reach.ANY}

TABLE: Mapping[Action, Cells] = {
    Action.SIGN_IN: PUBLIC,
    Action.HEALTH_SEE: PUBLIC,
    Action.POLICY_SEE: PUBLIC,
    Action.AGREEMENT_SEE: PUBLIC,
    # The launch page is the hub's, and so is the box that is ticked there.
    Action.AGREEMENT_ACCEPT: {**OWNER, **HUB},
    Action.OVERVIEW_SEE: OWNER,
    Action.ACCOUNT_SEE: {**OWNER, **SEATED, **OVERSEEN},
    Action.ACCOUNT_CHARGE: {**OWNER, **SEATED},
    Action.ACCOUNT_ASK: {**OWNER, **LED},
    Action.REQUEST_SEE: {**OWNER, **OVERSEEN},
    Action.REQUEST_WITHDRAW: OWNER,
    Action.REQUEST_DECIDE: ADMINISTERED,
    Action.OFFER_ANSWER: {**OWNER, **LED},
    # A conflict of interest with one request is no question of this table: `services/reviews.py` asks it.
    Action.REVIEW_SEE: REVIEWED,
    Action.REVIEW_GIVE: REVIEWED,
    Action.PANEL_SEE: OVERSEEN,
    Action.PANEL_RUN: OVERSEEN,
    Action.NOTICE_SEE: OWNER,
    Action.NOTICE_PUT_AWAY: OWNER,
    Action.SERVER_SEE: {**OWNER, **OVERSEEN},
    Action.SERVER_STOP: {**OWNER, **OVERSEEN, **ITSELF},
    Action.SERVER_KEEP: OWNER,
    # With a reason and for a while: `services/enterings.py`.
    Action.SERVER_ENTER: ADMINISTERED,
    Action.INVITATION_SEE: OWNER,
    Action.INVITATION_ANSWER: OWNER,
    Action.TEAM_SEE: {**SEATED, **OVERSEEN},
    Action.TEAM_INVITE: {**LEADING, **OVERSEEN},
    Action.TEAM_INVITE_MANAGER: {**LED, **OVERSEEN},
    Action.TEAM_REMOVE_MEMBER: {**LEADING, **OVERSEEN},
    Action.TEAM_REMOVE_MANAGER: {**LED, **OVERSEEN},
    Action.TEAM_CHANGE_ROLE: {**LED, **OVERSEEN},
    Action.TEAM_HAND_OVER: {**LED, **OVERSEEN},
    Action.TEAM_DIVIDE: {**LEADING, **OVERSEEN},
    Action.TEAM_LEAVE: SEATED,
    Action.PERSON_SEE: {**OWNER, **OVERSEEN},
    Action.PERSON_SUSPEND: OVERSEEN,
    Action.PERSON_REINSTATE: OVERSEEN,
    Action.FORECAST_SEE: OVERSEEN,
    Action.POOL_SEE: OVERSEEN,
    Action.LAUNCHES_HOLD: OVERSEEN,
    Action.MAIL_CHOOSE: OWNER,
    Action.OUTBOX_SEE: ADMINISTERED,
    Action.OUTBOX_RETRY: ADMINISTERED,
    Action.WEBHOOK_KEEP: OVERSEEN,
    Action.LOG_SEE: OVERSEEN,
    Action.ANNOUNCE: OVERSEEN,
    Action.WHAT_IF: OVERSEEN,
    Action.EVENT_SEE: OVERSEEN,
    Action.EVENT_MAKE: OVERSEEN,
    Action.EVENT_END: OVERSEEN,
    Action.EVENT_JOIN: OWNER,
    Action.PERSON_CHANGE: OVERSEEN,
    Action.PERSON_MERGE: OVERSEEN,
    Action.PERSON_ERASE: OVERSEEN,
    Action.PURGE_SEE: {**OWNER, **SEATED, **OVERSEEN},
    Action.PURGE_RESTORE: {**OWNER, **LEADING, **OVERSEEN},
    Action.PURGE_RUN: OVERSEEN,
    Action.EXEMPTION_ASK: {**OWNER, **LEADING},
    Action.SNAPSHOT_SEE: {**OWNER, **SEATED, **OVERSEEN},
    Action.SNAPSHOT_RESTORE: {**OWNER, **LEADING, **OVERSEEN},
    Action.IDENTITY_RECORD: HUB,
    Action.STANDING_SEE: HUB,
    Action.LAUNCH_SEE: HUB,
    Action.LAUNCH_ADMIT: HUB,
    Action.HOLD_REPORT: HUB,
    Action.STOP_RECORD: HUB,
    Action.KEEP_SEE: HUB,
    Action.CLUSTER_ADMIT: GATEWAY,
    Action.CLUSTER_REPORT: GATEWAY,
    Action.CARD_SEE: ITSELF,
    Action.METRICS_SEE: MONITORED,
    Action.STORAGE_SEE: {**OWNER, **SEATED, **OVERSEEN},
    Action.STORAGE_OVERSEE: OVERSEEN,
    Action.STORAGE_SIZE: OVERSEEN,
    Action.SCRATCH_TAKE: {**OWNER, **LEADING},
    Action.STORE_OPEN: {**OWNER, **SEATED, **ITSELF},
}
TEAM_ACTIONS = frozenset(action for action in Action if action.startswith("team."))

SEATS: Mapping[Role, Capacity] = {
    Role.MEMBER: Capacity.MEMBER,
    Role.MANAGER: Capacity.MANAGER,
    Role.LEAD: Capacity.LEAD,
}
NOBODY_KNOWN = frozenset({Capacity.VISITOR})


def capacities(*, is_administrator: bool, role: Role | None = None) -> frozenset[Capacity]:
    """Return as what a person acts, on something of a team where they have ``role``."""
    found = {Capacity.VISITOR, Capacity.PERSON}
    if is_administrator:
        found.add(Capacity.ADMINISTRATOR)
    if role is not None:
        found.add(SEATS[role])
    return frozenset(found)


def somewhere(*, is_administrator: bool, is_reviewer: bool = False) -> frozenset[Capacity]:
    """Return as what a person may act on something that is not known yet: any team may be theirs."""
    found = capacities(is_administrator=is_administrator) | {*SEATS.values()}
    return found | {Capacity.REVIEWER} if is_reviewer else found


def may(acting_as: Collection[Capacity], action: Action, over: Reach) -> bool:
    """Whether one of the capacities allows the action over a thing that is own, the team's or another's."""
    cells = TABLE[action]
    return any(cells.get(each) in (Reach.ANY, over) for each in acting_as)


def roles_for(action: Action) -> list[Role]:
    """Return the roles of a team that allow the action in it."""
    return [role for role, seat in SEATS.items() if may({seat}, action, Reach.TEAM)]


Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
MARK = "nexus_deed"


@dataclass(frozen=True)
class Deed:
    """What a route does and over whose things; ``over`` None shows only with what is sent."""

    action: Action
    over: Reach | None = None


def does(action: Action, *, over: Reach | None = None) -> Callable[[Endpoint], Endpoint]:
    """Name what a route does; a route about everybody's things says so by ``over``."""

    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, MARK, Deed(action, over))
        return endpoint

    return mark


def deed_of(endpoint: object) -> Deed | None:
    found: Deed | None = getattr(endpoint, MARK, None)
    return found


def lets(acting_as: Collection[Capacity], deed: Deed | None) -> bool:
    """Whether a route is open to who acts so; where it depends on the thing, its service asks again.

    A route that names no deed is for nobody.
    """
    if deed is None:
        return False
    if deed.over is not None:
        return may(acting_as, deed.action, deed.over)
    return any(each in TABLE[deed.action] for each in acting_as)


def whose(deed: Deed | None) -> str:
    """Return for whom a page is that somebody signed in may not open."""
    of_reviewers = deed is not None and Capacity.REVIEWER in TABLE[deed.action]
    return "the reviewers of the panel" if of_reviewers else "administrators of the Nexus"
