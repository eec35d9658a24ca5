"""Plans of purges as people see them, and what they ask for: files back, exemptions, no more of a plan.

Nothing here touches a file: what is asked for goes to the outbox in the deciding transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.clients.files import plans
from nexus_allocator.clients.files.purge_run import PLAN
from nexus_allocator.clients.files.purge_state import State
from nexus_allocator.domain.errors import (
    NothingToRestore,
    PurgePhase,
    UnknownPlace,
    UnknownPlan,
)
from nexus_allocator.domain.outbox import Channel, PurgeCall
from nexus_allocator.domain.places import Place
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.purges import EPOCH, PURGES_IN_QUARANTINE, Parts, PurgeState, readable
from nexus_allocator.domain.records import Act
from nexus_allocator.domain.remaking import keep_micro_a_year
from nexus_allocator.domain.rights import Action
from nexus_allocator.services import place_rights, storage
from nexus_allocator.services.outbox import enqueue
from nexus_allocator.services.purge_work import RECIPE, origin_costs
from nexus_allocator.services.records import record
from nexus_allocator.services.rights import overseer, person_called, themselves
from nexus_allocator.store import outbox, people, purges
from nexus_allocator.store import storage as exemption_rows
from nexus_allocator.store.purge_tables import Purge, PurgeFolder, PurgeReport
from nexus_allocator.store.storage_tables import StorageExemption
from nexus_allocator.store.tables import Person

MOST_FILES = 200
NO_RECIPE = "# Nothing of this plan is known to be made by our pipeline.\n"


@dataclass(frozen=True)
class PurgeRow:
    """A plan as it stands; times are as known now, ``next_at`` at the earliest."""

    id: UUID
    place: str
    rule: str
    policy: str
    state: PurgeState
    files: int
    size_bytes: int
    waiting: int
    restored: int
    deleted: int
    left: int
    grace_days: int
    window_days: int
    planned_at: datetime
    announced_at: datetime | None
    quarantined_at: datetime | None
    next_at: datetime | None
    over_at: datetime | None
    cold: int
    remakable: int
    remakable_bytes: int
    remake_micro: int
    keep_micro_a_year: int
    digest: str
    log_head: str


@dataclass(frozen=True)
class FolderRow:
    """A folder in a plan with everything below it; ``path`` is percent-encoded, ``name`` for people."""

    path: str
    name: str
    files: int
    size_bytes: int
    waiting: int
    restored: int
    deleted: int


@dataclass(frozen=True)
class FileRow:
    path: str
    name: str
    size_bytes: int
    changed_at: datetime
    fate: str
    remake_micro: int | None
    keep_micro_a_year: int


@dataclass(frozen=True)
class ToldRow:
    hub_name: str
    kind: str
    at: datetime


@dataclass(frozen=True)
class PlanPage:
    """One plan at one of its folders; ``crumbs`` lead from its top to there, as path and name."""

    plan: PurgeRow
    under: str
    crumbs: list[tuple[str, str]]
    folders: list[FolderRow]
    files: list[FileRow]
    more_files: int
    waiting_here: int
    lists_files: bool
    is_restoring: bool
    may_restore: bool
    may_ask: bool
    told: list[ToldRow]


@dataclass(frozen=True)
class ExemptionRow:
    id: UUID
    place: str
    path: str
    reason: str
    made_at: datetime
    until: datetime
    asked_by: str | None
    granted_at: datetime | None
    ended_at: datetime | None
    answer: str | None


def of_person(session: Session, *, hub_name: str, with_teams: bool = True) -> list[PurgeRow]:
    """Return the plans of the places that a person may write in, the latest first."""
    person = themselves(session, hub_name, Action.PURGE_SEE)
    places = storage.places_of(session, person, with_teams=with_teams)
    return [row_of(row) for row in purges.latest(session, places)]


def every(session: Session) -> list[PurgeRow]:
    return [row_of(row) for row in purges.latest(session)]


def reports(session: Session) -> Sequence[PurgeReport]:
    """Return what the dry runs found last, the largest first."""
    return purges.reports(session)


def one(session: Session, purge_id: UUID, *, hub_name: str, action: Action = Action.PURGE_SEE) -> PurgeRow:
    """Return a plan to who may do this with it. Raises UnknownPlan, TeamRoleNeeded."""
    return row_of(_allowed(session, purge_id, hub_name, action)[0])


def plan_page(
    session: Session,
    purge_id: UUID,
    *,
    under: str,
    hub_name: str,
    records: Path | None,
    policy: Policy,
    skip: int = 0,
) -> PlanPage:
    """Return a plan as seen from one of its folders; without ``records`` no single files are named.

    Raises UnknownPlan, also of a folder that is not in it, and TeamRoleNeeded.
    """
    row, person = _allowed(session, purge_id, hub_name, Action.PURGE_SEE)
    here = storage.decoded(under)
    inside = [
        (storage.decoded(each.path), each)
        for each in purges.folders(session, row.id, below=storage.encoded(here))
    ]
    inside = [(path, each) for path, each in inside if path[: len(here)] == here]
    if here and not inside:
        raise UnknownPlan(plan=str(purge_id))
    own = next((each for path, each in inside if path == here), None)
    place = _place(row)
    return PlanPage(
        plan=row_of(row), under=storage.encoded(here), crumbs=_crumbs(here),
        folders=_folders(here, inside), files=_files(records, row.id, here, own, policy=policy, skip=skip),
        more_files=max(0, own.files - skip - MOST_FILES) if own else 0,
        waiting_here=sum(_count(each.fates, State.WAITING) for _, each in inside),
        lists_files=_list_of(records, row.id) is not None,
        is_restoring=_is_asked(session, row.id),
        may_restore=place_rights.may(session, place, person, Action.PURGE_RESTORE),
        may_ask=place_rights.may(session, place, person, Action.EXEMPTION_ASK),
        told=_told(session, row.id),
    )  # fmt: skip


def recipe_of(session: Session, purge_id: UUID, *, hub_name: str, records: Path | None) -> str:
    """Return the script that makes again what of a plan can be. Raises UnknownPlan, TeamRoleNeeded."""
    row, _ = _allowed(session, purge_id, hub_name, Action.PURGE_SEE)
    file = None if records is None else records / row.id.hex / RECIPE
    return file.read_text() if file is not None and file.is_file() else NO_RECIPE


def ask_restore(session: Session, purge_id: UUID, *, under: str, hub_name: str, now: datetime) -> PurgeRow:
    """Have what waits at or below ``under`` put back, by whoever has the volume. Asked again, it is one.

    Raises UnknownPlan, TeamRoleNeeded, NothingToRestore.
    """
    row, person = _allowed(session, purge_id, hub_name, Action.PURGE_RESTORE)
    if row.state not in (*PURGES_IN_QUARANTINE, PurgeState.COLD) or not row.waiting + row.cold:
        raise NothingToRestore()
    path = storage.encoded(storage.decoded(under))
    key = f"{PurgeCall.RESTORE}/{row.id.hex}/{row.log_head[:16]}/{path}"
    facts = {"plan": row.id.hex, "under": path}
    made = enqueue(
        session, Channel.PURGES, PurgeCall.RESTORE, key=key, facts=facts, now=now, person_id=person.id
    )
    if made is not None:
        facts = {"place": str(_place(row)), "under": path}
        record(session, Act.FILES_RESTORE_ASKED, row.id, by=person.id, now=now, after=facts)
    return row_of(row)


def ask_exemption(
    session: Session,
    place: Place,
    path: Parts,
    *,
    until: datetime,
    reason: str,
    hub_name: str,
    now: datetime,
) -> UUID:
    """Ask that no purge takes what lies at or below ``path``; until it is answered none does.

    Raises UnknownPlace, TeamRoleNeeded, BadDate, BadReason.
    """
    person = person_called(session, hub_name)
    place_rights.require(session, place, person, Action.EXEMPTION_ASK)
    return storage.exempt(
        session, place, path, until=until, reason=reason, by=person.id, asked_by=person.id, now=now
    )


def exemptions_of_person(session: Session, *, hub_name: str, with_teams: bool = True) -> list[ExemptionRow]:
    """Return what of a person's places was exempted or asked for, the latest first."""
    person = themselves(session, hub_name, Action.PURGE_SEE)
    places = storage.places_of(session, person, with_teams=with_teams)
    return _exemption_rows(session, exemption_rows.of_places(session, places))


def exemptions_to_answer(session: Session, *, now: datetime) -> list[ExemptionRow]:
    return _exemption_rows(session, exemption_rows.unanswered(session, now))


def exemptions_in_force(session: Session, *, now: datetime) -> list[ExemptionRow]:
    return _exemption_rows(session, exemption_rows.every_in_force(session, now))


def answer_exemption(
    session: Session, exemption_id: UUID, *, grant: bool, reason: str, administrator_id: UUID, now: datetime
) -> None:
    """Grant what was asked, or end it. Raises NotAllowed, UnknownExemption, BadReason."""
    actor = overseer(session, administrator_id, Action.PURGE_RUN)
    storage.answer_exemption(session, exemption_id, grant=grant, reason=reason, by=actor.id, now=now)


def ask_cancel(
    session: Session, purge_id: UUID, *, reason: str, administrator_id: UUID, now: datetime
) -> PurgeRow:
    """Have a plan ended of which nothing was taken. Raises NotAllowed, UnknownPlan, PurgePhase."""
    actor = overseer(session, administrator_id, Action.PURGE_RUN)
    row = purges.lock(session, purge_id)
    if row is None:
        raise UnknownPlan(plan=str(purge_id))
    if row.state not in (PurgeState.PLANNED, PurgeState.ANNOUNCED):
        raise PurgePhase(phase=row.state.value, must_be="planned or announced")
    enqueue(
        session, Channel.PURGES, PurgeCall.CANCEL_PURGE, key=f"{PurgeCall.CANCEL_PURGE}/{row.id.hex}",
        facts={"plan": row.id.hex, "reason": reason}, person_id=actor.id, now=now,
    )  # fmt: skip
    record(session, Act.PURGE_CANCELLED, row.id, by=actor.id, now=now, reason=reason)
    return row_of(row)


def row_of(row: Purge) -> PurgeRow:
    same = {name: getattr(row, name) for name in PurgeRow.__dataclass_fields__ if name != "place"}
    return PurgeRow(**same, place=str(_place(row)))


def _allowed(session: Session, purge_id: UUID, hub_name: str, action: Action) -> tuple[Purge, Person]:
    person, row = person_called(session, hub_name), purges.by_id(session, purge_id)
    if row is None:
        raise UnknownPlan(plan=str(purge_id))
    _require(session, _place(row), person, action)
    return row, person


def _require(session: Session, place: Place, person: Person, action: Action) -> None:
    """Raise UnknownPlan to who may not even see the place, as for none; else what says who may."""
    try:
        place_rights.require(session, place, person, action)
    except UnknownPlace as error:
        raise UnknownPlan(plan=str(place)) from error


def _is_asked(session: Session, purge_id: UUID) -> bool:
    begins = f"{Channel.PURGES}/{PurgeCall.RESTORE}/{purge_id.hex}/"
    return outbox.waiting_for(session, Channel.PURGES, PurgeCall.RESTORE, key_begins=begins) is not None


def _told(session: Session, purge_id: UUID) -> list[ToldRow]:
    rows = purges.told(session, purge_id)
    names = people.hub_names(session, [row.person_id for row in rows])
    return [ToldRow(names[row.person_id], row.kind, row.at) for row in rows]


def _crumbs(here: Parts) -> list[tuple[str, str]]:
    steps = [here[:depth] for depth in range(1, len(here) + 1)]
    return [(storage.encoded(step), readable(step[-1:])) for step in steps]


def _folders(here: Parts, inside: list[tuple[Parts, PurgeFolder]]) -> list[FolderRow]:
    """Return the folders just below ``here``, each with what lies anywhere in it."""
    depth, sums = len(here), dict[Parts, list[int]]()
    for path, each in inside:
        if len(path) == depth:
            continue
        total = sums.setdefault(path[: depth + 1], [0] * 5)
        fates = [_count(each.fates, state) for state in (State.WAITING, State.BACK, State.DELETED)]
        for number, value in enumerate((each.files, each.size_bytes, *fates)):
            total[number] += value
    return [
        FolderRow(storage.encoded(path), readable(path[-1:]), *total) for path, total in sorted(sums.items())
    ]


def _files(
    records: Path | None,
    purge_id: UUID,
    here: Parts,
    own: PurgeFolder | None,
    *,
    policy: Policy,
    skip: int,
) -> list[FileRow]:
    file = _list_of(records, purge_id)
    if records is None or file is None or own is None:
        return []
    wanted = plans.read_section(file, here, own.list_offset, files=min(own.files, skip + MOST_FILES))[skip:]
    costs = origin_costs(records, purge_id)
    found = []
    for each in wanted:
        size, remake = each.identity.size_bytes, costs.get(each.number)
        found.append(
            FileRow(
                path=storage.encoded(each.path), name=readable((each.name,)), size_bytes=size,
                changed_at=EPOCH + timedelta(microseconds=each.identity.last_use_ns // 1000),
                fate=State(int(own.fates[each.number - own.first])).name.lower(),
                remake_micro=remake[0] if remake else None,
                keep_micro_a_year=keep_micro_a_year(size, policy),
            )
        )  # fmt: skip
    return found


def _list_of(records: Path | None, purge_id: UUID) -> Path | None:
    file = None if records is None else records / purge_id.hex / PLAN
    return file if file is not None and file.is_file() else None


def _count(fates: str, state: State) -> int:
    # What is about to be deleted waits still, and what is cold can be had back as well.
    also = (State.GOING, State.STORED) if state is State.WAITING else ()
    return sum(fates.count(str(int(each))) for each in (state, *also))


def _exemption_rows(session: Session, rows: Sequence[StorageExemption]) -> list[ExemptionRow]:
    names = people.hub_names(session, [row.asked_by for row in rows if row.asked_by is not None])
    found = []
    for row in rows:
        same: dict[str, Any] = {
            name: getattr(row, name)
            for name in ("id", "reason", "made_at", "until", "granted_at", "ended_at", "answer")
        }
        place = str(Place(row.place_kind, row.place_name))
        path, asked_by = (
            readable(storage.decoded(row.path)),
            names.get(row.asked_by) if row.asked_by else None,
        )
        found.append(ExemptionRow(**same, place=place, path=path, asked_by=asked_by))
    return found


def _place(row: Purge) -> Place:
    return Place(row.place_kind, row.place_name)
