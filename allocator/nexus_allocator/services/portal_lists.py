"""What administrators look through: people, accounts, servers and requests; and a person's own requests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.errors import UnknownAccount, UnknownRequest
from nexus_allocator.domain.policy import Policy, Tier
from nexus_allocator.domain.requests import WAITING, WITH_APPLICANT
from nexus_allocator.domain.rights import Action
from nexus_allocator.domain.states import AccountKind, RequestState, TierSlug
from nexus_allocator.services import requests as asking
from nexus_allocator.services import rights
from nexus_allocator.services.portal_reading import (
    AccountReading,
    AccountSums,
    ServerReading,
    account_label,
    account_readings,
    account_sums,
    server_readings,
)
from nexus_allocator.store import accounts as account_rows
from nexus_allocator.store import holds, panel, portal_reading, requests
from nexus_allocator.store.tables import Account, Person, RequestMove, TierRequest

PAGE = 25
DECISIONS = 20
PANEL = "the panel"
SENT = frozenset(RequestState) - {RequestState.DRAFT}

Row = TypeVar("Row")


@dataclass(frozen=True)
class Listing(Generic[Row]):
    """One page of a search; pages count from 1."""

    query: str
    number: int
    total: int
    rows: tuple[Row, ...]

    @property
    def last(self) -> int:
        return max(1, -(-self.total // PAGE))


@dataclass(frozen=True)
class PersonRow:
    hub_name: str
    display_name: str
    teams: tuple[str, ...]
    signed_in_at: datetime | None
    suspended_at: datetime | None
    suspension_reason: str | None
    is_administrator: bool
    has_accepted: bool
    is_erased: bool = False


@dataclass(frozen=True)
class AccountRow:
    slug: str
    label: str
    is_team: bool
    tier: TierSlug
    sums: AccountSums
    expires_at: datetime
    expired: bool


@dataclass(frozen=True)
class MoveRow:
    """One move of a request; ``by`` None is the platform."""

    after: RequestState
    by: str | None
    at: datetime
    reason: str | None


@dataclass(frozen=True)
class RequestRow:
    account: str
    id: UUID
    hub_name: str
    person_label: str
    account_label: str
    tier: TierSlug
    tier_before: TierSlug
    justification: str
    state: RequestState
    submitted_at: datetime
    decided_at: datetime | None
    decision_reason: str | None
    awarded_micro: int | None
    title: str | None
    exposures: int | None
    grant_number: str | None
    members: tuple[str, ...]
    asked_micro: int | None
    ends_at: datetime | None
    team_label: str | None
    results: Mapping[str, str] | None
    history: tuple[MoveRow, ...]
    is_by_administrator: bool

    @property
    def is_with_applicant(self) -> bool:
        return self.state in WITH_APPLICANT

    @property
    def is_waiting(self) -> bool:
        return self.state in WAITING


@dataclass(frozen=True)
class AskChoice:
    """An account somebody may ask more for; ``waiting`` when a request for it is with the administrators."""

    slug: str
    label: str
    tier: TierSlug
    above: tuple[Tier, ...]
    waiting: bool

    @property
    def renews(self) -> bool:
        """Whether its own tier is among them: that is about to end or has ended."""
        return any(tier.slug == self.tier for tier in self.above)


def ask_choices(session: Session, *, policy: Policy, hub_name: str) -> tuple[AskChoice, ...]:
    """Return the accounts a person may ask more for. Raises UnknownPerson."""
    person = rights.person_called(session, hub_name)
    spoken_for = [
        account
        for account in account_rows.chargeable_by(session, person.id)
        if _speaks_for(session, person, account)
    ]
    choices = (_ask_choice(session, policy, account) for account in spoken_for)
    return tuple(choice for choice in choices if choice.above)


def people(session: Session, *, policy: Policy, query: str, number: int) -> Listing[PersonRow]:
    """Return the people whose name, hub name or mail address contains ``query``."""
    total, rows = portal_reading.search_people(session, query, limit=PAGE, offset=(number - 1) * PAGE)
    ids = [row.id for row in rows]
    accepted = portal_reading.accepted_by(session, ids, policy.agreement.version)
    teams = portal_reading.teams_of_people(session, ids)
    return Listing(query, number, total, tuple(person_row(row, teams, accepted) for row in rows))


def accounts(session: Session, *, query: str, number: int, now: datetime) -> Listing[AccountRow]:
    """Return the accounts whose name or owner contains ``query``."""
    total, rows = portal_reading.search_accounts(session, query, limit=PAGE, offset=(number - 1) * PAGE)
    sums = account_sums(session, rows)
    owners = portal_reading.owners(session, rows)
    return Listing(
        query,
        number,
        total,
        tuple(account_row(row, sums[row.id], owners.get(row.person_id), now) for row in rows),
    )


def servers(session: Session, *, now: datetime, query: str = "") -> tuple[ServerReading, ...]:
    """Return the live servers of people or accounts that contain ``query``, the longest running first."""
    wanted = query.casefold()
    found = server_readings(session, holds.every_open(session), viewer=None, now=now)
    return tuple(
        each
        for each in found
        if any(wanted in text.casefold() for text in (each.hub_name, each.person_label, each.account_label))
    )


def own_requests(session: Session, *, hub_name: str) -> tuple[RequestRow, ...]:
    """Return a person's requests, newest first. Raises UnknownPerson."""
    person = rights.themselves(session, hub_name, Action.REQUEST_SEE)
    return request_rows(session, requests.of_person(session, person.id), viewer=person)


def waiting_requests(session: Session) -> tuple[RequestRow, ...]:
    """Return the requests nobody has decided, the longest waiting first."""
    rows = requests.in_states(session, WAITING, limit=200)
    return request_rows(session, rows, viewer=None)


def every_request(
    session: Session,
    *,
    query: str,
    number: int,
    tier: TierSlug | None = None,
    state: RequestState | None = None,
) -> Listing[RequestRow]:
    """Return one page of the requests whose person, account or title contains ``query``, the latest first.

    A draft is its applicant's alone.
    """
    states = SENT if state is None else SENT & {state}
    total, rows = portal_reading.search_requests(
        session, query, tier=tier, states=states, limit=PAGE, offset=(number - 1) * PAGE
    )
    return Listing(query, number, total, request_rows(session, rows, viewer=None))


def decided_requests(session: Session) -> tuple[RequestRow, ...]:
    """Return the last decisions, newest first."""
    return request_rows(session, portal_reading.decided_requests(session, limit=DECISIONS), viewer=None)


def request(session: Session, *, request_id: UUID, now: datetime) -> tuple[RequestRow, AccountReading]:
    """Return a request with its account as it stands now. Raises UnknownRequest."""
    found = portal_reading.request(session, request_id)
    if found is None:
        raise UnknownRequest(request_id=str(request_id))
    row = request_rows(session, [found], viewer=None)[0]
    return row, account_readings(session, [found.account], viewer=None, now=now)[0]


def _speaks_for(session: Session, person: Person, account: Account) -> bool:
    try:
        rights.account_for(session, person, account.slug, Action.ACCOUNT_ASK)
    except UnknownAccount:
        return False
    return True


def _ask_choice(session: Session, policy: Policy, account: Account) -> AskChoice:
    tier = TierSlug(account.allocation.tier)
    above = asking.tiers_to_ask_for(session, policy, account)
    found = requests.open_of_account(session, account.id)
    waiting = found is not None and found.state not in WITH_APPLICANT
    return AskChoice(account.slug, account.label, tier, tuple(above), waiting)


def person_row(person: Person, teams: Sequence[tuple[UUID, str]], accepted: set[UUID]) -> PersonRow:
    return PersonRow(
        hub_name=person.hub_name,
        display_name=person.display_name,
        teams=tuple(label for person_id, label in teams if person_id == person.id),
        signed_in_at=person.signed_in_at,
        suspended_at=person.suspended_at,
        suspension_reason=person.suspension_reason,
        is_administrator=person.is_administrator,
        has_accepted=person.id in accepted,
        is_erased=person.erased_at is not None,
    )


def account_row(account: Account, sums: AccountSums, owner: Person | None, now: datetime) -> AccountRow:
    return AccountRow(
        slug=account.slug,
        label=account_label(account, owner, None),
        is_team=account.kind == AccountKind.TEAM,
        tier=TierSlug(account.allocation.tier),
        sums=sums,
        expires_at=account.allocation.expires_at,
        expired=account.allocation.expires_at <= now,
    )


def request_row(session: Session, row: TierRequest) -> RequestRow:
    """Return one request as administrators and reviewers read it."""
    return request_rows(session, [row], viewer=None)[0]


def request_rows(
    session: Session, rows: Sequence[TierRequest], *, viewer: Person | None
) -> tuple[RequestRow, ...]:
    owners = portal_reading.owners(session, [row.account for row in rows])
    moves = requests.moves_of(session, [row.id for row in rows])
    if viewer is not None:
        moves = _without_reviewers(session, moves)
    return tuple(
        _request_row(row, owners.get(row.account.person_id), viewer, moves.get(row.id, [])) for row in rows
    )


Moves = Mapping[UUID, list[tuple[RequestMove, str | None]]]


def _without_reviewers(session: Session, moves: Moves) -> Moves:
    """Return the moves as applicants read them: who took a request into review by a review is not named."""
    said = panel.reviews(session, list(moves))
    found = {}
    for request_id, rows in moves.items():
        reviewed_by = {row.person_id for row in said.get(request_id, [])}
        found[request_id] = [
            (move, PANEL if move.after == RequestState.IN_REVIEW and move.actor_id in reviewed_by else by)
            for move, by in rows
        ]
    return found


def _request_row(
    row: TierRequest,
    owner: Person | None,
    viewer: Person | None,
    moves: Sequence[tuple[RequestMove, str | None]],
) -> RequestRow:
    return RequestRow(
        account=row.account.slug,
        id=row.id,
        hub_name=row.person.hub_name,
        person_label=row.person.display_name,
        account_label=account_label(row.account, owner, viewer),
        tier=TierSlug(row.tier),
        tier_before=TierSlug(row.tier_before),
        justification=row.justification,
        state=RequestState(row.state),
        submitted_at=row.submitted_at,
        decided_at=row.decided_at,
        decision_reason=row.decision_reason,
        awarded_micro=row.awarded_micro,
        title=row.title,
        exposures=row.exposures,
        grant_number=row.grant_number,
        members=tuple(row.members or ()),
        asked_micro=row.asked_micro,
        ends_at=row.ends_at,
        team_label=row.team_label,
        results=row.results,
        is_by_administrator=row.decided_by is not None,
        history=tuple(MoveRow(RequestState(move.after), by, move.at, move.reason) for move, by in moves),
    )
