"""Endpoints of webhooks, as administrators register them, and telling them of events by the outbox.

A secret is shown once, when it is made. It is kept sealed with a key of the settings, so that a copy of the
database signs nothing.
"""

import base64
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy.orm import Session

from nexus_allocator.domain.errors import (
    BadEvents,
    EndpointRegistered,
    SecretUnreadable,
    UnknownEndpoint,
)
from nexus_allocator.domain.outbox import Channel
from nexus_allocator.domain.records import OPERATOR, Act
from nexus_allocator.domain.rights import Action
from nexus_allocator.domain.webhooks import (
    FAILING_FOR,
    MOST_FAILURES,
    OLD_SECRET_LASTS,
    TEST,
    EventKind,
    Reach,
    endpoint_url,
)
from nexus_allocator.services.outbox import enqueue
from nexus_allocator.services.records import record
from nexus_allocator.services.rights import overseer
from nexus_allocator.store import webhooks
from nexus_allocator.store.webhook_tables import WebhookEndpoint


@dataclass(frozen=True)
class Vault:
    """Seals secrets and opens them; ``reach`` is to which addresses events may go."""

    key: str = field(repr=False)
    reach: Reach

    def seal(self, secret: str) -> str:
        return self._fernet().encrypt(secret.encode()).decode()

    def open(self, sealed: str) -> str:
        """Return the secret. Raises SecretUnreadable after the key of the settings was changed."""
        try:
            return self._fernet().decrypt(sealed.encode()).decode()
        except InvalidToken as error:
            raise SecretUnreadable() from error

    def _fernet(self) -> Fernet:
        derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"nexus webhook secrets")
        return Fernet(base64.urlsafe_b64encode(derived.derive(self.key.encode())))


def emit(session: Session, kind: EventKind, *, key: str, facts: Mapping[str, Any], now: datetime) -> None:
    """Tell the endpoints that ask for such events, once this transaction commits."""
    for endpoint in webhooks.listening(session):
        if kind.value in endpoint.events:
            said = {"endpoint": str(endpoint.id), "facts": dict(facts)}
            enqueue(session, Channel.WEBHOOK, kind, key=f"{kind}/{key}/{endpoint.id}", facts=said, now=now)


def register(
    session: Session, *, url: str, events: Collection[str], vault: Vault, by: UUID | None, now: datetime
) -> tuple[WebhookEndpoint, str]:
    """Keep an endpoint; return it with its secret, which is never shown again. ``by`` None is an operator.

    Raises NotAllowed, BadUrl, BadEvents, EndpointRegistered.
    """
    actor_id = None if by is None else overseer(session, by, Action.WEBHOOK_KEEP).id
    known = [kind.value for kind in EventKind if kind.value in events]
    if not known or len(known) != len(set(events)):
        raise BadEvents(known=[kind.value for kind in EventKind])
    address = endpoint_url(url, vault.reach)
    if webhooks.by_url(session, address) is not None:
        raise EndpointRegistered(url=address[:80])
    secret = _new_secret()
    endpoint = WebhookEndpoint(
        url=address, events=known, sealed_secret=vault.seal(secret), sealed_old_secret=None,
        old_secret_until=None, created_at=now, created_by=actor_id, failures=0, failing_since=None,
        disabled_at=None, disabled_why=None, removed_at=None,
    )  # fmt: skip
    webhooks.add(session, endpoint)
    record(session, Act.ENDPOINT_REGISTERED, endpoint.id, by=actor_id or OPERATOR, now=now,
           after={"url": address, "events": known})  # fmt: skip
    return endpoint, secret


def rotate(
    session: Session, endpoint_id: UUID, *, vault: Vault, by: UUID | None, now: datetime
) -> tuple[WebhookEndpoint, str]:
    """Give an endpoint a new secret and return it; the one before signs too for a day.

    Raises NotAllowed, UnknownEndpoint.
    """
    endpoint = _to_change(session, endpoint_id, by)
    secret = _new_secret()
    endpoint.sealed_old_secret, endpoint.old_secret_until = endpoint.sealed_secret, now + OLD_SECRET_LASTS
    endpoint.sealed_secret = vault.seal(secret)
    record(session, Act.ENDPOINT_ROTATED, endpoint.id, by=by or OPERATOR, now=now)
    return endpoint, secret


def switch(session: Session, endpoint_id: UUID, *, on: bool, by: UUID | None, now: datetime) -> None:
    """Let an endpoint be told of events, or not. Raises NotAllowed, UnknownEndpoint."""
    endpoint = _to_change(session, endpoint_id, by)
    endpoint.failures, endpoint.failing_since, endpoint.disabled_why = 0, None, None
    endpoint.disabled_at = None if on else (endpoint.disabled_at or now)
    record(session, Act.ENDPOINT_SWITCHED, endpoint.id, by=by or OPERATOR, after={"on": on}, now=now)


def send_test(session: Session, endpoint_id: UUID, *, by: UUID | None, now: datetime) -> None:
    """Post an event of nothing to an endpoint, as all events are. Raises NotAllowed, UnknownEndpoint."""
    endpoint = _to_change(session, endpoint_id, by)
    said = {"endpoint": str(endpoint.id), "facts": {}}
    key = f"{TEST}/{endpoint.id}/{now.isoformat()}"
    enqueue(session, Channel.WEBHOOK, TEST, key=key, facts=said, now=now)
    record(session, Act.ENDPOINT_TESTED, endpoint.id, by=by or OPERATOR, now=now)


def remove(session: Session, endpoint_id: UUID, *, by: UUID | None, now: datetime) -> None:
    """Forget an endpoint's secrets and tell it nothing more. Raises NotAllowed, UnknownEndpoint."""
    endpoint = _to_change(session, endpoint_id, by)
    endpoint.removed_at, endpoint.sealed_secret, endpoint.sealed_old_secret = now, "", None
    record(session, Act.ENDPOINT_REMOVED, endpoint.id, by=by or OPERATOR, now=now)


def signing_secrets(endpoint: WebhookEndpoint, vault: Vault, *, now: datetime) -> list[str]:
    """Return the secrets that sign now, the newest first. Raises SecretUnreadable."""
    found = [vault.open(endpoint.sealed_secret)]
    until = endpoint.old_secret_until
    if endpoint.sealed_old_secret is not None and until is not None and now < until:
        found.append(vault.open(endpoint.sealed_old_secret))
    return found


def note_failure(endpoint: WebhookEndpoint, problem: str, *, now: datetime) -> bool:
    """Count a failed attempt into the locked ``endpoint``; say whether that switched it off."""
    if endpoint.disabled_at is not None:
        return False
    endpoint.failures, endpoint.failing_since = endpoint.failures + 1, endpoint.failing_since or now
    if endpoint.failures < MOST_FAILURES or now - endpoint.failing_since < FAILING_FOR:
        return False
    endpoint.disabled_at, endpoint.disabled_why = now, problem
    return True


def _to_change(session: Session, endpoint_id: UUID, by: UUID | None) -> WebhookEndpoint:
    if by is not None:
        overseer(session, by, Action.WEBHOOK_KEEP)
    endpoint = webhooks.lock(session, endpoint_id)
    if endpoint is None or endpoint.removed_at is not None:
        raise UnknownEndpoint()
    return endpoint


def _new_secret() -> str:
    return f"nexus_{secrets.token_urlsafe(32)}"
