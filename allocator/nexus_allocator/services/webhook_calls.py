"""Carrying events: what a row of the outbox tells an endpoint, signed at the moment of sending."""

import json
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.clients.webhooks import Caller
from nexus_allocator.domain.errors import SecretUnreadable
from nexus_allocator.domain.outbox import DeliveryFailed
from nexus_allocator.domain.records import NEXUS, Act
from nexus_allocator.domain.states import NoticeKind
from nexus_allocator.domain.webhooks import signature
from nexus_allocator.services.delivery import Nothing, Send
from nexus_allocator.services.notices import tell
from nexus_allocator.services.records import record
from nexus_allocator.services.webhooks import Vault, note_failure, signing_secrets
from nexus_allocator.store import people, webhooks
from nexus_allocator.store.outbox_tables import Outgoing
from nexus_allocator.store.webhook_tables import WebhookEndpoint


class WebhookCarrier:
    """Posts events to their endpoints; one that fails for long is switched off, and administrators told."""

    def __init__(self, caller: Caller, vault: Vault) -> None:
        self.caller, self.vault = caller, vault

    def prepare(self, session: Session, row: Outgoing, *, now: datetime) -> Send | Nothing:
        endpoint = webhooks.by_id(session, _endpoint_id(row))
        if endpoint is None or endpoint.removed_at is not None:
            return Nothing("The endpoint was removed.")
        if endpoint.disabled_at is not None:
            raise DeliveryFailed("The endpoint is switched off.", is_final=True)
        try:
            secrets = signing_secrets(endpoint, self.vault, now=now)
        except SecretUnreadable as error:
            raise DeliveryFailed(
                "Its secret was sealed with another key: rotate it.", is_final=True
            ) from error
        said, url = body(row), endpoint.url
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "nexus-allocator",
            "Nexus-Event": row.kind,
            "Nexus-Event-Id": str(row.id),
            "Nexus-Signature": signature(secrets, said, at=now),
        }
        return lambda: self.caller.post(url, said, headers)

    def failed(self, session: Session, row: Outgoing, *, problem: str, now: datetime) -> None:
        endpoint = webhooks.lock(session, _endpoint_id(row))
        if endpoint is not None and note_failure(endpoint, problem, now=now):
            record(session, Act.ENDPOINT_DISABLED, endpoint.id, by=NEXUS, reason=problem, now=now)
            _tell(session, endpoint, now=now)

    def arrived(self, session: Session, row: Outgoing, *, now: datetime) -> None:
        endpoint = webhooks.lock(session, _endpoint_id(row))
        if endpoint is not None:
            endpoint.failures, endpoint.failing_since = 0, None

    def rest(self) -> None:
        """No connection is kept."""


def body(row: Outgoing) -> bytes:
    """Return what is posted, the same at each attempt."""
    said = {
        "id": str(row.id), "kind": row.kind, "at": row.created_at.isoformat(), "facts": row.facts["facts"],
    }  # fmt: skip
    return json.dumps(said, sort_keys=True, separators=(",", ":")).encode()


def _endpoint_id(row: Outgoing) -> UUID:
    return UUID(row.facts["endpoint"])


def _tell(session: Session, endpoint: WebhookEndpoint, *, now: datetime) -> None:
    facts = {"url": endpoint.url, "failures": endpoint.failures, "why": endpoint.disabled_why}
    for person_id in people.administrators(session):
        key = f"webhook/{endpoint.id}/{now.isoformat()}"
        tell(session, person_id, NoticeKind.WEBHOOK_DISABLED, key=key, facts=facts, now=now)
