"""What a purge asks of the platform: whose a place is, who works there, what is exempt; telling people."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.errors import BadDate, BadReason, UnknownExemption, UnknownPlace
from nexus_allocator.domain.places import Place, PlaceKind, Usage, mark_reached
from nexus_allocator.domain.purges import Exemption, Parts
from nexus_allocator.domain.records import Act
from nexus_allocator.domain.states import NoticeKind
from nexus_allocator.services.notices import tell
from nexus_allocator.services.records import record
from nexus_allocator.store import holds, people, storage, teams
from nexus_allocator.store.storage_tables import StorageExemption

LONGEST_REASON = 500
GB = 10**9


def answerable(session: Session, place: Place) -> Sequence[UUID]:
    """Return who is told of a place: its person, or who leads and manages its team. Raises UnknownPlace."""
    person_id, team_id = _owner(session, place)
    return [person_id] if person_id else teams.leading(session, team_id) if team_id else []


def is_busy(session: Session, place: Place) -> bool:
    """Say whether anybody who may write there has a live server: what it holds open nobody sees."""
    person_id, team_id = _owner(session, place)
    writers = [person_id] if person_id else []
    if team_id:
        writers = [person.id for person, _ in teams.members(session, team_id)]
    return any(holds.open_of_person(session, writer) for writer in writers)


def exempt(
    session: Session,
    place: Place,
    path: Parts,
    *,
    until: datetime,
    reason: str,
    by: UUID | str,
    now: datetime,
) -> UUID:
    """Keep what lies at or below ``path`` from every purge until ``until``. Raises BadDate, BadReason."""
    _owner(session, place)
    if until <= now:
        raise BadDate(date=f"{until:%Y-%m-%d}", must_be="in the future")
    text = reason.strip()
    if not 0 < len(text) <= LONGEST_REASON:
        raise BadReason(min=1, max=LONGEST_REASON)
    row = StorageExemption(
        place_kind=place.kind,
        place_name=place.name,
        path=encoded(path),
        reason=text,
        made_at=now,
        until=until,
    )
    storage.add(session, row)
    facts = {"place": str(place), "path": row.path, "until": until}
    record(session, Act.FILES_EXEMPTED, row.id, by=by, now=now, reason=text, after=facts)
    return row.id


def end_exemption(session: Session, exemption_id: UUID, *, by: UUID | str, now: datetime) -> None:
    """End an exemption before its date. Raises UnknownExemption."""
    row = storage.exemption(session, exemption_id)
    if row is None or row.ended_at is not None or row.until <= now:
        raise UnknownExemption(exemption=str(exemption_id))
    row.ended_at = now
    record(session, Act.EXEMPTION_ENDED, row.id, by=by, now=now)


def exemptions(session: Session, place: Place, *, now: datetime) -> list[tuple[UUID, Exemption]]:
    """Return what is exempt in a place now."""
    rows = storage.in_force(session, place, now)
    return [(row.id, Exemption(decoded(row.path), row.until, row.reason)) for row in rows]


def warn(
    session: Session,
    place: Place,
    usage: Usage,
    *,
    enforced: bool,
    now: datetime,
    soft: tuple[int, datetime] | None = None,
) -> int | None:
    """Tell the place's people that it fills, once a month for each mark; return the mark reached.

    ``soft`` is the limit that the place has passed, and until when it may.
    """
    mark = mark_reached(usage)
    if mark is None or usage.limit_bytes is None:
        return None
    facts = {
        "place": str(place), "percent": usage.percent, "enforced": enforced,
        "used_gb": usage.used_bytes / GB, "limit_gb": usage.limit_bytes / GB,
    }  # fmt: skip
    if soft is not None:
        facts |= {"soft_gb": soft[0] / GB, "grace_until": soft[1].date().isoformat()}
    key = f"{NoticeKind.PLACE_FILLS}/{place}/{mark}/{now:%Y-%m}"
    for person_id in answerable(session, place):
        tell(session, person_id, NoticeKind.PLACE_FILLS, key=key, facts=facts, now=now)
    return mark


def notify(
    session: Session, place: Place, kind: NoticeKind, *, plan: str, facts: dict[str, Any], now: datetime
) -> list[str]:
    """Tell the place's people of a plan, in the portal and by mail, once each; return their hub names."""
    told = answerable(session, place)
    for person_id in told:
        tell(
            session, person_id, kind, key=f"{kind}/{plan}", now=now,
            facts={"place": str(place), "plan": plan, **facts},
        )  # fmt: skip
    return sorted(people.hub_names(session, told).values())


def encoded(path: Parts) -> str:
    return "/".join(quote_from_bytes(name, safe="") for name in path)


def decoded(text: str) -> Parts:
    return tuple(unquote_to_bytes(name) for name in text.split("/") if name)


def _owner(session: Session, place: Place) -> tuple[UUID | None, UUID | None]:
    """Return the place's person or team; a scratch bears the name of either. Raises UnknownPlace."""
    person_id = None if place.kind is PlaceKind.TEAM else storage.person_of_home(session, place.name)
    team_id = None if place.kind is PlaceKind.HOME else storage.team_called(session, place.name)
    if person_id is None and team_id is None:
        raise UnknownPlace(place=str(place))
    return person_id, None if person_id else team_id
