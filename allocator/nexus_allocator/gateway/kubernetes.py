"""Dask clusters as pods: workers are counted by the labels that the gateway's controller gives them.

Never by their names, which say nothing that anybody promised. What the API server does not answer whole is no
count: then no report is sent, and the next one tells all of it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from dask_gateway_server.backends.kubernetes.backend import KubeBackend
from dask_gateway_server.models import ClusterStatus

from nexus_allocator.gateway.backend import HOLD, AdmittedClusters

CLUSTER, COMPONENT = "gateway.dask.org/cluster", "app.kubernetes.io/component"
PAGE = 500
# A pod that waits for a node reserves nothing yet; one that is being deleted still does.
RESERVING = ("Pending", "Running")


class AdmittedKubeBackend(AdmittedClusters, KubeBackend):  # type: ignore[misc]
    """Clusters as objects of Kubernetes, that a controller of dask-gateway's turns into pods."""

    def known_clusters(self) -> Iterator[Any]:
        for cluster in list(self.clusters.values()):
            if HOLD in cluster.options:
                yield cluster

    def status_of(self, cluster: Any) -> ClusterStatus:
        return cluster.status

    async def count_workers(self, clusters: list[Any]) -> Mapping[str, int]:
        """As of the local backend, by the pods of each namespace in which a cluster is."""
        counted: Counter[str] = Counter()
        for namespace in sorted({cluster.name.partition(".")[0] for cluster in clusters}):
            async for pod in self.worker_pods(namespace):
                if pod.spec.node_name and pod.status.phase in RESERVING:
                    counted[f"{namespace}.{pod.metadata.labels[CLUSTER]}"] += 1
        return counted

    async def worker_pods(self, namespace: str) -> Any:
        """Yield the pods of the namespace that are workers of this gateway, page by page."""
        wanted = {"label_selector": f"{self.label_selector},{CLUSTER},{COMPONENT}=dask-worker", "limit": PAGE}
        while True:
            page = await self.core_client.list_namespaced_pod(namespace, **wanted)
            for pod in page.items:
                yield pod
            if not page.metadata._continue:
                return
            wanted["_continue"] = page.metadata._continue
