"""What every page is given: settings of the portal, the clock, the hub, and who is looking."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.clients.hub import HubClient
from nexus_allocator.domain.policy import Policy
from nexus_allocator.services.webhooks import Vault
from nexus_allocator.web.oauth import HubSignIn


@dataclass(frozen=True)
class Portal:
    """What the portal needs from the process that runs it.

    ``session_scope`` opens one transaction, ``reading_scope`` one that only reads; ``prefix`` starts and
    ends with a slash; ``hub_public_url`` is where a browser finds the hub, "" for the portal's own origin.
    """

    session_scope: Callable[[], AbstractContextManager[Session]]
    reading_scope: Callable[[], AbstractContextManager[Session]]
    policy: Policy
    hub: HubClient
    sign_in: HubSignIn
    prefix: str
    hub_public_url: str
    secure_cookies: bool
    clock: Callable[[], datetime]
    vault: Vault
    tiers_file: Path | None = None
    purge_records: Path | None = None
    store_bucket: str | None = None


@dataclass(frozen=True)
class Visitor:
    """The signed-in person a page is made for."""

    person_id: UUID
    hub_name: str
    display_name: str
    is_administrator: bool
    csrf: str = field(repr=False)
    is_reviewer: bool = False


@dataclass(frozen=True)
class Notice:
    """What just happened, told at the top of a page."""

    kind: str
    text: str


class SignInNeededError(Exception):
    """Nobody is signed in, or no longer."""


class ForbiddenError(Exception):
    """The visitor is known but may not do this; ``message`` says what and why."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
