"""Purges of files: plans, what of them waits in quarantine, files back, and exemptions."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Security
from pydantic import AwareDatetime
from sqlalchemy.orm import Session

from nexus_allocator.api.models import Body, Word
from nexus_allocator.api.v1.asking import HUB_TOKEN, REFUSALS, Asking, Changing, Unsafe
from nexus_allocator.api.v1.models import DoneModel, ReasonBody, Shown, Words
from nexus_allocator.domain.places import Place, PlaceKind
from nexus_allocator.domain.purges import PurgeState
from nexus_allocator.domain.rights import Action, Reach, does
from nexus_allocator.services import purges, storage

router = APIRouter(responses=REFUSALS, dependencies=[Security(HUB_TOKEN)])
CREATED = 201
Under = Annotated[
    str, Query(max_length=8000, description="A folder or file, each name percent-encoded; the whole without.")
]


class PurgeModel(Shown):
    """A plan. ``next_at`` is when the next step may come at the earliest; ``digest`` is of its list.

    ``remakable`` files can be made again by our pipeline for ``remake_micro``.
    """

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


class PurgeFolderModel(Shown):
    path: str
    name: str
    files: int
    size_bytes: int
    waiting: int
    restored: int
    deleted: int


class PurgeFileModel(Shown):
    path: str
    name: str
    size_bytes: int
    changed_at: datetime
    fate: str
    remake_micro: int | None
    keep_micro_a_year: int


class PurgePageModel(Shown):
    """A plan at one of its folders: folders with all that lies in them, and at most 200 of its own files."""

    plan: PurgeModel
    under: str
    folders: list[PurgeFolderModel]
    files: list[PurgeFileModel]
    more_files: int
    is_restoring: bool


class PathBody(Body):
    path: Words = ""


class ExemptionModel(Shown):
    """``granted_at`` null and not ended: it was asked for, and holds until it is answered."""

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


class ExemptionBody(Body):
    """``path`` below the place, each name percent-encoded; empty for the whole place."""

    place: Word
    path: Words = ""
    until: AwareDatetime
    reason: Words


class AnswerBody(ReasonBody):
    grant: bool


class MadeModel(Shown):
    id: UUID


class PurgeReportModel(Shown):
    rule: str
    policy: str
    place_kind: PlaceKind
    place_name: str
    files: int
    size_bytes: int
    made_at: datetime


@router.get("/purges", tags=["files"])
@does(Action.PURGE_SEE, over=Reach.OWN)
def own(asked: Asking) -> list[PurgeModel]:
    """Plans of one's places, and of one's teams' where the token is for them, the latest first."""
    with asked.reading() as session:
        rows = purges.of_person(session, hub_name=asked.hub_name, with_teams=asked.sees_teams)
    return [PurgeModel.model_validate(row) for row in rows]


@router.get("/purges/{purge_id}", tags=["files"])
@does(Action.PURGE_SEE)
def one(
    purge_id: UUID,
    asked: Asking,
    under: Under = "",
    skip: Annotated[int, Query(ge=0, le=10**9)] = 0,
) -> PurgePageModel:
    """A plan as seen from one of its folders."""
    with asked.reading() as session:
        found = purges.plan_page(
            session, purge_id, under=under, hub_name=asked.hub_name, records=asked.here.purge_records,
            policy=asked.policy, skip=skip,
        )  # fmt: skip
    return PurgePageModel.model_validate(found)


@router.post("/purges/{purge_id}/restore", tags=["files"])
@does(Action.PURGE_RESTORE)
def restore(purge_id: UUID, body: PathBody, asked: Changing) -> PurgeModel:
    """Have what waits at or below a path put back; everything of the plan without one."""

    def act(session: Session) -> purges.PurgeRow:
        return purges.ask_restore(session, purge_id, under=body.path, hub_name=asked.hub_name, now=asked.now)

    return _plan(asked, act)


@router.get("/exemptions", tags=["files"])
@does(Action.PURGE_SEE, over=Reach.OWN)
def exemptions(asked: Asking) -> list[ExemptionModel]:
    """What of one's places no purge takes, the latest first."""
    with asked.reading() as session:
        rows = purges.exemptions_of_person(session, hub_name=asked.hub_name, with_teams=asked.sees_teams)
    return [ExemptionModel.model_validate(row) for row in rows]


@router.post("/exemptions", tags=["files"], status_code=CREATED)
@does(Action.EXEMPTION_ASK)
def exempt(body: ExemptionBody, asked: Changing) -> MadeModel:
    """Ask that no purge takes something; until it is answered none does."""

    def act(session: Session) -> MadeModel:
        made = purges.ask_exemption(
            session, Place.named(body.place), storage.decoded(body.path), until=body.until,
            reason=body.reason, hub_name=asked.hub_name, now=asked.now,
        )  # fmt: skip
        return MadeModel(id=made)

    return asked.once(MadeModel, act)


@router.get("/admin/purges", tags=["admin"])
@does(Action.PURGE_RUN)
def every(asked: Asking) -> list[PurgeModel]:
    """The last five hundred plans, the latest first."""
    with asked.reading() as session:
        return [PurgeModel.model_validate(row) for row in purges.every(session)]


@router.get("/admin/purges/reports", tags=["admin"])
@does(Action.PURGE_RUN)
def reports(asked: Asking) -> list[PurgeReportModel]:
    """What each rule would take, by the last dry runs, the largest first."""
    with asked.reading() as session:
        return [PurgeReportModel.model_validate(row) for row in purges.reports(session)]


@router.post("/admin/purges/{purge_id}/cancel", tags=["admin"])
@does(Action.PURGE_RUN)
def cancel(purge_id: UUID, body: ReasonBody, asked: Changing) -> PurgeModel:
    """Have a plan ended of which nothing was taken yet."""

    def act(session: Session) -> purges.PurgeRow:
        return purges.ask_cancel(
            session, purge_id, reason=body.reason, administrator_id=asked.person_id, now=asked.now
        )

    return _plan(asked, act)


@router.get("/admin/exemptions", tags=["admin"])
@does(Action.PURGE_RUN)
def to_answer(asked: Asking) -> list[ExemptionModel]:
    """Exemptions that wait for an answer, the oldest first."""
    with asked.reading() as session:
        rows = purges.exemptions_to_answer(session, now=asked.now)
    return [ExemptionModel.model_validate(row) for row in rows]


@router.post("/admin/exemptions/{exemption_id}/answer", tags=["admin"])
@does(Action.PURGE_RUN)
def answer(exemption_id: UUID, body: AnswerBody, asked: Changing) -> DoneModel:
    """Grant what was asked, or end an exemption; the person is told."""

    def act(session: Session) -> DoneModel:
        purges.answer_exemption(
            session, exemption_id, grant=body.grant, reason=body.reason,
            administrator_id=asked.person_id, now=asked.now,
        )  # fmt: skip
        return DoneModel()

    return asked.once(DoneModel, act)


def _plan(asked: Unsafe, act: Callable[[Session], purges.PurgeRow]) -> PurgeModel:
    return asked.once(PurgeModel, lambda session: PurgeModel.model_validate(act(session)))
