"""Snapshots: the days that one's places were kept as they were, and files brought back from one."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Security
from pydantic import Field
from sqlalchemy.orm import Session

from nexus_allocator.api.models import Body, Word
from nexus_allocator.api.v1.asking import HUB_TOKEN, REFUSALS, Asking, Changing
from nexus_allocator.api.v1.models import DoneModel, Shown, Words
from nexus_allocator.domain.places import Place
from nexus_allocator.domain.rights import Action, Reach, does
from nexus_allocator.services import snapshot_asks
from nexus_allocator.services.snapshot_asks import PlaceSnapshots

router = APIRouter(responses=REFUSALS, dependencies=[Security(HUB_TOKEN)])


class SnapshotModel(Shown):
    """One snapshot; ``goes_on`` is the day on which it is dropped, null for one that stays."""

    name: str
    goes_on: date | None


class PlaceSnapshotsModel(Shown):
    """A place's snapshots, the latest first; ``snapshot_bytes`` is what they alone kept when looked at."""

    place: str
    snapshots: list[SnapshotModel]
    snapshot_bytes: int
    may_restore: bool
    is_restoring: bool

    @classmethod
    def of(cls, found: PlaceSnapshots) -> "PlaceSnapshotsModel":
        told = {name: getattr(found, name) for name in ("snapshot_bytes", "may_restore", "is_restoring")}
        shown = [SnapshotModel.model_validate(each) for each in found.snapshots]
        return cls(place=str(found.place), snapshots=shown, **told)


class BringBackBody(Body):
    """``path`` below the place; "." for all of it."""

    place: Word
    day: Word
    path: Annotated[Words, Field(min_length=1)]


@router.get("/snapshots", tags=["files"])
@does(Action.SNAPSHOT_SEE, over=Reach.OWN)
def own(asked: Asking) -> list[PlaceSnapshotsModel]:
    """Snapshots of one's home, and of one's teams' folders where the token is for them."""
    with asked.reading() as session:
        found = snapshot_asks.of_person(
            session, hub_name=asked.hub_name, policy=asked.policy, with_teams=asked.sees_teams
        )
    return [PlaceSnapshotsModel.of(each) for each in found]


@router.post("/snapshots/restore", tags=["files"])
@does(Action.SNAPSHOT_RESTORE)
def restore(body: BringBackBody, asked: Changing) -> DoneModel:
    """Have a file or folder brought back as it was on a day; nothing that is there is written over."""

    def act(session: Session) -> DoneModel:
        place = Place.named(body.place)
        snapshot_asks.ask(session, place, body.day, body.path, hub_name=asked.hub_name, now=asked.now)
        return DoneModel()

    return asked.once(DoneModel, act)
