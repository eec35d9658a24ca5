"""Who calls the API: the person whose hub token it is, and as what they and it may act.

Whose token it is, the hub is asked; its answer is remembered for a moment. Whether the person may act just
now is read at each request, so that a suspension holds at once, whatever is remembered.
"""

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from nexus_allocator.clients.hub import HubClient, TokenOwner
from nexus_allocator.domain import rights as table
from nexus_allocator.domain import scopes
from nexus_allocator.domain.errors import InvalidToken
from nexus_allocator.domain.rights import Capacity
from nexus_allocator.services.rights import in_good_standing, person_called
from nexus_allocator.store import panel
from nexus_allocator.store.session import Database

REMEMBERED = timedelta(seconds=30)
MOST_REMEMBERED = 10_000


@dataclass(frozen=True)
class Caller:
    """``may_act_as`` is what the person may be somewhere, ``limits`` what their token leaves of it."""

    person_id: UUID
    hub_name: str
    may_act_as: frozenset[Capacity]
    limits: frozenset[Capacity]


class TokenMemory:
    """Whose tokens came lately, by their digests; the oldest go first. Safe to use from many threads."""

    def __init__(self, *, lasts: timedelta = REMEMBERED, most: int = MOST_REMEMBERED) -> None:
        self._lasts, self._most = lasts, most
        self._known: OrderedDict[bytes, tuple[datetime, TokenOwner]] = OrderedDict()
        self._lock = threading.Lock()

    def owner(self, hub: HubClient, token: str, *, now: datetime) -> TokenOwner | None:
        """Return whose token it is, by the hub's word of now or of a moment ago. Raises HubUnavailable."""
        digest = hashlib.sha256(token.encode()).digest()
        with self._lock:
            asked_at, known = self._known.get(digest, (now, None))
        if known is not None and asked_at <= now < asked_at + self._lasts:
            return known
        owner = hub.owner_of_token(token)
        with self._lock:
            self._known.pop(digest, None)
            if owner is not None:
                self._known[digest] = now, owner
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        return owner

    def forget(self, hub_name: str) -> None:
        """Ask the hub anew about all tokens of a person."""
        with self._lock:
            for digest in [each for each, (_, owner) in self._known.items() if owner.hub_name == hub_name]:
                del self._known[digest]


def caller_of(
    database: Database, hub: HubClient, memory: TokenMemory, token: str, *, writes: bool, now: datetime
) -> Caller:
    """Return who calls, as the hub knows their token. Raises InvalidToken, Suspended, UnknownPerson,
    HubUnavailable.
    """
    owner = memory.owner(hub, token, now=now)
    if owner is None:
        raise InvalidToken()
    with database.reading_scope() as session:
        person = person_called(session, owner.hub_name)
        is_reviewer = panel.term_of(session, person.id) is not None
    if person.suspended_at is not None:
        # Their tokens are being revoked, and stay so after a reinstatement.
        memory.forget(owner.hub_name)
    in_good_standing(person)
    return Caller(
        person_id=person.id,
        hub_name=person.hub_name,
        may_act_as=table.somewhere(is_administrator=person.is_administrator, is_reviewer=is_reviewer),
        limits=scopes.acting_as(owner.scopes, writes=writes),
    )
