"""Many people launch on a real control plane whose nodes kwok plays: latencies, processor time, memory.

Run it as ``python -m tests.bench.cluster 250 500 1000``: the crowd grows to each of these sizes, four or so a
second. Everybody signs in by OIDC through the proxy, launches by the form, watches the launch's progress as a
browser does, and then holds a websocket; a third never read theirs nor close it. Who is told to come again
does, as often as it takes within five minutes. One stand-in of JupyterLab answers for all. Hub and allocation
service have their databases in one PostgreSQL, which does not flush to disk; everything, the crowd included,
shares this machine.
"""

import argparse
import asyncio
import json
import re
import resource
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import psutil
from tests.support import cluster_tools
from tests.support.cluster_hub import FOR_NOTEBOOKS, PODS, prepare, running_cluster_hub
from tests.support.control_plane import ControlPlane, running_control_plane
from tests.support.hub import PLAIN, SMALL, HubUnderTest, Visitor, people_file
from tests.support.postgres import private_postgres, programs
from tornado.websocket import WebSocketClientConnection, websocket_connect

A_SECOND = 4.2
AT_ONCE = 256
LONGEST_S = 300.0
COME_AGAIN = {429: "too many at once", 503: "something is away"}
# Of the launch page, where it is neither the agreement nor says that the service is away.
CHOICES, AGREEMENT = "Who pays?", 'name="agreement_version"'
WHO = "Who are you?"
TOO_MANY = f"429 {COME_AGAIN[429]}"
# Small servers of two cores each.
NODE_CPU, EACH_NODE = 64, 32
METRICS_TOKEN = "metrics-token-of-the-bench"
NAME = re.compile(r"person-\d+")
BUCKET = re.compile(r'nexus_admission_seconds_bucket\{le="([^"]+)"\} ([\d.e+]+)')


@dataclass
class Seen:
    """What the people of one crowd met, in seconds; ``failed`` says how."""

    sign_in_s: list[float] = field(default_factory=list)
    launch_s: list[float] = field(default_factory=list)
    told_to_wait: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)


class Sockets:
    """Websockets through the proxy, held open in a thread of their own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.held: list[WebSocketClientConnection] = []
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def hold(self, url: str, *, read: bool) -> None:
        asyncio.run_coroutine_threadsafe(self._hold(url, read=read), self.loop).result(60)

    def open(self) -> int:
        # What the other side ended says so by an empty message, which nobody waits for: the stream knows.
        return sum(socket.protocol is not None and not socket.protocol.is_closing() for socket in self.held)

    async def _hold(self, url: str, *, read: bool) -> None:
        socket = await websocket_connect(url)
        self.held.append(socket)
        await socket.write_message("are you there?")
        if read:
            await socket.read_message()


@dataclass
class Guest:
    """One person of the crowd, at a browser: who is told to come again does, until ``deadline``."""

    name: str
    person: Visitor
    seen: Seen
    deadline: float = field(default_factory=lambda: time.monotonic() + LONGEST_S)

    def wait(self, why: str, seconds: float) -> None:
        self.seen.told_to_wait[why] += 1
        if time.monotonic() + seconds > self.deadline:
            raise RuntimeError(f"waited {LONGEST_S:.0f} s in all, last for: {why}")
        time.sleep(seconds)

    def patient(self, ask: Callable[[], httpx.Response]) -> httpx.Response:
        """Return the first answer that is not "come again"."""
        while (page := ask()).status_code in COME_AGAIN:
            self.wait(f"{page.status_code} {COME_AGAIN[page.status_code]}", pause_of(page))
        return page.raise_for_status()

    def sign_in(self) -> httpx.Response:
        """Return the launch page."""
        page = self.patient(self.enter)
        while CHOICES not in page.text:
            if AGREEMENT in page.text:
                page = self.patient(lambda page=page: self.person.press_accept(page))
                continue
            self.wait("a launch page without choices", 2)
            page = self.patient(lambda: self.person.get("/hub/spawn"))
        return page

    def enter(self) -> httpx.Response:
        page = self.patient(self.person.go_to_provider)
        # The provider asks once; who comes again is led back at once.
        return self.person.choose_person(page, self.name) if WHO in page.text else page

    def launch(self, form: httpx.Response) -> None:
        """Press the button until the hub takes it, and follow the progress until the server is ready."""
        options = {**SMALL, "account": self.name}
        self.patient(lambda: self.person.launch_by_form(options, form))
        while not self.is_ready():
            # Nothing to see: either it went wrong and the page says so, or the person presses again.
            self.wait("a launch that came to nothing", 2)
            page = self.patient(lambda: self.person.get("/hub/spawn"))
            if CHOICES in page.text:
                self.patient(lambda page=page: self.person.launch_by_form(options, page))

    def is_ready(self) -> bool:
        """Follow the progress until the server is ready; return False where the hub knows of no launch."""
        progress, query = f"/hub/api/users/{self.name}/server/progress", {"_xsrf": self.person.xsrf()}
        stream = self.person.http.stream("GET", self.person.url + progress, params=query, timeout=LONGEST_S)
        with stream as events:
            if events.status_code == httpx.codes.BAD_REQUEST:
                return False
            events.raise_for_status()
            for line in events.iter_lines():
                told = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
                if told.get("ready"):
                    return True
                if told.get("failed") and "Try again" in told["message"]:
                    return False
                if told.get("failed"):
                    raise RuntimeError(told["message"])
        raise RuntimeError("the progress ended without a server")


def pause_of(page: httpx.Response) -> float:
    return float(page.headers.get("Retry-After", 5))


def come(hub: HubUnderTest, sockets: Sockets, number: int, seen: Seen) -> None:
    """Sign in, launch and stay; writes what was met into ``seen``."""
    name = f"person-{number:04}"
    try:
        guest = Guest(name, Visitor(hub.url), seen)
        began = time.monotonic()
        page = guest.sign_in()
        seen.sign_in_s.append(time.monotonic() - began)
        began = time.monotonic()
        guest.launch(page)
        seen.launch_s.append(time.monotonic() - began)
        sockets.hold(f"{hub.url.replace('http', 'ws')}/user/{name}/echo", read=number % 3 != 0)
    except Exception as error:
        # A person's edge: the crowd goes on without them.
        seen.failed.append(NAME.sub("NAME", " ".join(str(error).split())[:160]) or repr(error))


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
    answer = PLAIN.get(
        url, headers={"Authorization": f"Bearer {METRICS_TOKEN}"}, timeout=60
    ).raise_for_status()
    return {float(bound): float(number) for bound, number in BUCKET.findall(answer.text)}


def bound_of(counts: dict[float, float], share: float) -> float:
    return next(bound for bound in sorted(counts) if counts[bound] >= share * max(counts.values()))


def show(size: int, seen: Seen, whole_s: float, admitted: dict[float, float]) -> None:
    asked = max(admitted.values())
    print(f"\n{size} people: {len(seen.launch_s)} more servers in {whole_s:.0f} s, {len(seen.failed)} failed")
    if asked:
        p50, p99 = bound_of(admitted, 0.5), bound_of(admitted, 0.99)
        print(f"  admission p50 <= {p50:g} s   p99 <= {p99:g} s   {asked:.0f} asked for")
    for what, seconds in (("sign-in", seen.sign_in_s), ("launch", seen.launch_s)):
        if seconds:
            p50, p99 = np.quantile(seconds, [0.5, 0.99])
            print(f"  {what:8} p50 {p50:6.2f} s   p99 {p99:6.2f} s   longest {max(seconds):6.2f} s")
    print(f"  told to come again: {seen.told_to_wait[TOO_MANY]} times with 429")
    for why, number in (seen.told_to_wait - Counter({TOO_MANY: seen.told_to_wait[TOO_MANY]})).most_common():
        print(f"  told to come again: {number} times with {why}")
    for how, number in Counter(seen.failed).most_common():
        print(f"  failed: {number} with {how}")


def show_processes(
    before: dict[str, tuple[float, float]], after: dict[str, tuple[float, float]], launches: int
) -> None:
    print(f"  {'':24} {'CPU s':>8} {'ms/launch':>10} {'MiB':>7}")
    each_ms = 1000 / max(launches, 1)
    used = {name: cpu - before[name][0] for name, (cpu, _) in after.items()}
    memory = {name: each for name, (_, each) in after.items()}
    used, memory = used | {"all": sum(used.values())}, memory | {"all": sum(memory.values())}
    for name in used:
        print(f"  {name:24} {used[name]:8.1f} {each_ms * used[name]:10.0f} {memory[name]:7.0f}")


def main(sizes: list[int]) -> None:
    # A thousand websockets on either side of the proxy.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65536)), hard))
    tools, server = cluster_tools.built(), programs()
    if tools is None or server is None:
        raise SystemExit(cluster_tools.LACKING if tools is None else "PostgreSQL is not here.")
    with (
        tempfile.TemporaryDirectory(prefix="nexus-bench-") as folder,
        private_postgres(server) as database,
        running_control_plane(tools) as plane,
    ):
        people = people_file(Path(folder), [person(number) for number in range(max(sizes))])
        prepare(plane)
        for number in range(1 + max(sizes) // EACH_NODE):
            plane.node(f"notebooks-{number}", cpu=NODE_CPU, memory_gib=8 * NODE_CPU, **FOR_NOTEBOOKS)
        service = {
            "NEXUS_DATABASE_URL": database.url(database.new_database()),
            "NEXUS_METRICS_TOKEN": METRICS_TOKEN,
            "NEXUS_METERING_INTERVAL_S": "60",
            "NEXUS_HOLD_START_TIMEOUT_S": "900",
        }
        own = {"HUB_DATABASE_URL": database.url(database.new_database())}
        # As KubeSpawner and z2jh have it.
        changes = {"NEXUS_PEOPLE_FILE": str(people), "NEXUS_POLL_INTERVAL_S": "30"}
        with running_cluster_hub(plane, service, for_hub=own, **changes) as hub:
            grow(plane, hub, sizes)


def person(number: int) -> dict[str, object]:
    name = f"person-{number:04}"
    about = {"preferred_username": name, "name": name, "email": f"{name}@example.org", "groups": []}
    return {"subject": name, **about, "about": "one of many"}


def grow(plane: ControlPlane, hub: HubUnderTest, sizes: list[int]) -> None:
    sockets, here, in_all_s, servers = Sockets(), 0, 0.0, 0
    for size in sizes:
        before, admitted = spent(plane, hub), admissions(hub)
        seen, whole_s = crowd(hub, sockets, range(here, size))
        here, in_all_s, servers = size, in_all_s + whole_s, servers + len(seen.launch_s)
        show(size, seen, whole_s, {b: n - admitted.get(b, 0.0) for b, n in admissions(hub).items()})
        show_processes(before, spent(plane, hub), len(seen.launch_s))
        pods = Counter(each["status"].get("phase") for each in plane.items(PODS))
        print(f"  pods: {dict(pods)}   websockets open: {sockets.open()} of {servers}")
    print(f"\n{servers} of {here} people have servers, {in_all_s:.0f} s after the first came")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=[250, 500, 1000])
    main(parser.parse_args().sizes)
