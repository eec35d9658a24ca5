"""Who may do what with a place: its person, who sits in its team, and who oversees all."""

from sqlalchemy.orm import Session

from nexus_allocator.domain.errors import AllocatorError, UnknownPlace
from nexus_allocator.domain.places import Place
from nexus_allocator.domain.rights import Action
from nexus_allocator.services import rights, storage
from nexus_allocator.store import accounts
from nexus_allocator.store.tables import Person


def require(session: Session, place: Place, person: Person, action: Action) -> None:
    """Raise UnknownPlace to who may not even see the place, as for none; else what says who may."""
    owner_id, team_id = storage.owner(session, place)
    team = accounts.team_by_slug(session, place.name) if team_id is not None else None
    if team is not None:
        rights.require_in_team(session, team, person, action)
    elif owner_id is None or not rights.may_with(session, person, owner_id, action):
        raise UnknownPlace(place=str(place))


def may(session: Session, place: Place, person: Person, action: Action) -> bool:
    try:
        require(session, place, person, action)
    except AllocatorError:
        return False
    return True
