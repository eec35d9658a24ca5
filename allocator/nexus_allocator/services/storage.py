"""What a purge asks of the platform: whose a place is, who works there, what is exempt; telling people."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.errors import BadDate, BadReason, UnknownExemption, UnknownPlace
from nexus_allocator.domain.places import Place, PlaceKind, Usage, mark_reached
from nexus_allocator.domain.purges import Exemption, Parts, readable
from nexus_allocator.domain.records import Act
from nexus_allocator.domain.states import NoticeKind
from nexus_allocator.services.notices import tell
from nexus_allocator.services.records import record
from nexus_allocator.store import accounts, holds, people, purges, storage, teams
from nexus_allocator.store.storage_tables import StorageExemption
from nexus_allocator.store.tables import Person

LONGEST_REASON = 500
GB = 10**9

# Who still needs it then asks again; a date centuries ahead is a slip of the pen.
LONGEST_EXEMPTION = timedelta(days=3653)


def answerable(session: Session, place: Place) -> Sequence[UUID]:
    """Return who is told of a place: its person, or who leads and manages its team. Raises UnknownPlace."""
    person_id, team_id = owner(session, place)
    return [person_id] if person_id else teams.leading(session, team_id) if team_id else []


def writers(session: Session, place: Place) -> Sequence[UUID]:
    """Return everybody who may write in a place: its person, or its team. Raises UnknownPlace."""
    person_id, team_id = owner(session, place)
    if team_id is None:
        return [person_id] if person_id else []
    return [person.id for person, _ in teams.members(session, team_id)]


def is_busy(session: Session, place: Place) -> bool:
    """Say whether anybody who may write there has a live server: what it holds open nobody sees."""
    return any(holds.open_of_person(session, writer) for writer in writers(session, place))


def exempt(
    session: Session,
    place: Place,
    path: Parts,
    *,
    until: datetime,
    reason: str,
    by: UUID | str,
    now: datetime,
    asked_by: UUID | None = None,
) -> UUID:
    """Keep what lies at or below ``path`` from every purge until ``until``; what a person asked for, until
    it is answered. Raises BadDate, BadReason.
    """
    owner(session, place)
    if not now < until <= now + LONGEST_EXEMPTION:
        raise BadDate(date=f"{until:%Y-%m-%d}", must_be="in the future and within ten years")
    text = _reason(reason)
    row = StorageExemption(
        place_kind=place.kind,
        place_name=place.name,
        path=encoded(path),
        reason=text,
        made_at=now,
        until=until,
        asked_by=asked_by,
        granted_at=None if asked_by else now,
    )
    storage.add(session, row)
    facts = {"place": str(place), "path": row.path, "until": until}
    act = Act.EXEMPTION_ASKED if asked_by else Act.FILES_EXEMPTED
    record(session, act, row.id, by=by, now=now, reason=text, after=facts)
    return row.id


def exemption(session: Session, exemption_id: UUID) -> tuple[Place, Exemption]:
    """Return an exemption and where it is. Raises UnknownExemption."""
    row = storage.exemption(session, exemption_id)
    if row is None:
        raise UnknownExemption(exemption=str(exemption_id))
    return Place(row.place_kind, row.place_name), Exemption(decoded(row.path), row.until, row.reason)


def end_exemption(session: Session, exemption_id: UUID, *, by: UUID | str, now: datetime) -> None:
    """End an exemption before its date. Raises UnknownExemption."""
    row = storage.exemption(session, exemption_id)
    if row is None or row.ended_at is not None or row.until <= now:
        raise UnknownExemption(exemption=str(exemption_id))
    row.ended_at = now
    record(session, Act.EXEMPTION_ENDED, row.id, by=by, now=now)


def answer_exemption(
    session: Session, exemption_id: UUID, *, grant: bool, reason: str, by: UUID | str, now: datetime
) -> None:
    """Grant what a person asked, or end it, and tell them. Raises UnknownExemption, BadReason."""
    row, text = storage.exemption(session, exemption_id), _reason(reason)
    if row is None or row.ended_at is not None or row.until <= now or (grant and row.granted_at is not None):
        raise UnknownExemption(exemption=str(exemption_id))
    row.answer = text
    if grant:
        row.granted_at = now
    else:
        row.ended_at = now
    act = Act.EXEMPTION_GRANTED if grant else Act.EXEMPTION_ENDED
    record(session, act, row.id, by=by, now=now, reason=text, person_id=row.asked_by)
    if row.asked_by is not None:
        place = str(Place(row.place_kind, row.place_name))
        facts = {"place": place, "path": readable(decoded(row.path)), "until": f"{row.until:%Y-%m-%d}",
                 "is_granted": grant, "reason": text}  # fmt: skip
        kind = NoticeKind.EXEMPTION_ANSWERED
        tell(session, row.asked_by, kind, key=f"{kind}/{row.id}/{grant}", facts=facts, now=now)


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
    session: Session,
    place: Place,
    kind: NoticeKind,
    *,
    plan: str,
    once: str,
    facts: dict[str, Any],
    now: datetime,
    everybody: bool = False,
) -> list[str]:
    """Tell the place's people of a plan, in the portal and by mail, each once for ``once``; return their hub
    names. ``everybody`` are all of a team, not only who leads it.
    """
    told = writers(session, place) if everybody else answerable(session, place)
    for person_id in told:
        tell(
            session, person_id, kind, key=f"{kind}/{once}", now=now,
            facts={"place": str(place), "plan": plan, **facts},
        )  # fmt: skip
    purges.note_told(session, UUID(plan), told, kind, now=now)
    return sorted(people.hub_names(session, told).values())


def _reason(reason: str) -> str:
    text = reason.strip()
    if not 0 < len(text) <= LONGEST_REASON:
        raise BadReason(min=1, max=LONGEST_REASON)
    return text


def encoded(path: Parts) -> str:
    return "/".join(quote_from_bytes(name, safe="") for name in path)


def decoded(text: str) -> Parts:
    return tuple(unquote_to_bytes(name) for name in text.split("/") if name)


def account_slug(session: Session, place: Place) -> str:
    """Return the slug of the account that a place belongs to. Raises UnknownPlace."""
    person_id, team_id = owner(session, place)
    if person_id is None:
        assert team_id is not None  # noqa: S101 - one of both
        return teams.account_of(session, team_id).slug
    account = accounts.of_person(session, person_id)
    return account.slug if account is not None else place.name


def places_of(session: Session, person: Person, *, with_teams: bool = True) -> list[Place]:
    """Return the places that a person may write in: home, scratch, and those of their teams."""
    home = storage.home_of(session, person.id)
    found = [Place(kind, home) for kind in (PlaceKind.HOME, PlaceKind.SCRATCH) if home is not None]
    for team in accounts.teams_of(session, person.id) if with_teams else ():
        found += [Place(PlaceKind.TEAM, team.slug), Place(PlaceKind.SCRATCH, team.slug)]
    return found


def owner(session: Session, place: Place) -> tuple[UUID | None, UUID | None]:
    """Return the place's person or team; a scratch bears the name of either. Raises UnknownPlace."""
    person_id = None if place.kind is PlaceKind.TEAM else storage.person_of_home(session, place.name)
    team_id = None if place.kind is PlaceKind.HOME else storage.team_called(session, place.name)
    if person_id is None and team_id is None:
        raise UnknownPlace(place=str(place))
    return person_id, None if person_id else team_id
