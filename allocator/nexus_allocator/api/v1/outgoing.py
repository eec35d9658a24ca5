"""Which mail one gets; and for administrators the outbox and the endpoints of webhooks."""

from collections.abc import Callable
from uuid import UUID

from fastapi import APIRouter, Security
from sqlalchemy.orm import Session

from nexus_allocator.api.v1.asking import HUB_TOKEN, REFUSALS, Asked, Asking, Changing, Unsafe
from nexus_allocator.api.v1.models import DoneModel
from nexus_allocator.api.v1.outgoing_models import (
    EndpointBody,
    EndpointModel,
    MailBody,
    MailModel,
    NewSecretModel,
    OutgoingModel,
    RetriedModel,
    SwitchBody,
)
from nexus_allocator.api.v1.pages import Cursor, Limit, Page, after, moment_and_id, page
from nexus_allocator.domain.outbox import Channel
from nexus_allocator.domain.rights import Action, does
from nexus_allocator.services import mail_choices, outbox, outbox_reading, webhook_reading, webhooks
from nexus_allocator.services.outbox_reading import Show
from nexus_allocator.store.webhook_tables import WebhookEndpoint

router = APIRouter(responses=REFUSALS, dependencies=[Security(HUB_TOKEN)])
CREATED = 201


@router.get("/me/mail", tags=["me"])
@does(Action.MAIL_CHOOSE)
def my_mail(asked: Asking) -> MailModel:
    """Which mail one gets, and when."""
    with asked.reading() as session:
        return _mail(session, asked)


@router.put("/me/mail", tags=["me"])
@does(Action.MAIL_CHOOSE)
def choose(body: MailBody, asked: Changing) -> MailModel:
    """Choose when one gets mail of some kinds; those that are fixed stay as they are."""

    def act(session: Session) -> MailModel:
        mail_choices.choose(session, body.timings, hub_name=asked.hub_name, now=asked.now)
        session.flush()
        return _mail(session, asked)

    return asked.once(MailModel, act)


@router.get("/admin/outbox", tags=["admin"])
@does(Action.OUTBOX_SEE)
def outgoing(
    *,
    asked: Asking,
    show: Show = Show.DEAD,
    channel: Channel | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[OutgoingModel]:
    """What leaves the service, the latest first: given up, waiting, over, or all."""
    with asked.reading() as session:
        rows = outbox_reading.after(
            session, show=show, channel=channel, last=moment_and_id(after(cursor)), limit=limit + 1
        )
    return page(rows, limit, model=OutgoingModel, key=lambda row: (row.created_at.isoformat(), str(row.id)))


@router.post("/admin/outbox/retry", tags=["admin"])
@does(Action.OUTBOX_RETRY)
def retry_all(asked: Changing) -> RetriedModel:
    """Try again all that was given up."""

    def act(session: Session) -> RetriedModel:
        retried = outbox.retry_all(session, channel=None, administrator_id=asked.person_id, now=asked.now)
        return RetriedModel(retried=retried)

    return asked.once(RetriedModel, act)


@router.post("/admin/outbox/{row_id}/retry", tags=["admin"])
@does(Action.OUTBOX_RETRY)
def retry(row_id: UUID, asked: Changing) -> DoneModel:
    """Try one again that was given up; what was not stays as it is."""

    def act(session: Session) -> DoneModel:
        outbox.retry(session, row_id, administrator_id=asked.person_id, now=asked.now)
        return DoneModel()

    return asked.once(DoneModel, act)


@router.get("/admin/webhooks", tags=["admin"])
@does(Action.WEBHOOK_KEEP)
def endpoints(asked: Asking) -> list[EndpointModel]:
    """The endpoints that are told of events, the oldest first."""
    with asked.reading() as session:
        return [EndpointModel.model_validate(row) for row in webhook_reading.endpoints(session)]


@router.post("/admin/webhooks", status_code=CREATED, tags=["admin"])
@does(Action.WEBHOOK_KEEP)
def register(body: EndpointBody, asked: Changing) -> NewSecretModel:
    """Register an endpoint; its secret is in this answer alone."""

    def make(session: Session) -> tuple[WebhookEndpoint, str]:
        return webhooks.register(
            session, url=body.url, events=[kind.value for kind in body.events], vault=asked.vault,
            by=asked.person_id, now=asked.now,
        )  # fmt: skip

    return _with_secret(asked, make)


@router.post("/admin/webhooks/{endpoint_id}/rotate", tags=["admin"])
@does(Action.WEBHOOK_KEEP)
def rotate(endpoint_id: UUID, asked: Changing) -> NewSecretModel:
    """Give an endpoint a new secret; the one before signs too for a day."""

    def make(session: Session) -> tuple[WebhookEndpoint, str]:
        return webhooks.rotate(session, endpoint_id, vault=asked.vault, by=asked.person_id, now=asked.now)

    return _with_secret(asked, make)


@router.put("/admin/webhooks/{endpoint_id}/switch", tags=["admin"])
@does(Action.WEBHOOK_KEEP)
def switch(endpoint_id: UUID, body: SwitchBody, asked: Changing) -> DoneModel:
    """Tell an endpoint of events, or nothing."""

    def act(session: Session) -> DoneModel:
        webhooks.switch(session, endpoint_id, on=body.on, by=asked.person_id, now=asked.now)
        return DoneModel()

    return asked.once(DoneModel, act)


@router.post("/admin/webhooks/{endpoint_id}/test", tags=["admin"])
@does(Action.WEBHOOK_KEEP)
def send_test(endpoint_id: UUID, asked: Changing) -> DoneModel:
    """Post an event of nothing, `webhook.test`, to an endpoint."""

    def act(session: Session) -> DoneModel:
        webhooks.send_test(session, endpoint_id, by=asked.person_id, now=asked.now)
        return DoneModel()

    return asked.once(DoneModel, act)


@router.delete("/admin/webhooks/{endpoint_id}", tags=["admin"])
@does(Action.WEBHOOK_KEEP)
def remove(endpoint_id: UUID, asked: Changing) -> DoneModel:
    """Forget an endpoint and its secrets."""

    def act(session: Session) -> DoneModel:
        webhooks.remove(session, endpoint_id, by=asked.person_id, now=asked.now)
        return DoneModel()

    return asked.once(DoneModel, act)


def _with_secret(asked: Unsafe, make: Callable[[Session], tuple[WebhookEndpoint, str]]) -> NewSecretModel:
    """Do it once; the answer that is kept for a repetition holds no secret."""
    told: list[str] = []

    def act(session: Session) -> EndpointModel:
        endpoint, secret = make(session)
        told.append(secret)
        return EndpointModel.model_validate(endpoint)

    made = asked.once(EndpointModel, act)
    return NewSecretModel(**made.model_dump(), secret=told[0] if told else None)


def _mail(session: Session, asked: Asked | Unsafe) -> MailModel:
    return MailModel.model_validate(mail_choices.of_person(session, hub_name=asked.hub_name))
