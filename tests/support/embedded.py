"""The one-machine Nexus under its own parent, with everything real; killed and looked into from outside."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from tests.support.hub import PLAIN, HubUnderTest, until
from tests.support.nexus import READY
from tests.support.ports import own_ports

from nexus_allocator.embedded.children import PidFile
from nexus_allocator.embedded.settings import read_settings
from nexus_allocator.embedded.state import Secrets
from nexus_allocator.embedded.surroundings import notebook_servers


@dataclass
class Embedded(HubUnderTest):
    """Children: hub, allocation-service, sign-in-provider, proxy, idle-culler."""

    process: subprocess.Popen[bytes] | None = None
    ups: int = 0

    @property
    def said(self) -> str:
        return (self.settings.state.parent / f"up-{self.ups}.log").read_text(errors="replace")

    def up(self, *, wait: bool = True) -> None:
        self.ups += 1
        with (self.settings.state.parent / f"up-{self.ups}.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "nexus_allocator.embedded", "up"],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if wait:
            self.wait_until_up()

    def wait_until_up(self, timeout_s: float = 240) -> float:
        found = until(lambda: self.ended() or READY.search(self.said), "ready", timeout_s)
        assert not isinstance(found, bool), self.said
        return float(found.group(1))

    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "nexus_allocator.embedded", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def child_pid(self, name: str) -> int | None:
        return PidFile(self.settings.folder("run") / f"{name}.json").living_pid()

    def kill_child(self, name: str) -> None:
        pid = self.child_pid(name)
        assert pid is not None, f"{name} is not running"
        os.kill(pid, signal.SIGKILL)

    def service_answers(self) -> bool:
        return PLAIN.get(f"{self.settings.service_api_url}/health").status_code == 200

    def all_gone(self) -> bool:
        return not any(self.child_pid(path.stem) for path in self.settings.folder("run").glob("*.json"))

    def holds(self) -> list[dict[str, Any]]:
        """Return the holds as the ledger's database has them, oldest first, with their posted usage."""
        path = self.settings.folder("db") / "allocator.sqlite"
        query = """SELECT hold.*, (SELECT coalesce(sum(amount_micro), 0) FROM entry
                   WHERE entry.hold_id = hold.id AND entry.kind = 'usage') AS ledger_micro
                   FROM hold ORDER BY placed_at"""
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(query)]

    def settled_hold(self, number: int) -> dict[str, Any]:
        return until(lambda: (h := self.holds())[number]["state"] == "settled" and h[number], "settled", 60)


@contextmanager
def embedded_nexus(**changes: str) -> Iterator[Embedded]:
    """Yield a Nexus that is not up yet; clear everything it leaves."""
    top = Path(tempfile.mkdtemp(prefix="nexus-up-"))
    top.chmod(0o755)
    own = {
        "NEXUS_STATE": str(top / "state"),
        "NEXUS_PORT": str(own_ports()),
        "NEXUS_POLL_INTERVAL_S": "1",
        **changes,
    }
    plain = {name: value for name, value in os.environ.items() if not name.startswith("NEXUS_")}
    settings = read_settings(own)
    # The secrets are made by the first start; read when they are needed.
    nexus = Embedded(settings, SecretsOnDisk(settings.folder("secrets")), {**plain, **own})  # type: ignore[arg-type]
    try:
        yield nexus
    finally:
        if nexus.process is not None and nexus.process.poll() is None:
            nexus.process.kill()
            nexus.process.wait(10)
        nexus.command("down")
        if not os.environ.get("NEXUS_KEEP_TEST_STATE"):
            shutil.rmtree(top, ignore_errors=True)


@dataclass(frozen=True)
class SecretsOnDisk:
    folder: Path

    def __getattr__(self, name: str) -> str:
        if name not in Secrets.__dataclass_fields__:
            raise AttributeError(name)
        return (self.folder / name.replace("_", "-")).read_text()


class ServerWatch:
    """When a notebook server's process lived, by somebody who asks neither hub nor service."""

    def __init__(self, nexus: Embedded) -> None:
        self.nexus = nexus
        self.first_seen: float | None = None
        self.last_seen: float | None = None
        self.pid: int | None = None
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def __enter__(self) -> "ServerWatch":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()

    @property
    def lifetime_s(self) -> float:
        if self.first_seen is None or self.last_seen is None:
            return 0.0
        return self.last_seen - self.first_seen

    def watch(self) -> None:
        while not self.done.wait(0.05):
            if self.pid is None:
                self.pid = next(iter(notebook_servers(self.nexus.settings)), None)
            if self.pid is not None and psutil.pid_exists(self.pid) and self.alive():
                self.first_seen = self.first_seen or time.time()
                self.last_seen = time.time()

    def alive(self) -> bool:
        try:
            return psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False
