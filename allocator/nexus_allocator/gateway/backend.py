"""What dask-gateway loads: the allocation service admits each cluster, is told of it, and has it stopped.

A mixin, to stand before one of dask-gateway's own backends. Asking is async, in `process_cluster_options`:
the handler of `Options` is synchronous, and runs whenever somebody only looks at the options.
"""

import asyncio
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import aiohttp
from dask_gateway_server.backends.base import PublicException
from dask_gateway_server.backends.db_base import JobStatus
from dask_gateway_server.backends.local import LocalBackend
from dask_gateway_server.models import ClusterStatus
from dask_gateway_server.options import Float, Integer, Options, String
from traitlets import Float as FloatTrait
from traitlets import Unicode
from traitlets.config import LoggingConfigurable

HOLD = "nexus_hold"
GIB = 1024**3
DEADLINE_S = 5.0
AWAY = "The allocation service does not answer, so no cluster was started and nothing was charged."
STATES = {ClusterStatus.STOPPED: "stopped", ClusterStatus.FAILED: "failed"}

if TYPE_CHECKING:
    Backend: Any = None
else:
    # Not Backend itself, which a concrete backend brings along.
    Backend = LoggingConfigurable


def nexus_options(*, most_workers: int = 256, most_cores: int = 16, most_memory_gib: int = 64) -> Options:
    """Return the options of a cluster; what of them an account may have, the service says."""
    return Options(
        String("account", label="Who pays"),
        Float("hours", default=1, min=0.25, max=24, label="Planned hours"),
        Integer("workers", default=2, min=1, max=most_workers, label="Most workers"),
        Integer("worker_cores", default=1, min=1, max=most_cores, label="Cores of a worker"),
        Float("worker_memory_gib", default=4, min=1, max=most_memory_gib, label="GiB of a worker"),
        handler=configuration,
    )


def configuration(options: Any) -> dict[str, Any]:
    """Turn options into the cluster's configuration; asks nobody and keeps nothing."""
    return {
        "worker_cores": options.worker_cores,
        "worker_memory": int(options.worker_memory_gib * GIB),
        "cluster_max_workers": options.workers,
    }


class AdmittedClusters(Backend):  # type: ignore[misc]
    """The hold's id stands among a cluster's options, so it outlives the gateway in its database."""

    service_url = Unicode(config=True, help="The allocation service, up to and with /api/gateway.")
    service_token = Unicode(config=True, help="The token that hub and gateway show to the service.")
    report_interval = FloatTrait(15.0, config=True, help="Seconds between two reports of all clusters.")

    reporting: "asyncio.Task[None] | None" = None

    async def setup(self, app: Any) -> None:
        await super().setup(app)
        self.reporting = asyncio.ensure_future(self.report_for_ever())

    async def cleanup(self) -> None:
        if self.reporting is not None:
            self.reporting.cancel()
        await super().cleanup()

    # -- asking

    async def process_cluster_options(self, user: Any, request: Any) -> tuple[dict[str, Any], Any]:
        """Place the hold for the cluster at its largest, or tell the person why not."""
        options, config = await super().process_cluster_options(user, request)
        status, answer = await self.ask("clusters", self.wish(user.name, options, config))
        if status != 201:
            # One line: it leaves as the reason of an HTTP status.
            raise PublicException(" ".join(str(answer.get("message", AWAY)).split()))
        self.log.info("Cluster of %s admitted under hold %s", user.name, answer["hold_id"])
        config.environment = {**config.environment, "NEXUS_HOLD_ID": answer["hold_id"]}
        return {**options, "account": answer["account"], HOLD: answer["hold_id"]}, config

    def wish(self, name: str, options: dict[str, Any], config: Any) -> dict[str, Any]:
        return {
            "hub_name": name,
            "account": options.get("account") or name,
            "hours": options.get("hours"),
            "workers": config.cluster_max_workers,
            "worker_cpu": config.worker_cores,
            "worker_memory_bytes": config.worker_memory,
            "scheduler_cpu": config.scheduler_cores,
            "scheduler_memory_bytes": config.scheduler_memory,
        }

    # -- reporting

    async def report_for_ever(self) -> None:
        while True:
            try:
                await self.report()
            except Exception:
                # A task's edge: the next report says it all again.
                self.log.exception("Clusters could not be reported")
            await asyncio.sleep(self.report_interval)

    async def report(self) -> None:
        """Tell of all clusters, and stop those whose hold is over or whose stop was asked for."""
        clusters = {cluster.options[HOLD]: cluster for cluster in self.known_clusters()}
        workers = await self.count_workers(list(clusters.values()))
        told = [
            {
                "hold_id": hold,
                "name": cluster.name,
                "state": STATES.get(self.status_of(cluster), "running"),
                "workers": workers[cluster.name],
            }
            for hold, cluster in clusters.items()
        ]
        status, answer = await self.ask("report", {"clusters": told})
        if status != 200:
            self.log.warning("The allocation service took no report (%s)", status)
            return
        for hold in answer["stop"]:
            self.log.info("Stopping cluster %s: its hold is over", clusters[hold].name)
            await self.stop_cluster(clusters[hold].name)

    def known_clusters(self) -> Iterator[Any]:
        """Yield the admitted clusters in the gateway's database, which forgets ended ones after a while."""
        for cluster in list(self.db.name_to_cluster.values()):
            if HOLD in cluster.options:
                yield cluster

    def status_of(self, cluster: Any) -> ClusterStatus:
        return cluster.model_status

    async def count_workers(self, clusters: list[Any]) -> Mapping[str, int]:
        """Return by each cluster's name how many of its workers live."""
        return {cluster.name: sum(map(is_reserved, cluster.workers.values())) for cluster in clusters}

    async def ask(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return status and answer; 503 and nothing when the service does not answer in time."""
        headers = {"Authorization": f"Bearer {self.service_token}"}
        limit = aiohttp.ClientTimeout(total=DEADLINE_S)
        url = f"{self.service_url}/{path}"
        try:
            async with self.session.post(url, json=body, headers=headers, timeout=limit) as answer:
                return answer.status, await answer.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            self.log.warning("The allocation service does not answer: %r", error)
            return 503, {}


def is_reserved(worker: Any) -> bool:
    """Whether a worker has been asked of the machine and is not gone: that is what is charged."""
    return bool(JobStatus.SUBMITTED <= worker.status < JobStatus.STOPPED)


class AdmittedLocalBackend(AdmittedClusters, LocalBackend):  # type: ignore[misc]
    """Clusters as processes of this machine, each with its person's identity."""
