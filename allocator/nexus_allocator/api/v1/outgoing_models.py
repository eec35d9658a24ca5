"""What the API answers and takes about mail, the outbox and webhooks; a secret stands in one answer alone."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from nexus_allocator.api.models import Body
from nexus_allocator.api.v1.models import Shown, Words
from nexus_allocator.domain.mailing import MailKind, Timing
from nexus_allocator.domain.outbox import Channel, OutgoingState
from nexus_allocator.domain.webhooks import EventKind


class MailChoiceModel(Shown):
    kind: MailKind
    timing: Timing
    is_fixed: bool


class MailModel(Shown):
    """``address`` is null while the sign-in provider tells none."""

    address: str | None
    rows: list[MailChoiceModel]


class MailBody(Body):
    """What is not named stays as it is."""

    timings: dict[MailKind, Timing]


class OutgoingModel(Shown):
    """``whom`` is a person's name or an endpoint's address."""

    id: UUID
    channel: Channel
    kind: str
    whom: str | None
    state: OutgoingState
    created_at: datetime
    due_at: datetime
    attempts: int
    problem: str | None
    over_at: datetime | None


class RetriedModel(Shown):
    retried: int


class EndpointModel(Shown):
    id: UUID
    url: str
    events: list[EventKind]
    created_at: datetime
    old_secret_until: datetime | None
    failures: int
    failing_since: datetime | None
    disabled_at: datetime | None
    disabled_why: str | None


class NewSecretModel(EndpointModel):
    secret: str | None = Field(description="Told this once; null where the answer of before is repeated.")


class EndpointBody(Body):
    url: Words
    events: list[EventKind] = Field(min_length=1, max_length=len(EventKind))


class SwitchBody(Body):
    on: bool
