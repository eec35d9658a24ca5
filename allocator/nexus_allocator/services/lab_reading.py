"""What a running server's own card shows: the balance, the server's end, and what it is warned of."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.errors import UnknownHold
from nexus_allocator.domain.places import Place, PlaceKind
from nexus_allocator.domain.policy import Enforcement
from nexus_allocator.domain.quotas import Overfull, StorageTerms
from nexus_allocator.domain.states import LIVE, StopReason
from nexus_allocator.domain.teams import TEAM_SERVER
from nexus_allocator.services import announcements, enforcement, launches, stops, storage_quotas
from nexus_allocator.services import holds as lifecycle
from nexus_allocator.services.announcements import Announced
from nexus_allocator.services.hub_calls import ToStop
from nexus_allocator.store import holds, spend_notices
from nexus_allocator.store.tables import Hold


@dataclass(frozen=True)
class LabCard:
    """``planned_until`` is when the planned hours end, ``until`` when the time to save ends, too.

    ``team`` is set for a team's own server.
    """

    account_label: str
    standing: launches.Standing
    size: str
    rate_micro_per_hour: int
    usage_micro: int
    planned_until: datetime
    until: datetime
    stopping: bool
    notice: enforcement.Standing | None
    announced: tuple[Announced, ...] = ()
    places: tuple[Overfull, ...] = ()
    team: str | None = None


def card(
    session: Session, hold_id: UUID, *, terms: Enforcement, storage: StorageTerms, now: datetime
) -> LabCard:
    """Return the card of the server that runs on ``hold_id``. Raises UnknownHold once it has ended."""
    hold = live_hold(session, hold_id)
    intent = holds.latest_intent(session, hold.id, since=now - lifecycle.INTENT_LASTS)
    notice = spend_notices.highest(session, [hold.allocation_id]).get(hold.allocation_id)
    return LabCard(
        account_label=hold.allocation.account.label,
        standing=launches.standing(session, hold.allocation, now=now),
        size=hold.size,
        rate_micro_per_hour=hold.rate_micro_per_hour,
        usage_micro=hold.usage_micro,
        planned_until=hold.until - timedelta(minutes=hold.grace_minutes),
        until=hold.until,
        stopping=intent is not None,
        notice=enforcement.standing(notice, terms) if notice else None,
        announced=tuple(announcements.standing(session, now=now)),
        places=tuple(_warnings(session, hold, terms=storage, now=now)),
        team=_team(hold),
    )


def _warnings(session: Session, hold: Hold, *, terms: StorageTerms, now: datetime) -> list[Overfull]:
    """Return which places hold too much; in a team's own server nothing of who started it."""
    found = storage_quotas.warnings(session, hold.person_id, terms=terms, now=now)
    if (team := _team(hold)) is None:
        return found
    return [each for each in found if each.place == Place(PlaceKind.TEAM, team)]


def _team(hold: Hold) -> str | None:
    """Return whose own server it is, None for a person's."""
    name = hold.server_name
    return name.removeprefix(TEAM_SERVER) if name.startswith(TEAM_SERVER) else None


def stop(session: Session, hold_id: UUID, *, now: datetime) -> ToStop:
    """Have the server stopped from inside it, by its person. Raises UnknownHold once it has ended.

    Who it was in a team's own server nobody can tell: all its members have its token.
    """
    hold = live_hold(session, hold_id)
    if (team := _team(hold)) is not None:
        return stops.stop(
            session, hub_name=team, server_name="", reason=StopReason.TEAM_HAND, actor=team, now=now
        )
    name = hold.person.hub_name
    return stops.stop_own(session, hub_name=name, owner=name, server_name=hold.server_name, now=now)


def live_hold(session: Session, hold_id: UUID) -> Hold:
    """Return the hold of a server that has not ended. Raises UnknownHold."""
    hold = holds.with_owners(session, hold_id)
    if hold is None or hold.state not in LIVE:
        raise UnknownHold(hold_id=str(hold_id))
    return hold
