"""The endpoints of webhooks as administrators see them: never with a secret."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.store import webhooks


@dataclass(frozen=True)
class Endpoint:
    id: UUID
    url: str
    events: tuple[str, ...]
    created_at: datetime
    old_secret_until: datetime | None
    failures: int
    failing_since: datetime | None
    disabled_at: datetime | None
    disabled_why: str | None

    @property
    def is_on(self) -> bool:
        return self.disabled_at is None


def endpoints(session: Session) -> tuple[Endpoint, ...]:
    return tuple(
        Endpoint(row.id, row.url, tuple(row.events), row.created_at, row.old_secret_until, row.failures,
                 row.failing_since, row.disabled_at, row.disabled_why)
        for row in webhooks.kept(session)
    )  # fmt: skip
