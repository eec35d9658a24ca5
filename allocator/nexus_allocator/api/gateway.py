"""The routes that dask-gateway asks: may this cluster start, and here are all that there are."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field

from nexus_allocator.api.context import Here
from nexus_allocator.api.models import Body, RefusalModel, Word
from nexus_allocator.domain.clusters import ClusterShape
from nexus_allocator.domain.rights import Action, does
from nexus_allocator.services import clusters

REFUSALS: dict[int | str, dict[str, object]] = {
    status: {"model": RefusalModel} for status in (401, 402, 403, 404, 409, 422, 429)
}
MOST_BYTES = 2**50

router = APIRouter(prefix="/api/gateway", tags=["gateway"], responses=REFUSALS)
Count = Annotated[int, Field(ge=1, le=100_000)]
Memory = Annotated[int, Field(ge=1, le=MOST_BYTES)]


class ClusterBody(Body):
    hub_name: Word
    account: Word
    hours: Any
    workers: Count
    worker_cpu: Count
    worker_memory_bytes: Memory
    scheduler_cpu: Count
    scheduler_memory_bytes: Memory

    def launch(self) -> clusters.ClusterLaunch:
        shape = ClusterShape(
            workers=self.workers,
            worker_cpu=self.worker_cpu,
            worker_memory_bytes=self.worker_memory_bytes,
            scheduler_cpu=self.scheduler_cpu,
            scheduler_memory_bytes=self.scheduler_memory_bytes,
        )
        return clusters.ClusterLaunch(self.hub_name, self.account, self.hours, shape)


class ClusterModel(BaseModel):
    hold_id: UUID
    account: str
    until: datetime
    amount_micro: int


class ReportedBody(Body):
    hold_id: UUID
    name: Word
    state: clusters.ClusterState
    workers: Annotated[int, Field(ge=0, le=100_000)]


class ReportBody(Body):
    clusters: list[ReportedBody] = Field(max_length=100_000)


class SweepModel(BaseModel):
    """The clusters to stop, by their holds."""

    stop: list[UUID]


@router.post("/clusters", status_code=201)
@does(Action.CLUSTER_ADMIT)
def admit(body: ClusterBody, here: Here) -> ClusterModel:
    with here.database.session_scope() as session:
        admitted = clusters.admit(
            session, body.launch(), policy=here.policy, grace_minutes=here.grace_minutes, now=here.clock()
        )
    return ClusterModel(**vars(admitted))


@router.post("/report")
@does(Action.CLUSTER_REPORT)
def report(body: ReportBody, here: Here) -> SweepModel:
    """Take the whole list of clusters; what is missing from it has ended."""
    reports = [clusters.ClusterReport(**each.model_dump()) for each in body.clusters]
    return SweepModel(stop=clusters.report(here.database, reports, terms=here.metering, now=here.clock()))
