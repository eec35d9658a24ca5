"""Places: what they hold and cost, scratch to ask for; for administrators all of them. Sizes are bytes."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Security
from pydantic import Field
from sqlalchemy.orm import Session

from nexus_allocator.api.models import Body, CredentialsModel, Word
from nexus_allocator.api.v1.asking import HUB_TOKEN, REFUSALS, Asking, Changing
from nexus_allocator.api.v1.models import DoneModel, Shown, Words
from nexus_allocator.domain.places import Place, PlaceKind
from nexus_allocator.domain.quotas import Filling
from nexus_allocator.domain.rights import Action, Reach, does
from nexus_allocator.services import object_access, places, scratch, storage_reading
from nexus_allocator.services.rights import overseer
from nexus_allocator.services.storage_reading import PlaceReading

router = APIRouter(responses=REFUSALS, dependencies=[Security(HUB_TOKEN)])
LARGEST_GB = 10**6


class PlaceModel(Shown):
    """A place as last looked at; ``month_micro`` is what 30 days like this cost."""

    kind: PlaceKind
    name: str
    account: str
    volume: str | None
    enforced: bool
    looked_at: datetime | None
    used_bytes: int
    quarantined_bytes: int
    snapshot_bytes: int
    hard_bytes: int | None
    soft_bytes: int | None
    filling: Filling
    grace_ends_at: datetime | None
    ends_at: datetime | None
    ended_at: datetime | None
    month_micro: int
    paid_micro: int
    grown_bytes: int
    parts: dict[str, Any]

    @classmethod
    def of(cls, reading: PlaceReading) -> "PlaceModel":
        told = {name: getattr(reading, name) for name in cls.model_fields if name not in ("kind", "name")}
        return cls(kind=reading.place.kind, name=reading.place.name, **told)


class EverythingModel(Shown):
    """Sums over all places, and the largest of those that match."""

    total: int
    used_bytes: int
    quarantined_bytes: int
    grown_bytes: int
    month_micro: int
    places: list[PlaceModel]


class WishBody(Body):
    account: Annotated[str, Field(max_length=64)]
    size_gb: Annotated[float, Field(gt=0, le=LARGEST_GB, allow_inf_nan=False)]
    days: Annotated[int, Field(ge=1, le=3660)]


class OfferModel(Shown):
    """What a scratch is and costs at most: full from its first day to its last."""

    size_bytes: int
    days: int
    ends_at: datetime
    cost_micro: int
    available_micro: int


class SizeBody(Body):
    place: Annotated[str, Field(max_length=64)]
    size_gb: Annotated[float, Field(gt=0, le=LARGEST_GB, allow_inf_nan=False)]
    reason: Words


@router.get("/storage", tags=["storage"])
@does(Action.STORAGE_SEE, over=Reach.OWN)
def mine(asked: Asking) -> list[PlaceModel]:
    """The places one reaches: one's own and one's teams', without what they are made of."""
    with asked.reading() as session:
        found = storage_reading.mine(session, hub_name=asked.hub_name, policy=asked.policy, now=asked.now)
    return [PlaceModel.of(each) for each in found]


@router.get("/accounts/{slug}/storage", tags=["storage"])
@does(Action.STORAGE_SEE)
def of_account(slug: str, asked: Asking) -> list[PlaceModel]:
    """An account's places, with their heaviest folders, types and ages of files."""
    with asked.reading() as session:
        found = storage_reading.of_account(
            session, slug, hub_name=asked.hub_name, policy=asked.policy, now=asked.now
        )
    return [PlaceModel.of(each) for each in found.places]


@router.post("/accounts/{slug}/credentials", tags=["storage"])
@does(Action.STORE_OPEN)
def credentials(slug: Word, asked: Asking) -> CredentialsModel:
    """Half an hour's credentials for the account's prefix of the object store; to read alone in its grace."""
    with asked.reading() as session:
        access = object_access.of_person(session, slug, hub_name=asked.hub_name, now=asked.now)
    return CredentialsModel.of(object_access.credentials(asked.here.store, access))


@router.post("/storage/scratch/cost", tags=["storage"])
@does(Action.SCRATCH_TAKE)
def cost(body: WishBody, asked: Asking) -> OfferModel:
    """What a scratch would cost; nothing is changed."""
    with asked.reading() as session:
        offer = scratch.offer(
            session, scratch.Wish(**body.model_dump()), hub_name=asked.hub_name, policy=asked.policy,
            now=asked.now,
        )  # fmt: skip
    return OfferModel.model_validate(offer)


@router.post("/storage/scratch", tags=["storage"])
@does(Action.SCRATCH_TAKE)
def take(body: WishBody, asked: Changing) -> OfferModel:
    """Take a scratch, or renew the one that the account has."""

    def act(session: Session) -> OfferModel:
        wish = scratch.Wish(**body.model_dump())
        made = scratch.take(session, wish, hub_name=asked.hub_name, policy=asked.policy, now=asked.now)
        return OfferModel.model_validate(made)

    return asked.once(OfferModel, act)


@router.get("/admin/storage", tags=["admin"])
@does(Action.STORAGE_OVERSEE, over=Reach.ANY)
def everything(
    asked: Asking,
    q: Annotated[str, Query(max_length=100)] = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> EverythingModel:
    """All places, the largest first, and their growth in 30 days."""
    with asked.reading() as session:
        found = storage_reading.everything(session, policy=asked.policy, query=q, limit=limit, now=asked.now)
    sums = {name: getattr(found, name) for name in EverythingModel.model_fields if name != "places"}
    return EverythingModel(**sums, places=[PlaceModel.of(each) for each in found.rows])


@router.post("/admin/storage/size", tags=["admin"])
@does(Action.STORAGE_SIZE, over=Reach.ANY)
def set_size(body: SizeBody, asked: Changing) -> DoneModel:
    """Give a place another size than its tier's, until the next award."""

    def act(session: Session) -> DoneModel:
        actor = overseer(session, asked.person_id, Action.STORAGE_SIZE)
        places.set_size(
            session, Place.named(body.place), round(body.size_gb * 10**9), policy=asked.policy,
            reason=body.reason, by=actor.id, now=asked.now,
        )  # fmt: skip
        return DoneModel()

    return asked.once(DoneModel, act)
