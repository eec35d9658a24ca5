"""Many people launch on a real control plane whose nodes kwok plays: latencies, processor time, memory.

Run it as ``python -m tests.bench.cluster 250 500 1000``: the crowd grows to each of these sizes, four or so a
second. Everybody signs in by OIDC through the proxy, launches by the form, watches the launch's progress as a
browser does, and then holds a websocket; a third never read theirs. One JupyterLab answers for all. The
allocation service has PostgreSQL, the hub SQLite; everything, the crowd included, shares this machine.
"""

import argparse
import asyncio
import json
import re
import resource
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from tests.support import cluster_tools
from tests.support.cluster_hub import FOR_NOTEBOOKS, prepare, running_cluster_hub
from tests.support.control_plane import ControlPlane, running_control_plane
from tests.support.hub import PLAIN, SMALL, HubUnderTest, Visitor, people_file
from tests.support.postgres import private_postgres, programs
from tornado.websocket import WebSocketClientConnection, websocket_connect

A_SECOND = 4.2
AT_ONCE = 256
LONGEST_S = 300.0
# Small servers of two cores each.
NODE_CPU, EACH_NODE = 64, 32
METRICS_TOKEN = "metrics-token-of-the-bench"
BUCKET = re.compile(r'nexus_admission_seconds_bucket\{le="([^"]+)"\} ([\d.e+]+)')


@dataclass
class Seen:
    """What the people of one crowd met, in seconds; ``failed`` says how."""

    sign_in_s: list[float] = field(default_factory=list)
    launch_s: list[float] = field(default_factory=list)
    retries: int = 0
    reloads: int = 0
    failed: list[str] = field(default_factory=list)


class Sockets:
    """Websockets through the proxy, held open in a thread of their own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.held: list[WebSocketClientConnection] = []
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def hold(self, url: str, *, read: bool) -> None:
        asyncio.run_coroutine_threadsafe(self._hold(url, read=read), self.loop).result(60)

    async def _hold(self, url: str, *, read: bool) -> None:
        socket = await websocket_connect(url)
        self.held.append(socket)
        await socket.write_message("are you there?")
        if read:
            await socket.read_message()


def come(hub: HubUnderTest, sockets: Sockets, number: int, seen: Seen) -> None:
    """Sign in, launch and stay; writes what was met into ``seen``."""
    name = f"person-{number:04}"
    try:
        began = time.monotonic()
        person = hub.sign_in(name)
        seen.sign_in_s.append(time.monotonic() - began)
        began = time.monotonic()
        launch(person, name, seen)
        seen.launch_s.append(time.monotonic() - began)
        sockets.hold(f"{hub.url.replace('http', 'ws')}/user/{name}/echo", read=number % 3 != 0)
    except Exception as error:
        # A person's edge: the crowd goes on without them.
        seen.failed.append(f"{name}: {error!r}"[:300])


def launch(person: Visitor, name: str, seen: Seen) -> None:
    """Press the button until the hub takes it, and follow the progress until the server is ready."""
    while (page := person.launch_by_form({**SMALL, "account": name})).status_code == 429:
        seen.retries += 1
        time.sleep(float(page.headers.get("Retry-After", 2)))
    page.raise_for_status()
    deadline = time.monotonic() + LONGEST_S
    while not is_ready(person, f"{person.url}/hub/api/users/{name}/server/progress"):
        # The hub leads people to the progress before it calls their launch pending: they load the page again.
        seen.reloads += 1
        if time.monotonic() > deadline:
            raise RuntimeError("the launch was never pending")
        time.sleep(1)


def is_ready(person: Visitor, progress: str) -> bool:
    """Follow the progress until the server is ready; return False where the hub knows of no launch yet."""
    with person.http.stream("GET", progress, params={"_xsrf": person.xsrf()}, timeout=LONGEST_S) as events:
        if events.status_code == 400:
            return False
        events.raise_for_status()
        for line in events.iter_lines():
            told = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
            if told.get("ready"):
                return True
            if told.get("failed"):
                raise RuntimeError(told.get("message"))
    raise RuntimeError("the progress ended without a server")


def crowd(hub: HubUnderTest, sockets: Sockets, numbers: range) -> tuple[Seen, float]:
    """Let the people come at even distances, whether or not those before have their servers."""
    seen, began = Seen(), time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for place, number in enumerate(numbers):
            time.sleep(max(0.0, began + place / A_SECOND - time.monotonic()))
            pool.submit(come, hub, sockets, number, seen)
    return seen, time.monotonic() - began


def spent(plane: ControlPlane, hub: HubUnderTest) -> dict[str, tuple[float, float]]:
    """Return seconds of CPU and MiB of memory of each process."""
    named = {name: child.process for name, child in {**plane.children, **hub.children}.items()}
    figures = {name: usage([psutil.Process(process.pid)]) for name, process in named.items() if process}
    own = psutil.Process()
    figures["PostgreSQL"] = usage(
        [each for each in own.children(recursive=True) if each.name() == "postgres"]
    )
    figures["the crowd"] = usage([own])
    return figures


def usage(processes: list[psutil.Process]) -> tuple[float, float]:
    cpu, memory = 0.0, 0.0
    for process in processes:
        try:
            times, told = process.cpu_times(), process.memory_full_info()
        except psutil.NoSuchProcess:
            continue
        # What is shared is counted once: PostgreSQL's processes share their buffers.
        cpu, memory = cpu + times.user + times.system, memory + told.pss / 2**20
    return cpu, memory


def admissions(hub: HubUnderTest) -> dict[float, float]:
    """Return for each bound of seconds how many admissions took no longer, so far."""
    url = f"{hub.settings.service_url}/services/nexus/api/metrics"
    answer = PLAIN.get(url, headers={"Authorization": f"Bearer {METRICS_TOKEN}"}).raise_for_status()
    return {float(bound): float(number) for bound, number in BUCKET.findall(answer.text)}


def bound_of(before: dict[float, float], after: dict[float, float], share: float) -> float:
    counts = {bound: after[bound] - before.get(bound, 0.0) for bound in after}
    return next(bound for bound in sorted(counts) if counts[bound] >= share * max(counts.values()))


def show(size: int, seen: Seen, whole_s: float, admitted: tuple[float, float]) -> None:
    served = f"{len(seen.launch_s)} more servers in {whole_s:.0f} s, {len(seen.failed)} failed"
    print(f"\n{size} people: {served}, {seen.retries} answers 429, {seen.reloads} pages loaded again")
    print(f"  admission p50 <= {admitted[0]:g} s   p99 <= {admitted[1]:g} s")
    for what, seconds in (("sign-in", seen.sign_in_s), ("launch", seen.launch_s)):
        p50, p99 = np.quantile(seconds, [0.5, 0.99])
        print(f"  {what:8} p50 {p50:6.2f} s   p99 {p99:6.2f} s   longest {max(seconds):6.2f} s")
    for line in seen.failed[:5]:
        print("  failed:", line)


def show_processes(
    before: dict[str, tuple[float, float]], after: dict[str, tuple[float, float]], launches: int
) -> None:
    print(f"  {'':24} {'CPU s':>8} {'ms/launch':>10} {'MiB':>7}")
    for name, (cpu, memory) in after.items():
        used = cpu - before[name][0]
        print(f"  {name:24} {used:8.1f} {1000 * used / launches:10.0f} {memory:7.0f}")


def main(sizes: list[int]) -> None:
    # A thousand websockets on either side of the proxy.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65536)), hard))
    tools, server = cluster_tools.built(), programs()
    if tools is None or server is None:
        raise SystemExit(cluster_tools.LACKING if tools is None else "PostgreSQL is not here.")
    folder = Path(tempfile.mkdtemp(prefix="nexus-bench-"))
    people = people_file(folder, [person(number) for number in range(max(sizes))])
    with private_postgres(server) as database, running_control_plane(tools) as plane:
        prepare(plane)
        for number in range(1 + max(sizes) // EACH_NODE):
            plane.node(f"notebooks-{number}", cpu=NODE_CPU, memory_gib=8 * NODE_CPU, **FOR_NOTEBOOKS)
        service = {
            "NEXUS_DATABASE_URL": database.url(database.new_database()),
            "NEXUS_METRICS_TOKEN": METRICS_TOKEN,
            "NEXUS_METERING_INTERVAL_S": "60",
            "NEXUS_HOLD_START_TIMEOUT_S": "900",
        }
        with running_cluster_hub(plane, service, NEXUS_PEOPLE_FILE=str(people)) as hub:
            grow(plane, hub, sizes)


def person(number: int) -> dict[str, object]:
    name = f"person-{number:04}"
    about = {"preferred_username": name, "name": name, "email": f"{name}@example.org", "groups": []}
    return {"subject": name, **about, "about": "one of many"}


def grow(plane: ControlPlane, hub: HubUnderTest, sizes: list[int]) -> None:
    sockets, here = Sockets(), 0
    for size in sizes:
        before, admitted = spent(plane, hub), admissions(hub)
        seen, whole_s = crowd(hub, sockets, range(here, size))
        here, after = size, admissions(hub)
        show(size, seen, whole_s, (bound_of(admitted, after, 0.5), bound_of(admitted, after, 0.99)))
        show_processes(before, spent(plane, hub), len(seen.launch_s))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=[250, 500, 1000])
    main(parser.parse_args().sizes)
