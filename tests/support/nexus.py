"""The whole Nexus as a person starts it: `make up`, on free ports, with a state of its own."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import own_ports

ROOT = Path(__file__).parents[2]
READY = re.compile(r"ready in ([\d.]+) s")


@dataclass(frozen=True)
class Nexus:
    url: str
    state: Path
    environment: dict[str, str]
    ready_s: float
    log: Path

    def allocator(self, *arguments: str) -> str:
        """Run the operator's command line against this Nexus; return what it printed."""
        result = subprocess.run(
            [ROOT / ".venv/bin/python", "-m", "nexus_allocator.embedded", "allocator", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout


def wait_until_ready(process: subprocess.Popen[bytes], log: Path, timeout_s: float) -> float:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        text = log.read_text(errors="replace")
        if found := READY.search(text):
            return float(found.group(1))
        assert process.poll() is None, f"make up ended with {process.returncode}:\n{text}"
        time.sleep(0.3)
    raise AssertionError(f"not ready after {timeout_s:.0f} s:\n{log.read_text(errors='replace')}")


@contextmanager
def running_nexus(**settings: str) -> Iterator[Nexus]:
    """Yield a Nexus started by `make up`; stop it, as Ctrl-C would, and see that it ends."""
    # Not pytest's tmp_path: people's servers run with their own uids and must be able to enter.
    state = Path(tempfile.mkdtemp(prefix="nexus-test-"))
    state.chmod(0o755)
    base = own_ports()
    environment = {**os.environ, "NEXUS_STATE": str(state / "nexus"), "NEXUS_PORT": str(base), **settings}
    log = state / "make-up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["make", "--no-print-directory", "up"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            ready_s = wait_until_ready(process, log, timeout_s=600)
            yield Nexus(f"http://127.0.0.1:{base}", state / "nexus", environment, ready_s, log)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(90)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise
    shutil.rmtree(state, ignore_errors=True)
