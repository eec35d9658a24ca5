"""The routes a running server asks about itself; its token speaks for its own hold and for nothing else."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel

from nexus_allocator.api.context import Bearer, Here
from nexus_allocator.api.models import AnnouncementModel, CredentialsModel, RefusalModel
from nexus_allocator.domain.credits import shown
from nexus_allocator.domain.errors import InvalidToken
from nexus_allocator.domain.lab_tokens import hold_of_token
from nexus_allocator.domain.rights import Action, Reach, does
from nexus_allocator.domain.wording import spend_sentence
from nexus_allocator.services import lab_reading, object_access
from nexus_allocator.services.hub_calls import ask_at_once

ACCEPTED = 202
REFUSALS: dict[int | str, dict[str, object]] = {
    status: {"model": RefusalModel} for status in (401, 404, 409, 503)
}

router = APIRouter(prefix="/api/lab", tags=["lab"], responses=REFUSALS)


def own_hold(here: Here, bearer: Bearer) -> UUID:
    """Return the hold that the token speaks for. Raises InvalidToken."""
    hold_id = hold_of_token(here.internal_token, bearer.credentials if bearer else "")
    if hold_id is None:
        raise InvalidToken()
    return hold_id


OwnHold = Annotated[UUID, Depends(own_hold)]


class LabNoticeModel(BaseModel):
    percent: int
    sentence: str
    stops_at: datetime | None


class LabCardModel(BaseModel):
    """Amounts in micro-credits, and what is left also as people read it; ``team`` for a team's own server."""

    account: str
    balance_micro: int
    available_micro: int
    left: str
    size: str
    rate_micro_per_hour: int
    usage_micro: int
    planned_until: datetime
    until: datetime
    stopping: bool
    notice: LabNoticeModel | None
    announcements: list[AnnouncementModel] = []
    team: str | None = None

    @classmethod
    def of(cls, card: lab_reading.LabCard) -> "LabCardModel":
        return cls(
            account=card.account_label,
            balance_micro=card.standing.balance_micro,
            available_micro=card.standing.available_micro,
            left=shown(card.standing.balance_micro),
            size=card.size,
            rate_micro_per_hour=card.rate_micro_per_hour,
            usage_micro=card.usage_micro,
            planned_until=card.planned_until,
            until=card.until,
            stopping=card.stopping,
            notice=_notice(card),
            announcements=[
                *(AnnouncementModel.of(each) for each in card.announced),
                *(AnnouncementModel.of_place(each) for each in card.places),
            ],
            team=card.team,
        )


def _notice(card: lab_reading.LabCard) -> LabNoticeModel | None:
    notice = card.notice
    if notice is None:
        return None
    sentence = spend_sentence(
        notice.percent,
        award_micro=notice.award_micro,
        left_micro=card.standing.balance_micro,
        stops_at=notice.stops_at,
    )
    return LabNoticeModel(percent=notice.percent, sentence=sentence, stops_at=notice.stops_at)


@router.get("/card")
@does(Action.CARD_SEE)
def card(here: Here, hold_id: OwnHold) -> LabCardModel:
    """The balance of the account this server is charged to, and when the server ends."""
    with here.database.reading_scope() as session:
        found = lab_reading.card(
            session, hold_id, terms=here.policy.enforcement, storage=here.policy.storage, now=here.clock()
        )
    return LabCardModel.of(found)


@router.post("/stop", status_code=ACCEPTED)
@does(Action.SERVER_STOP, over=Reach.OWN)
def stop(here: Here, hold_id: OwnHold) -> Response:
    """Stop this server by the hand of its owner, or of somebody in its team."""
    with here.database.session_scope() as session:
        server = lab_reading.stop(session, hold_id, now=here.clock())
    ask_at_once(here.database, here.hub, [server], now=here.clock())
    return Response(status_code=ACCEPTED)


@router.get("/credentials")
@does(Action.STORE_OPEN, over=Reach.OWN)
def credentials(here: Here, hold_id: OwnHold) -> CredentialsModel:
    """Short-lived credentials for the prefix of the account that this server runs on."""
    with here.database.reading_scope() as session:
        access = object_access.of_server(session, hold_id)
    return CredentialsModel.of(object_access.credentials(here.store, access))
