"""Oneself: who the Nexus takes one for, notices, the user agreement, one's servers; and what is offered."""

from datetime import timedelta
from uuid import UUID

from fastapi import APIRouter, Security
from sqlalchemy.orm import Session

from nexus_allocator.api.context import Here
from nexus_allocator.api.models import Word
from nexus_allocator.api.v1.asking import HUB_TOKEN, REFUSALS, Asking, Changing
from nexus_allocator.api.v1.models import (
    AgreementStandingModel,
    AgreementTextModel,
    DoneModel,
    KeepBody,
    KeptModel,
    MeModel,
    NoticeModel,
    OfferedSizeModel,
    PolicyModel,
    ServerModel,
    StoppingModel,
    TierModel,
    VersionBody,
)
from nexus_allocator.domain.rights import Action, Reach, does
from nexus_allocator.services import agreements, listings, notices, people, stops
from nexus_allocator.services.hub_calls import ToStop, ask_at_once

router = APIRouter(responses=REFUSALS, dependencies=[Security(HUB_TOKEN)])
# The service cuts it at the server's planned end.
KEEP_ALIVE = timedelta(days=1)
ACCEPTED = 202


@router.get("/policy", tags=["policy"])
@does(Action.POLICY_SEE)
def policy(here: Here) -> PolicyModel:
    """Sizes with their rates, and tiers. Needs no token."""
    offered = here.policy
    sizes = [
        OfferedSizeModel(
            slug=size.slug, label=size.label, cpu=size.cpu, memory_gib=size.memory_gib, gpu=size.gpu,
            rate_micro_per_hour=offered.rate_micro(size),
        )
        for size in offered.sizes.values()
    ]  # fmt: skip
    return PolicyModel(
        version=offered.version,
        rate_card_version=offered.rate_card.version,
        sizes=sizes,
        tiers=[TierModel.model_validate(tier) for tier in offered.tiers.values()],
    )


@router.get("/agreement", tags=["policy"])
@does(Action.AGREEMENT_SEE)
def agreement(here: Here) -> AgreementTextModel:
    """The user agreement in force. Needs no token."""
    return AgreementTextModel(**vars(here.policy.agreement))


@router.get("/me", tags=["me"])
@does(Action.PERSON_SEE, over=Reach.OWN)
def me(asked: Asking) -> MeModel:
    with asked.reading() as session:
        return MeModel.model_validate(listings.oneself(session, policy=asked.policy, hub_name=asked.hub_name))


@router.post("/me/agreement", tags=["me"])
@does(Action.AGREEMENT_ACCEPT, over=Reach.OWN)
def accept_agreement(body: VersionBody, asked: Changing) -> AgreementStandingModel:
    """Accept the version in force; the first time this makes one's account."""

    def act(session: Session) -> AgreementStandingModel:
        people.accept_agreement(
            session, policy=asked.policy, hub_name=asked.hub_name, version=body.version, now=asked.now
        )
        standing = agreements.standing(session, asked.policy.agreement, hub_name=asked.hub_name)
        return AgreementStandingModel.model_validate(standing)

    return asked.once(AgreementStandingModel, act)


@router.get("/me/notices", tags=["me"])
@does(Action.NOTICE_SEE, over=Reach.OWN)
def my_notices(asked: Asking) -> list[NoticeModel]:
    """What one was told and has not put away: the latest twenty."""
    with asked.reading() as session:
        return [NoticeModel.of(told) for told in notices.unread(session, hub_name=asked.hub_name)]


@router.post("/me/notices/{notice_id}/put-away", tags=["me"])
@does(Action.NOTICE_PUT_AWAY, over=Reach.OWN)
def put_away(notice_id: UUID, asked: Changing) -> DoneModel:
    """Show a notice no more; another's, or one that is gone, is left as it is."""

    def act(session: Session) -> DoneModel:
        notices.put_away(session, notice_id, hub_name=asked.hub_name, now=asked.now)
        return DoneModel()

    return asked.once(DoneModel, act)


@router.get("/servers", tags=["servers"])
@does(Action.SERVER_SEE, over=Reach.OWN)
def my_servers(asked: Asking) -> list[ServerModel]:
    """One's live servers."""
    with asked.reading() as session:
        found = listings.own_servers(session, hub_name=asked.hub_name, now=asked.now)
    return [ServerModel.model_validate(server) for server in found]


@router.post("/servers/{server_name}/stop", tags=["servers"], status_code=ACCEPTED)
@does(Action.SERVER_STOP, over=Reach.OWN)
def stop(server_name: Word, asked: Changing) -> StoppingModel:
    """Stop a server of one's own; `-` is the default server."""
    to_stop: list[ToStop] = []

    def act(session: Session) -> StoppingModel:
        name = name_of(server_name)
        mine = asked.hub_name
        to_stop.append(stops.stop_own(session, hub_name=mine, owner=mine, server_name=name, now=asked.now))
        return StoppingModel(hub_name=mine, server_name=name)

    made = asked.once(StoppingModel, act)
    ask_at_once(asked.database, asked.hub, to_stop, now=asked.now)
    return made


@router.put("/servers/{server_name}/keep-alive", tags=["servers"])
@does(Action.SERVER_KEEP, over=Reach.OWN)
def keep_alive(server_name: Word, body: KeepBody, asked: Changing) -> KeptModel:
    """Keep an idle server from being stopped for a day, at most until its planned end; or no longer."""

    def act(session: Session) -> KeptModel:
        until = stops.keep_alive(
            session, hub_name=asked.hub_name, server_name=name_of(server_name),
            until=asked.now + KEEP_ALIVE if body.keep else asked.now, now=asked.now,
        )  # fmt: skip
        return KeptModel(keep_alive_until=until)

    return asked.once(KeptModel, act)


def name_of(segment: str) -> str:
    """Return the hub's name of a server; the default server's is empty, which no address can hold."""
    return "" if segment == "-" else segment
