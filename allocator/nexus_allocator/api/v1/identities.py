"""Who somebody is, for administrators: another name, two people who are one, erasure with its plan."""

import random
from collections.abc import Callable, Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Security
from pydantic import BeforeValidator, Field
from sqlalchemy.orm import Session

from nexus_allocator.api.models import Body, Word
from nexus_allocator.api.v1.asking import HUB_TOKEN, REFUSALS, Asking, Changing, Model, Unsafe
from nexus_allocator.api.v1.models import DoneModel, PersonRowModel, Shown, Words
from nexus_allocator.domain.rights import Action, does
from nexus_allocator.services import erasure, identities, listings

router = APIRouter(
    prefix="/admin/people/{hub_name}", responses=REFUSALS, dependencies=[Security(HUB_TOKEN)], tags=["admin"]
)
# A pseudonym says nothing of whom it stands for.
PSEUDONYMS = random.SystemRandom()


class IdentityBody(Body):
    """What is null stays as it is."""

    to: Word | None = None
    email: Word | None = None
    reason: Words


class MergeBody(Body):
    gone: Word = Field(description="Who is this person from now on: a hub name.")
    reason: Words


class MergedModel(Shown):
    """What went over: rows by table and column, credits; ``home`` is the folder whose files nobody moved."""

    moved: dict[str, int]
    moved_micro: int
    home: str | None


class CountModel(Shown):
    what: str
    count: int


def counted(rows: Sequence[tuple[str, int]]) -> list[CountModel]:
    return [CountModel(what=what, count=count) for what, count in rows]


class ErasePlanModel(Shown):
    """What goes, what stays and names the person, and what nobody here can reach."""

    hub_name: str
    erased: Annotated[list[CountModel], BeforeValidator(counted)]
    kept: Annotated[list[CountModel], BeforeValidator(counted)]
    teams: list[str]
    leads: list[str]
    left_micro: int
    home: str | None
    servers: int
    elsewhere: list[str]


class EraseBody(Body):
    name: Word = Field(description="The hub name again.")
    reason: Words


@router.post("/identity")
@does(Action.PERSON_CHANGE)
def change(hub_name: Word, body: IdentityBody, asked: Changing) -> PersonRowModel:
    """Give somebody another hub name, or another e-mail address until their next sign-in tells one."""

    def act(session: Session, actor: UUID) -> PersonRowModel:
        words = body.model_dump()
        person = identities.change(session, hub_name=hub_name, **words, actor=actor, now=asked.now)
        session.flush()
        found = listings.person(session, policy=asked.policy, hub_name=person.hub_name)
        return PersonRowModel.model_validate(found)

    return _once(asked, PersonRowModel, act, Action.PERSON_CHANGE, to=(hub_name,))


@router.post("/merge")
@does(Action.PERSON_MERGE)
def merge(hub_name: Word, body: MergeBody, asked: Changing) -> MergedModel:
    """Let two people be one: seats, requests, past servers and what is left of the credits go over."""

    def act(session: Session, actor: UUID) -> MergedModel:
        words = body.model_dump()
        done = identities.merge(session, keep=hub_name, **words, actor=actor, now=asked.now)
        return MergedModel.model_validate(done)

    return _once(asked, MergedModel, act, Action.PERSON_MERGE, to=(hub_name, body.gone))


@router.get("/erasure")
@does(Action.PERSON_ERASE)
def erasure_plan(hub_name: Word, asked: Asking) -> ErasePlanModel:
    """What an erasure of personal data would do; nothing is changed."""
    with asked.reading() as session:
        return ErasePlanModel.model_validate(erasure.plan(session, hub_name=hub_name))


@router.post("/erase")
@does(Action.PERSON_ERASE)
def erase(hub_name: Word, body: EraseBody, asked: Changing) -> DoneModel:
    """Put a pseudonym in the place of a person, for good; `name` is the hub name again."""

    def act(session: Session, actor: UUID) -> DoneModel:
        erasure.erase(
            session, hub_name=hub_name, typed=body.name, reason=body.reason, actor=actor, rng=PSEUDONYMS,
            now=asked.now,
        )  # fmt: skip
        return DoneModel()

    return _once(asked, DoneModel, act, Action.PERSON_ERASE, to=(hub_name,))


def _once(
    asked: Unsafe,
    model: type[Model],
    act: Callable[[Session, UUID], Model],
    action: Action,
    *,
    to: tuple[str, ...],
) -> Model:
    """Do it once as an administrator, who can't do it to themselves."""

    def whole(session: Session) -> Model:
        return act(session, identities.acting_on(session, asked.person_id, action, *to))

    return asked.once(model, whole)
