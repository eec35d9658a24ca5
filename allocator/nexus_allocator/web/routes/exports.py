"""Administrators' tables as CSV files, filtered as their pages are, streamed as they are read."""

from collections.abc import Callable, Iterator
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from sqlalchemy.orm import Session

from nexus_allocator.domain.rights import Action, Reach, does
from nexus_allocator.services import exports
from nexus_allocator.web.context import Portal
from nexus_allocator.web.sessions import PortalHere

router = APIRouter(prefix="/admin/exports")

Search = Annotated[str, Query(max_length=100)]


@router.get("/people.csv")
@does(Action.PERSON_SEE, over=Reach.ANY)
def people(portal: PortalHere, q: Search = "") -> StreamingResponse:
    return streamed(portal, lambda session: exports.people(session, policy=portal.policy, query=plain(q)),
                    name="people.csv")  # fmt: skip


@router.get("/accounts.csv")
@does(Action.ACCOUNT_SEE, over=Reach.ANY)
def accounts(portal: PortalHere, q: Search = "") -> StreamingResponse:
    return streamed(portal, lambda session: exports.accounts(session, query=plain(q), now=portal.clock()),
                    name="accounts.csv")  # fmt: skip


@router.get("/servers.csv")
@does(Action.SERVER_SEE, over=Reach.ANY)
def servers(portal: PortalHere, q: Search = "") -> StreamingResponse:
    return streamed(portal, lambda session: exports.servers(session, query=plain(q), now=portal.clock()),
                    name="servers.csv")  # fmt: skip


@router.get("/requests.csv")
@does(Action.REQUEST_SEE, over=Reach.ANY)
def requests(portal: PortalHere, q: Search = "") -> StreamingResponse:
    return streamed(portal, lambda session: exports.requests(session, query=plain(q)), name="requests.csv")


def plain(text: str) -> str:
    return text.strip().replace("\x00", "")


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
