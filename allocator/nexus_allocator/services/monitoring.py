"""What monitoring reads of the whole service, in one short transaction."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from nexus_allocator.domain.outbox import OutgoingState
from nexus_allocator.domain.places import PlaceKind
from nexus_allocator.domain.requests import WAITING
from nexus_allocator.domain.states import HoldState
from nexus_allocator.store import holds, meter, outbox, places, pool, requests
from nexus_allocator.store.places import PlacesNow


@dataclass(frozen=True)
class Gauges:
    """Ages are in seconds and None before the first; amounts are micro-credits."""

    live: Mapping[tuple[str, HoldState], int]
    held_micro: int
    outgoing: Mapping[OutgoingState, int]
    requests_waiting: int
    meter_age_s: float | None
    meter_whole_age_s: float | None
    pool_spent_micro: int | None
    places: Mapping[PlaceKind, PlacesNow]


def gauges(session: Session, *, now: datetime) -> Gauges:
    tick, budget = meter.last_tick(session), pool.read(session)
    return Gauges(
        live=holds.live_by_size(session),
        held_micro=holds.held_by_all(session),
        outgoing=outbox.counts(session),
        requests_waiting=requests.number_in(session, WAITING),
        meter_age_s=_age(tick.at if tick else None, now),
        meter_whole_age_s=_age(tick.complete_at if tick else None, now),
        pool_spent_micro=budget.spent_micro if budget else None,
        places=places.now_by_kind(session),
    )


def _age(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else (now - moment).total_seconds()
