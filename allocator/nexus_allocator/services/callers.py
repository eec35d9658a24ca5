"""Who calls the API: the person whose hub token it is, and as what they and it may act."""

from dataclasses import dataclass
from uuid import UUID

from nexus_allocator.clients.hub import HubClient
from nexus_allocator.domain import rights as table
from nexus_allocator.domain import scopes
from nexus_allocator.domain.errors import InvalidToken
from nexus_allocator.domain.rights import Capacity
from nexus_allocator.services.rights import in_good_standing, person_called
from nexus_allocator.store import panel
from nexus_allocator.store.session import Database


@dataclass(frozen=True)
class Caller:
    """``may_act_as`` is what the person may be somewhere, ``limits`` what their token leaves of it."""

    person_id: UUID
    hub_name: str
    may_act_as: frozenset[Capacity]
    limits: frozenset[Capacity]


def caller_of(database: Database, hub: HubClient, token: str, *, writes: bool) -> Caller:
    """Return who calls, as the hub knows their token. Raises InvalidToken, Suspended, UnknownPerson,
    HubUnavailable.
    """
    owner = hub.owner_of_token(token)
    if owner is None:
        raise InvalidToken()
    with database.reading_scope() as session:
        person = in_good_standing(person_called(session, owner.hub_name))
        is_reviewer = panel.term_of(session, person.id) is not None
    return Caller(
        person_id=person.id,
        hub_name=person.hub_name,
        may_act_as=table.somewhere(is_administrator=person.is_administrator, is_reviewer=is_reviewer),
        limits=scopes.acting_as(owner.scopes, writes=writes),
    )
