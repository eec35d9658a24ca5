"""What administrators see and decide: requests, people, accounts, servers, the pool, maintenance."""

from collections.abc import Callable
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Security
from sqlalchemy.orm import Session

from nexus_allocator.api.models import Word
from nexus_allocator.api.v1.accounts import request_key
from nexus_allocator.api.v1.asking import HUB_TOKEN, REFUSALS, Asked, Asking, Changing, Unsafe
from nexus_allocator.api.v1.models import (
    AccountRowModel,
    AwardBody,
    DoneModel,
    EnterBody,
    EnteringModel,
    HeldModel,
    HoldBody,
    MaintenanceModel,
    PersonRowModel,
    PlatformModel,
    PoolModel,
    ReasonBody,
    RequestModel,
    ServerModel,
    StoppingModel,
)
from nexus_allocator.api.v1.own import ACCEPTED, name_of
from nexus_allocator.api.v1.pages import Cursor, Limit, Page, after, following, moment_and_id, page, word
from nexus_allocator.domain.requests import OPEN, WAITING
from nexus_allocator.domain.rights import Action, Reach, does
from nexus_allocator.domain.states import RequestState, TierSlug
from nexus_allocator.services import (
    decisions,
    enterings,
    forecasts,
    listings,
    maintenance,
    pool,
    portal_lists,
    stops,
    suspensions,
)
from nexus_allocator.services.allocations import require_reason
from nexus_allocator.services.hub_calls import ToStop, ask_at_once
from nexus_allocator.services.portal_lists import SENT
from nexus_allocator.services.portal_reading import ServerReading

router = APIRouter(prefix="/admin", responses=REFUSALS, dependencies=[Security(HUB_TOKEN)], tags=["admin"])
Search = Annotated[Word, Query(description="Part of a name.")]
WHICH = {
    "waiting": WAITING,
    "decided": tuple(state for state in RequestState if state not in OPEN),
}


@router.get("/people")
@does(Action.PERSON_SEE, over=Reach.ANY)
def people(asked: Asking, q: Search = "", cursor: Cursor = None, limit: Limit = 50) -> Page[PersonRowModel]:
    """The people whose name, hub name or e-mail address contains `q`, by hub name."""
    with asked.reading() as session:
        rows = listings.people(
            session, policy=asked.policy, query=q.strip(), after=word(after(cursor)), limit=limit + 1
        )
    return page(rows, limit, model=PersonRowModel, key=lambda row: (row.hub_name,))


@router.get("/people/{hub_name}")
@does(Action.PERSON_SEE, over=Reach.ANY)
def person(hub_name: Word, asked: Asking) -> PersonRowModel:
    with asked.reading() as session:
        return _person(session, asked, hub_name)


@router.post("/people/{hub_name}/suspend")
@does(Action.PERSON_SUSPEND)
def suspend(hub_name: Word, body: ReasonBody, asked: Changing) -> PersonRowModel:
    """Refuse somebody from now on: sign-in, launches and tokens; servers stop, files are kept."""
    servers: list[ToStop] = []

    def act(session: Session) -> PersonRowModel:
        servers.extend(
            suspensions.suspend_as_administrator(
                session, administrator_id=asked.person_id, hub_name=hub_name, reason=body.reason,
                now=asked.now,
            )
        )  # fmt: skip
        return _person(session, asked, hub_name)

    made = asked.once(PersonRowModel, act)
    ask_at_once(asked.database, asked.hub, servers, now=asked.now)
    return made


@router.post("/people/{hub_name}/reinstate")
@does(Action.PERSON_REINSTATE)
def reinstate(hub_name: Word, asked: Changing) -> PersonRowModel:
    def act(session: Session) -> PersonRowModel:
        suspensions.reinstate_as_administrator(
            session, administrator_id=asked.person_id, hub_name=hub_name, now=asked.now
        )
        return _person(session, asked, hub_name)

    return asked.once(PersonRowModel, act)


@router.get("/accounts")
@does(Action.ACCOUNT_SEE, over=Reach.ANY)
def accounts(
    asked: Asking, q: Search = "", cursor: Cursor = None, limit: Limit = 50
) -> Page[AccountRowModel]:
    """The accounts whose name or owner contains `q`, by their slug."""
    with asked.reading() as session:
        rows = listings.accounts(
            session, query=q.strip(), after=word(after(cursor)), limit=limit + 1, now=asked.now
        )
    return page(rows, limit, model=AccountRowModel, key=lambda row: (row.slug,))


@router.get("/requests")
@does(Action.REQUEST_SEE, over=Reach.ANY)
def requests(
    *,
    asked: Asking,
    which: Literal["waiting", "decided"] = "waiting",
    q: Annotated[Word, Query(description="Part of a person's name, an account's or a title.")] = "",
    tier: TierSlug | None = None,
    state: Annotated[RequestState | None, Query(description="In place of `which`.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[RequestModel]:
    """Requests that wait for a decision, or all that have one; those sent first come first."""
    states = WHICH[which] if state is None else SENT & {state}
    with asked.reading() as session:
        rows = listings.requests(
            session, states=states, query=q.strip(), tier=tier, after=moment_and_id(after(cursor)),
            limit=limit + 1,
        )  # fmt: skip
    return page(rows, limit, model=RequestModel, key=request_key)


@router.get("/requests/{request_id}")
@does(Action.REQUEST_SEE, over=Reach.ANY)
def request(request_id: UUID, asked: Asking) -> RequestModel:
    with asked.reading() as session:
        return _request(session, asked, request_id)


@router.post("/requests/{request_id}/review")
@does(Action.REQUEST_DECIDE)
def review(request_id: UUID, asked: Changing) -> RequestModel:
    """Take a request into review."""
    return decided(asked, request_id, decisions.review)


@router.post("/requests/{request_id}/award")
@does(Action.REQUEST_DECIDE)
def award(request_id: UUID, body: AwardBody, asked: Changing) -> RequestModel:
    """Say yes, in whole or in part; at once the credits are granted and the length starts."""
    given = decisions.Award(**body.model_dump())
    return decided(asked, request_id, decisions.award, policy=asked.policy, award=given)


@router.post("/requests/{request_id}/deny")
@does(Action.REQUEST_DECIDE)
def deny(request_id: UUID, body: ReasonBody, asked: Changing) -> RequestModel:
    """Say no, with a reason."""
    return decided(asked, request_id, decisions.deny, reason=body.reason)


@router.post("/requests/{request_id}/return")
@does(Action.REQUEST_DECIDE)
def send_back(request_id: UUID, body: ReasonBody, asked: Changing) -> RequestModel:
    """Return a request to be revised."""
    return decided(asked, request_id, decisions.send_back, reason=body.reason)


@router.get("/servers")
@does(Action.SERVER_SEE, over=Reach.ANY)
def servers(asked: Asking, cursor: Cursor = None, limit: Limit = 100) -> Page[ServerModel]:
    """Every live server, by person."""

    def key(row: ServerReading) -> tuple[str, ...]:
        return row.hub_name, row.server_name

    with asked.reading() as session:
        rows = portal_lists.servers(session, now=asked.now)
    return page(following(rows, cursor, key=key), limit, model=ServerModel, key=key)


@router.post("/servers/{hub_name}/{server_name}/stop", status_code=ACCEPTED)
@does(Action.SERVER_STOP, over=Reach.ANY)
def stop(hub_name: Word, server_name: Word, body: ReasonBody, asked: Changing) -> StoppingModel:
    """Stop somebody's server, with a reason they read; `-` is the default server."""
    to_stop: list[ToStop] = []

    def act(session: Session) -> StoppingModel:
        to_stop.append(
            stops.stop_as_administrator(
                session, administrator_id=asked.person_id, hub_name=hub_name,
                server_name=name_of(server_name), note=require_reason(body.reason), now=asked.now,
            )
        )  # fmt: skip
        return StoppingModel(hub_name=hub_name, server_name=name_of(server_name))

    made = asked.once(StoppingModel, act)
    ask_at_once(asked.database, asked.hub, to_stop, now=asked.now)
    return made


@router.post("/servers/{hub_name}/{server_name}/enter")
@does(Action.SERVER_ENTER, over=Reach.ANY)
def enter(hub_name: Word, server_name: Word, body: EnterBody, asked: Changing) -> EnteringModel:
    """Be let into somebody's server for some minutes; they are told at once, with the reason."""
    granted: list[enterings.Grant] = []

    def act(session: Session) -> EnteringModel:
        grant = enterings.begin(
            session, administrator_id=asked.person_id, hub_name=hub_name, server_name=name_of(server_name),
            reason=body.reason, minutes=body.minutes, now=asked.now,
        )  # fmt: skip
        granted.append(grant)
        return EnteringModel.model_validate(grant)

    made = asked.once(EnteringModel, act)
    for grant in granted:
        enterings.open_door(asked.database.session_scope, asked.hub, grant, now=asked.now)
    return made


@router.post("/servers/{hub_name}/{server_name}/leave")
@does(Action.SERVER_ENTER, over=Reach.ANY)
def leave(hub_name: Word, server_name: Word, asked: Changing) -> DoneModel:
    """Be let in no longer."""

    def act(session: Session) -> DoneModel:
        enterings.end(
            session, administrator_id=asked.person_id, hub_name=hub_name, server_name=name_of(server_name),
            now=asked.now,
        )  # fmt: skip
        return DoneModel()

    made = asked.once(DoneModel, act)
    scopes = asked.database.reading_scope, asked.database.session_scope
    enterings.end_due(*scopes, asked.hub, now=asked.now)
    return made


@router.get("/people/{hub_name}/enterings")
@does(Action.SERVER_ENTER, over=Reach.ANY)
def entered(hub_name: Word, asked: Asking) -> list[EnteringModel]:
    """Which administrators entered somebody's servers: the latest ten."""
    with asked.reading() as session:
        return [
            EnteringModel.model_validate(each) for each in enterings.of_person(session, hub_name=hub_name)
        ]


@router.get("/forecast")
@does(Action.FORECAST_SEE)
def forecast(asked: Asking) -> PlatformModel:
    """All accounts together: what is left, how fast it goes, and until when it lasts at that pace."""
    with asked.reading() as session:
        return PlatformModel.model_validate(forecasts.of_platform(session, now=asked.now))


@router.get("/pool")
@does(Action.POOL_SEE)
def budget(asked: Asking) -> PoolModel:
    """The platform's budget of this period, and whether large launches wait for it."""
    with asked.reading() as session:
        found = pool.page(session, asked.policy.pool, now=asked.now)
    return PoolModel(
        credits_micro=found.pool.credits_micro,
        period_start=found.period_start,
        period_end=found.period_end,
        allowance_micro=found.allowance_micro,
        spent_micro=found.state.spent_micro if found.state else None,
        waits_until=found.state.waits_until if found.state else None,
        waiting_sizes=list(found.pool.waiting_sizes),
    )


@router.get("/maintenance")
@does(Action.LAUNCHES_HOLD)
def held(asked: Asking) -> MaintenanceModel:
    """Whether new launches are held, and with which message."""
    with asked.reading() as session:
        return _maintenance(session, asked)


@router.put("/maintenance")
@does(Action.LAUNCHES_HOLD)
def hold(body: HoldBody, asked: Changing) -> MaintenanceModel:
    """Hold new launches; what runs goes on."""

    def act(session: Session) -> MaintenanceModel:
        maintenance.hold_as_administrator(
            session, administrator_id=asked.person_id, message=body.message, until=body.until,
            now=asked.now,
        )  # fmt: skip
        return _maintenance(session, asked)

    return asked.once(MaintenanceModel, act)


@router.delete("/maintenance")
@does(Action.LAUNCHES_HOLD)
def lift(asked: Changing) -> MaintenanceModel:
    """Let launches through again."""

    def act(session: Session) -> MaintenanceModel:
        maintenance.lift_as_administrator(session, administrator_id=asked.person_id, now=asked.now)
        return _maintenance(session, asked)

    return asked.once(MaintenanceModel, act)


def _maintenance(session: Session, asked: Asked | Unsafe) -> MaintenanceModel:
    standing = maintenance.standing(session, now=asked.now)
    return MaintenanceModel(held=HeldModel.model_validate(standing) if standing else None)


def _person(session: Session, asked: Asked | Unsafe, hub_name: str) -> PersonRowModel:
    return PersonRowModel.model_validate(listings.person(session, policy=asked.policy, hub_name=hub_name))


def _request(session: Session, asked: Asked | Unsafe, request_id: UUID) -> RequestModel:
    row, _ = portal_lists.request(session, request_id=request_id, now=asked.now)
    return RequestModel.model_validate(row)


def decided(asked: Unsafe, request_id: UUID, decide: Callable[..., object], **said: object) -> RequestModel:
    """Do to a request what an administrator decided, once; return it as it is then."""

    def act(session: Session) -> RequestModel:
        decide(session, request_id=request_id, administrator_id=asked.person_id, now=asked.now, **said)
        session.flush()
        return _request(session, asked, request_id)

    return asked.once(RequestModel, act)
