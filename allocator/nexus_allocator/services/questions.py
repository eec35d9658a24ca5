"""What-if questions of administrators: asked on a page, answered by a process of its own, kept for all."""

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy.orm import Session

from nexus_allocator.domain.care import QuestionState
from nexus_allocator.domain.errors import BadChanges, QuestionRunning, UnknownQuestion
from nexus_allocator.domain.records import Act
from nexus_allocator.domain.rights import Action
from nexus_allocator.policy import load_policy
from nexus_allocator.policy.changes import BadChange, changing
from nexus_allocator.services.records import record
from nexus_allocator.services.rights import overseer
from nexus_allocator.services.whatif.compare import Comparison
from nexus_allocator.services.whatif.worker import read_answer
from nexus_allocator.store import people, questions
from nexus_allocator.store.care_tables import Question

log = logging.getLogger(__name__)

MOST_CHANGES, LONGEST_CHANGE = 40, 120
MOST_PEOPLE = 10_000
# A process that is silent for so long has ended with the service that started it.
SILENT = timedelta(minutes=2)
LONGEST_S = 600
WORKER = (sys.executable, "-m", "nexus_allocator.services.whatif.worker")

Scope = Callable[[], AbstractContextManager[Session]]


@dataclass(frozen=True)
class Asked:
    """A question as it stands; ``problem`` says why there will be no answer."""

    id: UUID
    by: str
    at: datetime
    changes: tuple[str, ...]
    state: QuestionState
    percent: int
    answer: Comparison | None
    problem: str | None


def ask(
    session: Session,
    *,
    administrator_id: UUID,
    changes: Sequence[str],
    tiers_file: Path | None,
    now: datetime,
) -> UUID:
    """Keep a question whose changes make a valid policy, while no other is being answered.

    Raises NotAllowed, BadChanges, QuestionRunning.
    """
    actor = overseer(session, administrator_id, Action.WHAT_IF)
    require_sense(changes, tiers_file)
    if questions.running(session, since=now - SILENT):
        raise QuestionRunning()
    row = Question(
        asked_by=actor.id, asked_at=now, changes=list(changes), state=QuestionState.RUNNING, percent=0,
        heard_at=now,
    )  # fmt: skip
    questions.add(session, row)
    record(session, Act.WHAT_IF_ASKED, row.id, by=actor.id, after={"changes": list(changes)}, now=now)
    return row.id


def require_sense(changes: Sequence[str], tiers_file: Path | None) -> None:
    """Raise BadChanges unless they make another valid policy."""
    if not changes or len(changes) > MOST_CHANGES or any(len(each) > LONGEST_CHANGE for each in changes):
        raise BadChanges(problem=f"give 1 to {MOST_CHANGES} changes of at most {LONGEST_CHANGE} characters")
    try:
        load_policy(tiers_file, change=changing(changes))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadChanges(problem=f"{place} {first['msg']}".strip()) from error
    except (BadChange, ArithmeticError, TypeError, RecursionError) as error:
        raise BadChanges(problem=str(error)[:300]) from error


def answer_in_background(
    scope: Scope,
    question_id: UUID,
    changes: Sequence[str],
    *,
    tiers_file: Path | None,
    people: int,
    clock: Callable[[], datetime],
) -> threading.Thread:
    """Start the process that answers, and a thread that writes down what it says."""
    asked = {"changes": list(changes), "people": people, "papers": people // 10,
             "tiers_file": str(tiers_file) if tiers_file else None}  # fmt: skip
    thread = threading.Thread(
        target=_listen, args=(scope, question_id, asked, clock), name="what-if", daemon=True
    )
    thread.start()
    return thread


def _listen(scope: Scope, question_id: UUID, asked: dict[str, Any], clock: Callable[[], datetime]) -> None:
    try:
        problem = _hear(scope, question_id, asked, clock)
    except Exception:
        # A thread's edge: without this the page would wait for an answer that never comes.
        log.exception("a what-if question was not answered")
        problem = "The fault is ours and has been recorded."
    if problem:
        with scope() as session:
            _keep(session, question_id, state=QuestionState.FAILED, problem=problem, now=clock())


def _hear(
    scope: Scope, question_id: UUID, asked: dict[str, Any], clock: Callable[[], datetime]
) -> str | None:
    """Write down what the process says; return what went wrong, None when it answered."""
    with subprocess.Popen(WORKER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        limit = threading.Timer(LONGEST_S, process.kill)
        limit.start()
        assert process.stdin is not None  # noqa: S101 - asked for above
        assert process.stdout is not None  # noqa: S101
        process.stdin.write(json.dumps(asked))
        process.stdin.close()
        answered = False
        for line in process.stdout:
            told = json.loads(line)
            answered |= "answer" in told
            with scope() as session:
                _hear_one(session, question_id, told, now=clock())
        limit.cancel()
    return None if answered else f"The process that computed it ended with {process.returncode}."


def _hear_one(session: Session, question_id: UUID, told: dict[str, Any], *, now: datetime) -> None:
    if "answer" in told:
        _keep(session, question_id, state=QuestionState.ANSWERED, percent=100, answer=told["answer"], now=now)
    else:
        _keep(session, question_id, percent=told["percent"], now=now)


def _keep(session: Session, question_id: UUID, *, now: datetime, **values: object) -> None:
    row = _row(session, question_id)
    for name, value in values.items():
        setattr(row, name, value)
    row.heard_at = now


def one(session: Session, question_id: UUID, *, now: datetime) -> Asked:
    """Return a question. Raises UnknownQuestion."""
    return _asked(session, _row(session, question_id), now=now)


def latest(
    session: Session, *, now: datetime, before: tuple[datetime, UUID] | None = None, limit: int = 20
) -> list[Asked]:
    """Return the last questions, or the last before one; the latest first."""
    rows = questions.latest(session, before=before, limit=limit)
    return [_asked(session, row, now=now) for row in rows]


def _row(session: Session, question_id: UUID) -> Question:
    row = questions.by_id(session, question_id)
    if row is None:
        raise UnknownQuestion()
    return row


def _asked(session: Session, row: Question, *, now: datetime) -> Asked:
    names = people.hub_names(session, [row.asked_by])
    state, problem = row.state, row.problem
    if state is QuestionState.RUNNING and row.heard_at <= now - SILENT:
        state, problem = QuestionState.FAILED, "The service was restarted before it was answered; ask again."
    return Asked(
        id=row.id, by=names.get(row.asked_by, ""), at=row.asked_at, changes=tuple(row.changes), state=state,
        percent=row.percent, answer=read_answer(row.answer) if row.answer else None, problem=problem,
    )  # fmt: skip
