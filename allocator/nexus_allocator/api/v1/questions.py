"""What-if questions of administrators: changes of the policy, and what a year would be like with them."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Security
from pydantic import Field
from sqlalchemy.orm import Session

from nexus_allocator.api.models import Body
from nexus_allocator.api.v1.asking import HUB_TOKEN, REFUSALS, Asking, Changing
from nexus_allocator.api.v1.models import Shown, Words
from nexus_allocator.api.v1.own import ACCEPTED
from nexus_allocator.api.v1.pages import Cursor, Limit, Page, after, moment_and_id, page
from nexus_allocator.domain.care import QuestionState
from nexus_allocator.domain.rights import Action, does
from nexus_allocator.services import questions

router = APIRouter(
    prefix="/admin/what-if", responses=REFUSALS, dependencies=[Security(HUB_TOKEN)], tags=["admin"]
)


class FigureModel(Shown):
    name: str
    unit: str
    now: float
    changed: float


class MonthsModel(Shown):
    """One figure of each month, with the policy in force and with the changes."""

    name: str
    unit: str
    now: list[float]
    changed: list[float]


class AnswerModel(Shown):
    figures: list[FigureModel]
    tiers: list[FigureModel]
    months: list[MonthsModel]
    assumptions: list[str]


class QuestionModel(Shown):
    """``answer`` is null while it is computed, and where ``problem`` says why there will be none."""

    id: UUID
    by: str
    at: datetime
    changes: list[str]
    state: QuestionState
    percent: int
    problem: str | None
    answer: AnswerModel | None


class QuestionBody(Body):
    """Changes such as `tiers.entry.credits=x0.5`; a tenth as many papers as people."""

    changes: list[Words] = Field(max_length=questions.MOST_CHANGES)
    people: Annotated[int, Field(ge=10, le=questions.MOST_PEOPLE)] = questions.MOST_PEOPLE


@router.get("")
@does(Action.WHAT_IF)
def asked_before(asked: Asking, cursor: Cursor = None, limit: Limit = 20) -> Page[QuestionModel]:
    """What was asked, the latest first."""
    with asked.reading() as session:
        rows = questions.latest(session, now=asked.now, before=moment_and_id(after(cursor)), limit=limit + 1)
    return page(rows, limit, model=QuestionModel, key=lambda row: (row.at.isoformat(), str(row.id)))


@router.get("/{question_id}")
@does(Action.WHAT_IF)
def question(question_id: UUID, asked: Asking) -> QuestionModel:
    """One question, how far its answer is, and the answer."""
    with asked.reading() as session:
        return QuestionModel.model_validate(questions.one(session, question_id, now=asked.now))


@router.post("", status_code=ACCEPTED)
@does(Action.WHAT_IF)
def ask(body: QuestionBody, asked: Changing) -> QuestionModel:
    """Ask; the answer is computed meanwhile, in about ten seconds for 10,000 people."""
    here, new = asked.asked.here, list[UUID]()

    def act(session: Session) -> QuestionModel:
        made = questions.ask(
            session, administrator_id=asked.person_id, changes=body.changes, tiers_file=here.tiers_file,
            now=asked.now,
        )  # fmt: skip
        new.append(made)
        return QuestionModel.model_validate(questions.one(session, made, now=asked.now))

    found = asked.once(QuestionModel, act)
    for question_id in new:
        questions.answer_in_background(
            here.database.session_scope, question_id, body.changes, tiers_file=here.tiers_file,
            people=body.people, clock=here.clock,
        )  # fmt: skip
    return found
