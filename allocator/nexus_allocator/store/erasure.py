"""Where personal data stand: how many rows of each kind, what takes their place, and what must stay."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, String, cast, delete, func, or_, select, update
from sqlalchemy.orm import Session

from nexus_allocator.domain.care import ERASED_TEXT
from nexus_allocator.domain.states import HoldState, InvitationState
from nexus_allocator.store.api_tables import KeptAnswer
from nexus_allocator.store.event_tables import JoinTry
from nexus_allocator.store.outbox_tables import MailPreference, Outgoing
from nexus_allocator.store.panel_tables import PanelBypass, PanelConflict, PanelReview, RequestOffer
from nexus_allocator.store.places_tables import PlaceRow
from nexus_allocator.store.record_tables import Record
from nexus_allocator.store.tables import (
    Account,
    ApprovedGrant,
    Entry,
    Hold,
    Home,
    Invitation,
    Maintenance,
    OfflineEvent,
    PortalNotice,
    RequestMove,
    StopIntent,
    TakenName,
    Team,
    TeamMove,
    TierRequest,
    WebSession,
)


@dataclass(frozen=True)
class Whose:
    """A person by all that names them, and the name that takes its place."""

    person_id: UUID
    hub_name: str
    display_name: str
    email: str | None
    pseudonym: str


@dataclass(frozen=True)
class Part:
    """Rows of one kind; ``values`` None deletes them."""

    what: str
    table: Any
    where: ColumnElement[bool]
    values: dict[str, Any] | None = None

    def count(self, session: Session) -> int:
        return session.scalar(select(func.count()).select_from(self.table).where(self.where)) or 0

    def erase(self, session: Session) -> None:
        if self.values is None:
            session.execute(delete(self.table).where(self.where))
        else:
            session.execute(update(self.table).where(self.where).values(**self.values))


# Of a place whose folder no row names any more.
NOWHERE = {"volume": None, "made_at": None, "limit_bytes": None, "applied_bytes": None}


def parts(whose: Whose) -> list[Part]:
    """Return what is deleted or written over, save the rows of person, account and memberships."""
    mine, name, instead = whose.person_id, whose.hub_name, whose.pseudonym
    words = {"justification": ERASED_TEXT, "title": None, "results": None, "team_label": None,
             "members": None, "decision_reason": None}  # fmt: skip
    theirs = PlaceRow.account_id.in_(select(Account.id).where(Account.person_id == mine))
    found = [
        Part("portal sessions", WebSession, WebSession.person_id == mine),
        Part("notices left for them", PortalNotice, PortalNotice.person_id == mine),
        Part("mail to them, and calls about them", Outgoing, Outgoing.person_id == mine),
        Part("which mail they chose", MailPreference, MailPreference.person_id == mine),
        Part("tries of join codes", JoinTry, JoinTry.person_id == mine),
        Part("answers kept for their programs", KeptAnswer, KeptAnswer.person_id == mine),
        Part("the home's name", Home, Home.person_id == mine),
        Part("names of their places, whose folders an operator removes", PlaceRow, theirs,
             {"name": instead + "-" + func.substr(cast(PlaceRow.id, String), 1, 8), **NOWHERE}),
        Part("words of their requests", TierRequest, TierRequest.person_id == mine, words),
        Part("names and notes of their servers", Hold,
             (Hold.person_id == mine) & (Hold.state == HoldState.SETTLED),
             {"server_name": instead, "stop_note": None}),
        Part("stops they asked for", Hold, Hold.stop_actor == name, {"stop_actor": instead}),
        Part("intents to stop", StopIntent, StopIntent.actor == name, {"actor": instead}),
        Part("launches while the service was away", OfflineEvent, OfflineEvent.person_id == mine,
             {"account": instead}),
        Part("the maintenance message's author", Maintenance, Maintenance.actor == name, {"actor": instead}),
    ]  # fmt: skip
    if whose.email:
        found += _of_address(whose.email, instead)
    return found


def _of_address(email: str, instead: str) -> list[Part]:
    to_address = func.lower(Invitation.email) == email.casefold()
    holder = func.lower(ApprovedGrant.holder_email) == email.casefold()
    withdrawn = {"state": InvitationState.WITHDRAWN}
    return [
        Part("open invitations to their address", Invitation,
             to_address & (Invitation.state == InvitationState.OPEN), withdrawn),
        Part("invitations to their address", Invitation, to_address, {"email": instead}),
        Part("approved grants in their address", ApprovedGrant, holder, {"holder_email": instead}),
    ]  # fmt: skip


def in_others_rows(session: Session, whose: Whose) -> list[Callable[[], None]]:
    """Return what puts the pseudonym into others' requests and notices that name the person."""
    name, instead = whose.hub_name, whose.pseudonym
    found: list[Callable[[], None]] = []
    for request in session.scalars(select(TierRequest).where(_holds(TierRequest.members, name))):
        members = [instead if each == name else each for each in request.members or []]
        if members != request.members:
            found.append(_setter(request, "members", members))
    for notice in session.scalars(select(PortalNotice).where(_holds(PortalNotice.facts, name))):
        facts = {key: instead if value == name else value for key, value in notice.facts.items()}
        if facts != notice.facts:
            found.append(_setter(notice, "facts", facts))
    return found + _in_outbox(session, whose)


def _in_outbox(session: Session, whose: Whose) -> list[Callable[[], None]]:
    """Return what puts the pseudonym into mail to others and into events."""
    found: list[Callable[[], None]] = []
    names = {whose.hub_name, whose.display_name}
    named = or_(*(_holds(Outgoing.facts, name) for name in names))
    others = Outgoing.person_id.is_distinct_from(whose.person_id)
    for row in session.scalars(select(Outgoing).where(named, others)):
        facts = _instead(row.facts, names, whose.pseudonym)
        if facts != row.facts:
            found.append(_setter(row, "facts", facts))
    return found


def _instead(value: Any, names: set[str], pseudonym: str) -> Any:
    if isinstance(value, dict):
        return {key: _instead(each, names, pseudonym) for key, each in value.items()}
    return pseudonym if isinstance(value, str) and value in names else value


def _setter(row: Any, name: str, value: object) -> Callable[[], None]:
    return lambda: setattr(row, name, value)


def kept(session: Session, whose: Whose) -> Sequence[tuple[str, int]]:
    """Return what names the person and can't be altered, or is for a person to look at: what and how many."""
    names = [each for each in (whose.hub_name, whose.display_name) if len(each) > 2]

    def naming(*columns: Any) -> ColumnElement[bool]:
        return or_(*(_holds(column, each) for column in columns for each in names))

    wanted: list[tuple[str, Any, ColumnElement[bool]]] = [
        ("the hub name among names that are never given again", TakenName, TakenName.name == whose.hub_name),
        ("entries of the ledger with the name in their reason or signature", Entry,
         naming(Entry.reason) | (Entry.actor == whose.hub_name)),
        ("records of the log with the name in their reason", Record, naming(Record.reason)),
        ("moves of requests with the name in their reason", RequestMove, naming(RequestMove.reason)),
        ("words of the panel with the name in them", PanelReview,
         naming(PanelReview.for_panel, PanelReview.for_applicant)),
        ("conflicts of interest with the name in their reason", PanelConflict, naming(PanelConflict.reason)),
        ("reasons to decide without the panel with the name in them", PanelBypass,
         naming(PanelBypass.reason)),
        ("notes to offers with the name in them", RequestOffer, naming(RequestOffer.note)),
        ("moves of teams with the name in their facts", TeamMove, naming(TeamMove.facts)),
        ("teams named after them", Team, naming(Team.slug, Team.label)),
        ("others' requests with the name in their text", TierRequest,
         naming(TierRequest.justification, TierRequest.title, TierRequest.decision_reason)
         & (TierRequest.person_id != whose.person_id)),
    ]  # fmt: skip
    counted = [(what, session.scalar(select(func.count()).select_from(table).where(where)) or 0)
               for what, table, where in wanted]  # fmt: skip
    return [(what, count) for what, count in counted if count]


def _holds(column: Any, text: str) -> ColumnElement[bool]:
    return cast(column, String).icontains(text, autoescape=True)
