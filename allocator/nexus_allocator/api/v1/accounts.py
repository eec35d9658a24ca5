"""Accounts: what is left, how fast it goes, and every entry; and requests for more."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Security
from sqlalchemy.orm import Session

from nexus_allocator.api.models import Word
from nexus_allocator.api.v1.asking import HUB_TOKEN, REFUSALS, Asking, Changing
from nexus_allocator.api.v1.models import (
    AccountStateModel,
    AskBody,
    AskChoiceModel,
    EntryModel,
    RequestModel,
    StatementModel,
)
from nexus_allocator.api.v1.pages import Cursor, Limit, Page, after, moment_and_id, number, page
from nexus_allocator.domain.rights import Action, Reach, does
from nexus_allocator.services import listings, portal_lists, portal_reading, requests, statements
from nexus_allocator.services.portal_lists import RequestRow
from nexus_allocator.store.tables import TierRequest

router = APIRouter(responses=REFUSALS, dependencies=[Security(HUB_TOKEN)])
CREATED = 201


def span(
    asked: Asking,
    first: Annotated[date | None, Query(description="First UTC day; a year before the last.")] = None,
    last: Annotated[date | None, Query(description="Last UTC day; today.")] = None,
) -> tuple[date, date]:
    last = last or asked.now.date()
    return first or date.fromordinal(max(1, last.toordinal() - 365)), last


Span = Annotated[tuple[date, date], Depends(span)]


@router.get("/accounts", tags=["accounts"])
@does(Action.OVERVIEW_SEE, over=Reach.OWN)
def my_accounts(asked: Asking) -> list[AccountStateModel]:
    """The accounts one may charge: one's own, and with a token for teams those of one's teams."""
    with asked.reading() as session:
        home = portal_reading.home(session, hub_name=asked.hub_name, now=asked.now)
    return [
        AccountStateModel.model_validate(account)
        for account in home.accounts
        if not account.is_team or asked.sees_teams
    ]


@router.get("/accounts/{slug}", tags=["accounts"])
@does(Action.ACCOUNT_SEE)
def account(slug: Word, asked: Asking) -> AccountStateModel:
    with asked.reading() as session:
        found = portal_reading.account_page(session, hub_name=asked.hub_name, slug=slug, now=asked.now)
    return AccountStateModel.model_validate(found.account)


@router.get("/accounts/{slug}/statement", tags=["accounts"])
@does(Action.ACCOUNT_SEE)
def statement(slug: Word, asked: Asking, span: Span) -> StatementModel:
    """What came and went per day and resource between two balances."""
    with asked.reading() as session:
        portal_reading.require_visible(session, hub_name=asked.hub_name, slug=slug)
        found = statements.of_account(session, slug=slug, first=span[0], last=span[1])
    return StatementModel.model_validate(found)


@router.get("/accounts/{slug}/entries", tags=["accounts"])
@does(Action.ACCOUNT_SEE)
def entries(
    *, slug: Word, asked: Asking, span: Span, cursor: Cursor = None, limit: Limit = 100
) -> Page[EntryModel]:
    """Every entry of the account's chain in these days, in its order."""
    with asked.reading() as session:
        rows = listings.entries(
            session, hub_name=asked.hub_name, slug=slug, first=span[0], last=span[1],
            after=number(after(cursor)), limit=limit + 1,
        )  # fmt: skip
    return page(rows, limit, model=EntryModel, key=lambda row: (str(row.number),))


@router.get("/requests/choices", tags=["requests"])
@does(Action.REQUEST_SEE, over=Reach.OWN)
def choices(asked: Asking) -> list[AskChoiceModel]:
    """The accounts one may ask more for, with the tiers each may ask for."""
    with asked.reading() as session:
        found = portal_lists.ask_choices(session, policy=asked.policy, hub_name=asked.hub_name)
    return [
        AskChoiceModel(
            account=each.slug, label=each.label, tier=each.tier, waiting=each.waiting,
            tiers=[tier.slug for tier in each.above],
        )
        for each in found
    ]  # fmt: skip


@router.get("/requests", tags=["requests"])
@does(Action.REQUEST_SEE, over=Reach.OWN)
def my_requests(asked: Asking, cursor: Cursor = None, limit: Limit = 50) -> Page[RequestModel]:
    """One's requests, the oldest first."""
    with asked.reading() as session:
        rows = listings.own_requests(
            session, hub_name=asked.hub_name, after=moment_and_id(after(cursor)), limit=limit + 1
        )
    return page(rows, limit, model=RequestModel, key=request_key)


@router.get("/requests/{request_id}", tags=["requests"])
@does(Action.REQUEST_SEE)
def request(request_id: UUID, asked: Asking) -> RequestModel:
    with asked.reading() as session:
        return RequestModel.model_validate(listings.request_for(session, request_id, hub_name=asked.hub_name))


@router.post("/requests", tags=["requests"], status_code=CREATED)
@does(Action.ACCOUNT_ASK)
def submit(body: AskBody, asked: Changing) -> RequestModel:
    """Send a request, in place of the draft there may be; an approved grant it names is awarded at once."""
    return _written(asked, body, send=True)


@router.put("/requests/draft", tags=["requests"])
@does(Action.ACCOUNT_ASK)
def draft(body: AskBody, asked: Changing) -> RequestModel:
    """Keep a request without sending it, in place of the draft there may be."""
    return _written(asked, body, send=False)


@router.post("/requests/{request_id}/withdraw", tags=["requests"])
@does(Action.REQUEST_WITHDRAW)
def withdraw(request_id: UUID, asked: Changing) -> RequestModel:
    def act(session: Session) -> RequestModel:
        requests.withdraw(session, request_id, hub_name=asked.hub_name, now=asked.now)
        return _shown(session, request_id, asked.hub_name)

    return asked.once(RequestModel, act)


def _written(asked: Changing, body: AskBody, *, send: bool) -> RequestModel:
    words = body.model_dump()
    ask = requests.Ask(**words | {"members": tuple(words["members"])})
    write = requests.submit if send else requests.draft

    def act(session: Session) -> RequestModel:
        made: TierRequest = write(session, ask, policy=asked.policy, hub_name=asked.hub_name, now=asked.now)
        return _shown(session, made.id, asked.hub_name)

    return asked.once(RequestModel, act)


def _shown(session: Session, request_id: UUID, hub_name: str) -> RequestModel:
    session.flush()
    return RequestModel.model_validate(listings.request_for(session, request_id, hub_name=hub_name))


def request_key(row: RequestRow) -> tuple[str, ...]:
    at: datetime = row.submitted_at
    return at.isoformat(), str(row.id)
