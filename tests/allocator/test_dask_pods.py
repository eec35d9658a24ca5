"""Dask clusters in Kubernetes: a small API server over real HTTP, that knows pods by their labels alone."""

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

pytest.importorskip("dask_gateway_server")
kubernetes = pytest.importorskip("kubernetes_asyncio.client")

from dask_gateway_server.models import Cluster, ClusterStatus  # noqa: E402

from nexus_allocator.gateway import kubernetes as pods  # noqa: E402
from nexus_allocator.gateway.backend import HOLD  # noqa: E402

INSTANCE = "gateway.dask.org/instance"


@dataclass
class Site:
    """An API server of Kubernetes and, beside it, the allocation service; both keep what they are asked."""

    url: str = ""
    pods: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    to_stop: list[str] = field(default_factory=list)
    page_limit: int = 2
    broken_page: int | None = None

    def runs(
        self,
        name: str,
        *,
        of: str = "one",
        component: str = "dask-worker",
        instance: str = "nexus",
        phase: str = "Running",
        node: str | None = "n1",
    ) -> None:
        labels = {pods.CLUSTER: of, pods.COMPONENT: component, INSTANCE: instance}
        self.pods.append(
            {
                "metadata": {"name": name, "namespace": "dask", "labels": labels},
                "spec": {"containers": [{"name": "worker"}], "nodeName": node},
                "status": {"phase": phase},
            }
        )

    def page(self, query: dict[str, str]) -> tuple[int, dict[str, Any]]:
        self.asked.append(query["labelSelector"])
        first = int(query.get("continue", 0))
        if self.broken_page is not None and first >= self.broken_page * self.page_limit:
            return 410, {"kind": "Status", "message": "the continue token is too old"}
        fit = [pod for pod in self.pods if fits(query["labelSelector"], pod["metadata"]["labels"])]
        last = first + min(self.page_limit, int(query["limit"]))
        following = str(last) if last < len(fit) else ""
        return 200, {"metadata": {"continue": following}, "items": fit[first:last]}


def fits(selector: str, labels: dict[str, str]) -> bool:
    wanted = [part.partition("=") for part in selector.split(",")]
    return all(name in labels and (not sign or labels[name] == value) for name, sign, value in wanted)


def handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            assert parts.path == "/api/v1/namespaces/dask/pods"
            self.answer(*site.page({name: each[0] for name, each in parse_qs(parts.query).items()}))

        def do_POST(self) -> None:
            site.reports.append(self.sent())
            self.answer(200, {"stop": site.to_stop})

        def do_PATCH(self) -> None:
            assert self.sent() == [{"op": "add", "path": "/spec/active", "value": False}]
            site.stopped.append(self.path.rpartition("/")[2])
            self.answer(200, {})

        def sent(self) -> Any:
            return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

        def answer(self, status: int, body: dict[str, Any]) -> None:
            sent = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

    return Handler


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(made))
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join(5)


def cluster(name: str, hold: str | None, status: ClusterStatus = ClusterStatus.RUNNING) -> Cluster:
    options = {HOLD: hold} if hold else {}
    return Cluster(name=f"dask.{name}", username="ada", options=options, config={}, status=status, token="")


def report(site: Site, *clusters: Cluster) -> list[dict[str, Any]]:
    """Let the gateway report once; return what it told of each cluster."""

    async def act() -> None:
        backend = pods.AdmittedKubeBackend(gateway_instance="nexus", service_url=site.url, service_token="t")
        api = kubernetes.ApiClient(kubernetes.Configuration(host=site.url))
        backend.core_client, backend.custom_client = (
            kubernetes.CoreV1Api(api),
            kubernetes.CustomObjectsApi(api),
        )
        backend.clusters = {each.name: each for each in clusters}
        async with aiohttp.ClientSession() as backend.session:
            try:
                await backend.report()
            finally:
                await api.close()

    asyncio.run(act())
    told: list[dict[str, Any]] = site.reports[-1]["clusters"]
    return told


def test_workers_are_those_with_the_labels_of_cluster_gateway_and_component(site: Site) -> None:
    for number in range(3):
        site.runs(f"dask-worker-{number}")
    site.runs("anything-at-all")
    site.runs("dask-worker-of-two", of="two")
    site.runs("dask-worker-in-name-only", component="dask-scheduler")
    site.runs("dask-worker-of-another-gateway", instance="other")
    told = report(
        site, cluster("one", "h1"), cluster("two", "h2"), cluster("three", "h3"), cluster("x", None)
    )
    assert [(each["hold_id"], each["workers"]) for each in told] == [("h1", 4), ("h2", 1), ("h3", 0)]
    assert len(site.asked) == 3, "five pods of this gateway, in pages of two"
    assert set(site.asked) == {
        f"{INSTANCE}=nexus,gateway.dask.org/cluster,app.kubernetes.io/component=dask-worker"
    }


def test_a_worker_counts_from_its_node_on_until_its_end(site: Site) -> None:
    for phase, node in (
        ("Pending", None), ("Pending", "n1"), ("Running", "n1"), ("Succeeded", "n1"), ("Failed", "n1"),
    ):  # fmt: skip
        site.runs(f"w-{phase}-{node}", phase=phase, node=node)
    assert [each["workers"] for each in report(site, cluster("one", "h1"))] == [2]


def test_a_list_that_is_not_whole_is_no_count_and_nothing_is_reported(site: Site) -> None:
    for number in range(5):
        site.runs(f"w{number}")
    site.broken_page = 1
    with pytest.raises(kubernetes.ApiException):
        report(site, cluster("one", "h1"))
    assert site.reports == []


def test_what_the_service_wants_stopped_is_made_inactive(site: Site) -> None:
    site.to_stop = ["h2"]
    told = report(
        site, cluster("one", "h1", ClusterStatus.STOPPED), cluster("two", "h2"),
        cluster("three", "h3", ClusterStatus.FAILED),
    )  # fmt: skip
    assert [each["state"] for each in told] == ["stopped", "running", "failed"]
    assert site.stopped == ["two"]
