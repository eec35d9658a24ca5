"""The API's long lists, a page at a time, and the single rows that pages of the portal pick from lists."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.errors import UnknownRequest
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.rights import Action
from nexus_allocator.domain.states import EntryKind, RequestState, TierSlug
from nexus_allocator.services import portal_lists, rights, statements
from nexus_allocator.services.portal_lists import AccountRow, PersonRow, RequestRow
from nexus_allocator.services.portal_reading import ServerReading, account_sums, server_readings
from nexus_allocator.store import api_reading, holds, portal_reading
from nexus_allocator.store.tables import Person


@dataclass(frozen=True)
class EntryRow:
    """One entry of an account; positive came in. Size and server are of the hold that it is about."""

    number: int
    at: datetime
    kind: EntryKind
    amount_micro: int
    reason: str
    actor: str
    size: str | None
    server_name: str | None
    rate_card_version: int | None


def people(
    session: Session, *, policy: Policy, query: str, after: str | None, limit: int
) -> tuple[PersonRow, ...]:
    """Return the people whose name, hub name or mail address contains ``query``, by hub name."""
    return _person_rows(session, policy, api_reading.people(session, query, after=after, limit=limit))


def person(session: Session, *, policy: Policy, hub_name: str) -> PersonRow:
    """Return what is known of one person. Raises UnknownPerson."""
    return _person_rows(session, policy, [rights.person_called(session, hub_name)])[0]


def oneself(session: Session, *, policy: Policy, hub_name: str) -> PersonRow:
    """Return what is known of who asks. Raises UnknownPerson, NotAllowed."""
    return _person_rows(session, policy, [rights.themselves(session, hub_name, Action.PERSON_SEE)])[0]


def accounts(
    session: Session, *, query: str, after: str | None, limit: int, now: datetime
) -> tuple[AccountRow, ...]:
    """Return the accounts whose name or owner contains ``query``, by their slug."""
    rows = api_reading.accounts(session, query, after=after, limit=limit)
    sums, owners = account_sums(session, rows), portal_reading.owners(session, rows)
    return tuple(portal_lists.account_row(row, sums[row.id], owners.get(row.person_id), now) for row in rows)


def requests(
    session: Session,
    *,
    states: Collection[RequestState],
    query: str,
    tier: TierSlug | None,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> tuple[RequestRow, ...]:
    """Return everybody's requests in these states that contain ``query``, the longest waiting first."""
    wanted = api_reading.Requests(states, text=query, tier=tier)
    rows = api_reading.requests(session, wanted, after=after, limit=limit)
    return portal_lists.request_rows(session, rows, viewer=None)


def own_requests(
    session: Session, *, hub_name: str, after: tuple[datetime, UUID] | None, limit: int
) -> tuple[RequestRow, ...]:
    """Return a person's requests, the oldest first. Raises UnknownPerson, NotAllowed."""
    viewer = rights.themselves(session, hub_name, Action.REQUEST_SEE)
    wanted = api_reading.Requests(tuple(RequestState), person_id=viewer.id)
    rows = api_reading.requests(session, wanted, after=after, limit=limit)
    return portal_lists.request_rows(session, rows, viewer=viewer)


def request_for(session: Session, request_id: UUID, *, hub_name: str) -> RequestRow:
    """Return a request that a person may see. Raises UnknownRequest for another's as for none."""
    viewer = rights.person_called(session, hub_name)
    found = portal_reading.request(session, request_id)
    if found is None or not rights.may_with(session, viewer, found.person_id, Action.REQUEST_SEE):
        raise UnknownRequest(request_id=str(request_id))
    return portal_lists.request_rows(session, [found], viewer=viewer)[0]


def own_servers(session: Session, *, hub_name: str, now: datetime) -> tuple[ServerReading, ...]:
    """Return a person's live servers. Raises UnknownPerson, NotAllowed."""
    viewer = rights.themselves(session, hub_name, Action.SERVER_SEE)
    return server_readings(session, holds.open_of_person(session, viewer.id), viewer=viewer, now=now)


def entries(
    session: Session,
    *,
    hub_name: str,
    slug: str,
    first: date,
    last: date,
    after: int | None,
    limit: int,
) -> tuple[EntryRow, ...]:
    """Return an account's entries of whole UTC days. Raises UnknownAccount, BadDate."""
    viewer = rights.person_called(session, hub_name)
    rights.account_for(session, viewer, slug, Action.ACCOUNT_SEE)
    account, since, until = statements.span(session, slug, first, last)
    rows = api_reading.entries(
        session, account.allocation.id, since=since, until=until, after=after, limit=limit
    )
    return tuple(
        EntryRow(
            number, entry.at, entry.kind, amount, entry.reason, entry.actor,
            hold.size if hold else None, hold.server_name if hold else None, entry.rate_card_version,
        )
        for number, entry, amount, hold in rows
    )  # fmt: skip


def _person_rows(session: Session, policy: Policy, rows: Collection[Person]) -> tuple[PersonRow, ...]:
    ids = [row.id for row in rows]
    accepted = portal_reading.accepted_by(session, ids, policy.agreement.version)
    teams = portal_reading.teams_of_people(session, ids)
    return tuple(portal_lists.person_row(row, teams, accepted) for row in rows)
