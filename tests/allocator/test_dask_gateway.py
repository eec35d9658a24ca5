"""The real dask-gateway-server with its local backend asks, reports to and obeys the real service."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.allocator import INTERNAL_TOKEN, World, running_service, service_environment
from tests.support.postgres import free_port

from nexus_allocator.domain.clusters import CLUSTER
from nexus_allocator.domain.states import HoldState
from nexus_allocator.services import stops
from nexus_allocator.store import clusters, holds
from nexus_allocator.store.schema import upgrade
from nexus_allocator.store.session import Database
from nexus_allocator.store.tables import Hold

pytest.importorskip("dask_gateway_server")

CONFIG = """
import sys
from dask_gateway_server.backends.local import UnsafeLocalBackend
from nexus_allocator.gateway.backend import AdmittedClusters, nexus_options

class Backend(AdmittedClusters, UnsafeLocalBackend):
    pass

dask = [sys.executable, "-m", "dask"]
c.DaskGateway.backend_class = Backend
c.DaskGateway.address = "127.0.0.1:{private}"
c.Proxy.address = c.Proxy.tcp_address = "127.0.0.1:{public}"
c.Backend.service_url = "{service}"
c.Backend.service_token = "{token}"
c.Backend.report_interval = 0.5
c.Backend.cluster_options = nexus_options()
c.Backend.clusters_directory = "{folder}"
c.Backend.sigint_timeout = 3
c.ClusterConfig.scheduler_cmd = [*dask, "scheduler"]
c.ClusterConfig.worker_cmd = [*dask, "worker"]
"""
WISH = {"account": "survey", "hours": 1, "workers": 2, "worker_cores": 1, "worker_memory_gib": 2}


@dataclass
class Gateway:
    """The gateway through its own proxy, as the astronomer, and the service's database beside it."""

    http: httpx.Client
    database: Database
    log: Path

    def options(self) -> Any:
        return self.http.get("/api/v1/options").json()["cluster_options"]

    def start(self, **changes: Any) -> httpx.Response:
        return self.http.post("/api/v1/clusters/", json={"cluster_options": WISH | changes})

    def status(self, name: str) -> str:
        return str(self.http.get(f"/api/v1/clusters/{name}").json()["status"])

    def until(self, condition: Callable[[], Any], what: str, timeout_s: float = 60) -> Any:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if answer := condition():
                return answer
            time.sleep(0.2)
        raise AssertionError(f"{what}: not within {timeout_s} s\n{self.log.read_text()[-4000:]}")

    def open_holds(self) -> list[Hold]:
        with self.database.reading_scope() as session:
            return [hold for hold in holds.every_open(session) if hold.size == CLUSTER]

    def workers(self, hold: Hold) -> int:
        with self.database.reading_scope() as session:
            return clusters.of_hold(session, hold.id).workers

    def hold(self, hold: Hold) -> Hold:
        with self.database.reading_scope() as session:
            found = holds.by_id(session, hold.id)
            assert found is not None
            return found

    def settled(self, hold: Hold) -> Hold:
        return self.until(
            lambda: (h := self.hold(hold)).state == HoldState.SETTLED and h, "the cluster settled"
        )


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    database = Database(f"sqlite:///{folder}/allocator.sqlite")
    upgrade(database)
    world = World(database)
    world.astronomer()
    world.team("survey", "astronomer")
    environment = service_environment(str(database.url), f"http://127.0.0.1:{free_port()}/hub/api")
    with running_service(environment, folder / "service.log") as base:
        service = base.removesuffix("/hub") + "/gateway"
        with (
            running_gateway(folder, service) as address,
            httpx.Client(base_url=address, auth=("astronomer", "any"), timeout=60) as http,
        ):
            yield Gateway(http, database, folder / "gateway.log")
    database.dispose()


@contextmanager
def running_gateway(folder: Path, service: str) -> Iterator[str]:
    ports = {"private": free_port(), "public": free_port()}
    # Not below pytest's folder, whose path is too long for some sockets.
    with tempfile.TemporaryDirectory(prefix="dask-") as work:
        config = folder / "config.py"
        config.write_text(CONFIG.format(service=service, token=INTERNAL_TOKEN, folder=work, **ports))
        command = [sys.executable, "-m", "dask_gateway_server", "-f", str(config)]
        with (folder / "gateway.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ})
        try:
            address = f"http://127.0.0.1:{ports['public']}"
            deadline = time.monotonic() + 60
            while not answers(f"{address}/api/health"):
                assert process.poll() is None, (folder / "gateway.log").read_text()
                assert time.monotonic() < deadline, (folder / "gateway.log").read_text()
                time.sleep(0.2)
            yield address
        finally:
            process.terminate()
            process.wait(60)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def test_looking_at_the_options_asks_nobody_and_holds_nothing(gateway: Gateway) -> None:
    assert [option["field"] for option in gateway.options()] == list(WISH)
    assert gateway.open_holds() == []


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ({"account": "nobody-s"}, "There is no account nobody-s that you may charge."),
        ({"account": ""}, "astronomer may have 0 Dask cores at once and has 0"),
        ({"workers": 100, "worker_cores": 8}, "survey may have 512 Dask cores at once"),
        ({"hours": 0.3}, "Planned hours must be a number from 0.25 to 24 in steps of 0.25"),
        ({"workers": 0}, "workers must be >= 1"),
    ],
)
def test_a_refusal_is_told_as_the_service_words_it(gateway: Gateway, wish: dict[str, Any], told: str) -> None:
    answer = gateway.start(**wish)
    assert answer.status_code == 422
    assert told in answer.json()["error"]
    assert gateway.open_holds() == []


def test_a_cluster_is_held_for_metered_by_its_workers_and_stopped_when_its_stop_is_asked_for(
    gateway: Gateway,
) -> None:
    name = gateway.start().json()["name"]
    (hold,) = gateway.open_holds()
    # 70 minutes of a scheduler of 1 core and 2 GiB and two workers of the same.
    assert hold.amount_micro == -(-3 * 62_500 * 70 // 60)
    gateway.until(lambda: gateway.status(name) == "RUNNING", "running")
    # More than were held for: the gateway itself keeps to the most.
    assert gateway.http.post(f"/api/v1/clusters/{name}/scale", json={"count": 5}).status_code == 200
    gateway.until(lambda: gateway.workers(hold) == 2, "two workers reported")
    before, began = gateway.hold(hold).usage_micro, time.monotonic()
    time.sleep(3)
    grown, lasted = gateway.hold(hold).usage_micro - before, time.monotonic() - began
    # All three at 0.0625 credits an hour, give or take the reports' half second at either end.
    assert abs(grown - 3 * 62_500 * lasted / 3600) < 3 * 62_500 * 1.2 / 3600
    stop_by_an_administrator(gateway, hold)
    settled = gateway.settled(hold)
    assert (settled.stop_reason, settled.stop_actor) == ("administrator", "admin")
    assert 0 < settled.posted_micro == settled.usage_micro < settled.amount_micro
    assert gateway.status(name) == "STOPPED"


def stop_by_an_administrator(gateway: Gateway, hold: Hold) -> None:

    with gateway.database.session_scope() as session:
        stops.record_intent(
            session,
            hub_name="astronomer",
            server_name=hold.server_name,
            reason="administrator",
            actor="admin",
            now=datetime.now(UTC),
        )


def test_a_cluster_that_its_person_closes_gives_the_rest_back(gateway: Gateway) -> None:
    name = gateway.start(workers=1).json()["name"]
    (hold,) = gateway.open_holds()
    gateway.until(lambda: gateway.hold(hold).state == HoldState.RUNNING, "reported")
    assert gateway.http.delete(f"/api/v1/clusters/{name}").status_code == 204
    assert gateway.settled(hold).stop_reason == "own-hand"
    assert gateway.open_holds() == []
