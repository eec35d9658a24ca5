"""Administrators' tables as CSV files, filtered as their pages are, streamed as they are read."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from fastapi.responses import StreamingResponse
from sqlalchemy.orm import Session

from nexus_allocator.domain.rights import Action, Reach, does
from nexus_allocator.services import exports, panels
from nexus_allocator.web.context import Portal
from nexus_allocator.web.filters import QueueFilter, Search
from nexus_allocator.web.sessions import Administrator, PortalHere

router = APIRouter(prefix="/admin/exports")


@router.get("/people.csv")
@does(Action.PERSON_SEE, over=Reach.ANY)
def people(portal: PortalHere, q: Search = "") -> StreamingResponse:
    return streamed(portal, lambda session: exports.people(session, policy=portal.policy, query=q),
                    name="people.csv")  # fmt: skip


@router.get("/accounts.csv")
@does(Action.ACCOUNT_SEE, over=Reach.ANY)
def accounts(portal: PortalHere, q: Search = "") -> StreamingResponse:
    return streamed(portal, lambda session: exports.accounts(session, query=q, now=portal.clock()),
                    name="accounts.csv")  # fmt: skip


@router.get("/servers.csv")
@does(Action.SERVER_SEE, over=Reach.ANY)
def servers(portal: PortalHere, q: Search = "") -> StreamingResponse:
    return streamed(portal, lambda session: exports.servers(session, query=q, now=portal.clock()),
                    name="servers.csv")  # fmt: skip


@router.get("/requests.csv")
@does(Action.REQUEST_SEE, over=Reach.ANY)
def requests(portal: PortalHere, wanted: Annotated[QueueFilter, Depends()]) -> StreamingResponse:
    return streamed(
        portal,
        lambda session: exports.requests(session, query=wanted.q, tier=wanted.tier, state=wanted.state),
        name="requests.csv",
    )


@router.get("/rounds/{round_id}/cases.csv")
@does(Action.PANEL_SEE)
def cases(round_id: UUID, portal: PortalHere, visitor: Administrator) -> StreamingResponse:
    return of_round(portal, round_id, partial(exports.cases, viewer=visitor.person_id), name="cases.csv")


@router.get("/rounds/{round_id}/reviews.csv")
@does(Action.PANEL_SEE)
def reviews(round_id: UUID, portal: PortalHere, visitor: Administrator) -> StreamingResponse:
    make = partial(exports.reviews, viewer=visitor.person_id, policy=portal.policy)
    return of_round(portal, round_id, make, name="reviews.csv")


def of_round(
    portal: Portal, round_id: UUID, make: Callable[..., Iterator[str]], *, name: str
) -> StreamingResponse:
    # Once it streams, no refusal can be told any more.
    with portal.reading_scope() as session:
        panels.round_called(session, round_id)
    return streamed(portal, lambda session: make(session, round_id, now=portal.clock()), name=name)


def streamed(
    portal: Portal,
    make: Callable[[Session], Iterator[str]],
    *,
    name: str,
    media_type: str = "text/csv",
) -> StreamingResponse:
    """Return a file made as it is sent, all of it as of one moment."""

    def chunks() -> Iterator[str]:
        with portal.reading_scope() as session:
            yield from make(session)

    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return StreamingResponse(chunks(), media_type=media_type, headers=headers)
