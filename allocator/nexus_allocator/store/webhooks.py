"""Endpoints of webhooks."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from nexus_allocator.store.webhook_tables import WebhookEndpoint


def kept(session: Session) -> Sequence[WebhookEndpoint]:
    """Return the endpoints that were not removed, the oldest first."""
    found = select(WebhookEndpoint).where(WebhookEndpoint.removed_at.is_(None))
    return session.scalars(found.order_by(WebhookEndpoint.created_at, WebhookEndpoint.id)).all()


def listening(session: Session) -> Sequence[WebhookEndpoint]:
    """Return the endpoints that are told of events."""
    return [endpoint for endpoint in kept(session) if endpoint.disabled_at is None]


def by_url(session: Session, url: str) -> WebhookEndpoint | None:
    found = select(WebhookEndpoint).where(WebhookEndpoint.url == url, WebhookEndpoint.removed_at.is_(None))
    return session.scalar(found)


def by_id(session: Session, endpoint_id: UUID) -> WebhookEndpoint | None:
    return session.get(WebhookEndpoint, endpoint_id)


def lock(session: Session, endpoint_id: UUID) -> WebhookEndpoint | None:
    return session.get(WebhookEndpoint, endpoint_id, with_for_update=True, populate_existing=True)


def add(session: Session, endpoint: WebhookEndpoint) -> None:
    session.add(endpoint)
    session.flush()
