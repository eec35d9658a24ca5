"""The log of decisions, announcements, and workshops with a join code."""

import random
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Security
from pydantic import AwareDatetime, Field
from sqlalchemy.orm import Session

from nexus_allocator.api.models import Body, Word
from nexus_allocator.api.v1.asking import HUB_TOKEN, REFUSALS, Asking, Changing, Unsafe
from nexus_allocator.api.v1.models import Micro, ReasonBody, Shown, Words
from nexus_allocator.api.v1.pages import Cursor, Limit, Page, after, number, page
from nexus_allocator.domain.care import Level
from nexus_allocator.domain.records import About, Act, ActorKind
from nexus_allocator.domain.rights import Action, Reach, does
from nexus_allocator.services import announcements, events, record_reading
from nexus_allocator.services.events import Plan
from nexus_allocator.store.records import Wanted

router = APIRouter(responses=REFUSALS, dependencies=[Security(HUB_TOKEN)])
CREATED = 201
# Join codes are secrets: nobody can guess the next one from those before.
CODES = random.SystemRandom()


class RecordModel(Shown):
    """One decision or change: who, on what, why, and the facts before and after it."""

    number: int
    at: datetime
    actor: ActorKind
    by: str
    act: Act
    about: About
    what: str
    person: str
    reason: str
    before: dict[str, Any]
    after: dict[str, Any]


class AnnouncementModel(Shown):
    id: UUID
    level: Level
    text: str
    starts_at: datetime
    ends_at: datetime
    withdrawn_at: datetime | None


class AnnouncementBody(Body):
    level: Level
    text: Words
    starts_at: AwareDatetime
    ends_at: AwareDatetime


class EventModel(Shown):
    """A workshop: credits for each who joins, or for all together."""

    id: UUID
    slug: str
    label: str
    code: str
    sizes: list[str]
    starts_at: datetime
    ends_at: datetime
    per_person_micro: int | None
    pool_micro: int | None
    most_people: int
    people: int
    closed_at: datetime | None


class EventBody(Body):
    """One of ``per_person_micro`` and ``pool_micro``."""

    label: Word
    sizes: list[Word] = Field(max_length=50)
    starts_at: AwareDatetime
    ends_at: AwareDatetime
    most_people: Annotated[int, Field(ge=1, le=100_000)]
    per_person_micro: Micro | None = None
    pool_micro: Micro | None = None


class CodeBody(Body):
    code: Word


class JoinedModel(Shown):
    label: str


@router.get("/admin/log", tags=["admin"])
@does(Action.LOG_SEE)
def log(
    *,
    asked: Asking,
    q: Annotated[Word, Query(description="In the reason, the facts or the act; or an id.")] = "",
    who: Annotated[Word, Query(description="By or about this person: a hub name.")] = "",
    act: Act | None = None,
    about: About | None = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[RecordModel]:
    """Decisions and changes in the order they happened."""
    wanted = Wanted(text=q.strip(), who=who.strip(), act=act, about=about, since=since, until=until)
    with asked.reading() as session:
        rows = record_reading.following(session, wanted, after=number(after(cursor)) or 0, limit=limit + 1)
    return page(rows, limit, model=RecordModel, key=lambda row: (str(row.number),))


@router.get("/admin/announcements", tags=["admin"])
@does(Action.ANNOUNCE)
def all_announcements(asked: Asking) -> list[AnnouncementModel]:
    """The last fifty announcements, the last to end first."""
    with asked.reading() as session:
        return [AnnouncementModel.model_validate(each) for each in announcements.latest(session)]


@router.post("/admin/announcements", tags=["admin"], status_code=CREATED)
@does(Action.ANNOUNCE)
def announce(body: AnnouncementBody, asked: Changing) -> AnnouncementModel:
    """Let everybody read something in portal, launch page and JupyterLab between two moments."""

    def act(session: Session) -> UUID:
        return announcements.announce_as_administrator(
            session, administrator_id=asked.person_id, **body.model_dump(), now=asked.now
        )

    return _announced(asked, act)


@router.post("/admin/announcements/{announcement_id}/withdraw", tags=["admin"])
@does(Action.ANNOUNCE)
def withdraw(announcement_id: UUID, asked: Changing) -> AnnouncementModel:
    """Show it no more."""

    def act(session: Session) -> UUID:
        announcements.withdraw_as_administrator(
            session, announcement_id, administrator_id=asked.person_id, now=asked.now
        )
        return announcement_id

    return _announced(asked, act)


@router.get("/admin/events", tags=["admin"])
@does(Action.EVENT_SEE)
def all_events(asked: Asking) -> list[EventModel]:
    """The last two hundred workshops, the latest to end first."""
    with asked.reading() as session:
        return [EventModel.model_validate(each) for each in events.listing(session)]


@router.post("/admin/events", tags=["admin"], status_code=CREATED)
@does(Action.EVENT_MAKE)
def make(body: EventBody, asked: Changing) -> EventModel:
    """Make a workshop; its code is in the answer."""
    words = body.model_dump()
    plan = Plan(**words | {"sizes": tuple(words["sizes"])})

    def act(session: Session) -> UUID:
        return events.make_as_administrator(
            session, plan, policy=asked.policy, administrator_id=asked.person_id, rng=CODES, now=asked.now
        ).id

    return _event(asked, act)


@router.post("/admin/events/{event_id}/end", tags=["admin"])
@does(Action.EVENT_END)
def end(event_id: UUID, body: ReasonBody, asked: Changing) -> EventModel:
    """End a workshop before its time; what was not used goes back."""

    def act(session: Session) -> UUID:
        events.end_as_administrator(
            session, event_id, administrator_id=asked.person_id, reason=body.reason, now=asked.now
        )
        return event_id

    return _event(asked, act)


@router.post("/events/join", tags=["me"])
@does(Action.EVENT_JOIN, over=Reach.OWN)
def join(body: CodeBody, asked: Changing) -> JoinedModel:
    """Join a workshop by its code."""
    with asked.asked.writing() as session:
        events.note_try(session, hub_name=asked.hub_name, now=asked.now)

    def act(session: Session) -> JoinedModel:
        return JoinedModel(label=events.join(session, code=body.code, hub_name=asked.hub_name, now=asked.now))

    return asked.once(JoinedModel, act)


def _announced(asked: Unsafe, act: Callable[[Session], UUID]) -> AnnouncementModel:
    def whole(session: Session) -> AnnouncementModel:
        found = announcements.called(session, act(session))
        return AnnouncementModel.model_validate(found)

    return asked.once(AnnouncementModel, whole)


def _event(asked: Unsafe, act: Callable[[Session], UUID]) -> EventModel:
    def whole(session: Session) -> EventModel:
        return EventModel.model_validate(events.row_of(session, act(session)))

    return asked.once(EventModel, whole)
