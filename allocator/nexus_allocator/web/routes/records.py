"""The log of decisions and changes, for administrators: searched by address, and exported as it streams."""

from datetime import UTC, datetime, time, timedelta
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, StreamingResponse

from nexus_allocator.domain.errors import BadDate
from nexus_allocator.domain.records import About, Act, ActorKind
from nexus_allocator.domain.rights import Action, does
from nexus_allocator.services import record_reading
from nexus_allocator.store.records import Wanted
from nexus_allocator.web.filters import PageNumber, address_of
from nexus_allocator.web.forms import Errors
from nexus_allocator.web.panel_forms import day
from nexus_allocator.web.rendering import page
from nexus_allocator.web.routes.exports import streamed
from nexus_allocator.web.sessions import Administrator, PortalHere

router = APIRouter(prefix="/admin/log")

Typed = Annotated[str, Query(max_length=100)]


class Filter:
    """The filter as the address has it; what it can't be read as is told, and filters nothing."""

    def __init__(
        self,
        *,
        q: Typed = "",
        act: Typed = "",
        about: Typed = "",
        actor: Typed = "",
        who: Typed = "",
        since: Typed = "",
        until: Typed = "",
    ) -> None:
        self.values = {"q": q.strip().replace("\x00", ""), "act": act, "about": about, "actor": actor,
                       "who": who.strip().replace("\x00", ""), "since": since.strip(),
                       "until": until.strip()}  # fmt: skip
        self.errors: Errors = {}
        last = self._day("until")
        self.wanted = Wanted(
            text=self.values["q"],
            act=Act(act) if act in set(Act) else None,
            about=About(about) if about in set(About) else None,
            actor=ActorKind(actor) if actor in set(ActorKind) else None,
            who=self.values["who"],
            since=self._day("since"),
            until=None if last is None else last + timedelta(days=1),
        )

    def _day(self, name: str) -> datetime | None:
        text = self.values[name]
        found = day(text)
        if text and found is None:
            self.errors[name] = "Give a day as year-month-day, such as 2027-03-01."
        return datetime.combine(found, time(), UTC) if found else None

    def readable(self) -> Wanted:
        """Return what to look for. Raises BadDate for a day that is none: an export must not hold more."""
        for name in self.errors:
            raise BadDate(date=self.values[name][:40], must_be="a day such as 2027-03-01")
        return self.wanted

    def address(self, **more: object) -> str:
        """Return the filter as the end of an address."""
        return address_of(self.values | more)


Filtered = Annotated[Filter, Depends()]


@router.get("", response_class=HTMLResponse)
@does(Action.LOG_SEE)
def log(
    *,
    request: Request,
    portal: PortalHere,
    visitor: Administrator,
    wanted: Filtered,
    page_number: PageNumber = 1,
) -> HTMLResponse:
    with portal.reading_scope() as session:
        found = record_reading.page(session, wanted.wanted, number=page_number)
    values = {
        "found": found,
        "filter": wanted,
        "errors": wanted.errors,
        "acts": sorted(Act),
        "abouts": list(About),
        "actors": list(ActorKind),
        "is_filtered": any(wanted.values.values()),
    }
    status = 422 if wanted.errors else 200
    return page(request, "admin_log.html", values, visitor=visitor, here="admin", status=status)


@router.get("/log.csv")
@does(Action.LOG_SEE)
def log_csv(portal: PortalHere, wanted: Filtered) -> StreamingResponse:
    return streamed(portal, partial(record_reading.as_csv, wanted=wanted.readable()), name="log.csv")


@router.get("/log.jsonl")
@does(Action.LOG_SEE)
def log_lines(portal: PortalHere, wanted: Filtered) -> StreamingResponse:
    make = partial(record_reading.as_json_lines, wanted=wanted.readable())
    return streamed(portal, make, name="log.jsonl", media_type="application/jsonl")
