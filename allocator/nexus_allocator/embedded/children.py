"""Processes that end with the parent, are restarted when they die, and can be told from strangers later."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

from nexus_allocator.embedded.commands import Command
from nexus_allocator.hub.processes import began_at, is_alive

PR_SET_PDEATHSIG = 1
CALM_S = 60.0
LONGEST_PAUSE_S = 30.0


def die_with_parent() -> Callable[[], None] | None:
    """Return what makes a new process end when its parent does (Linux only; elsewhere pid files must do)."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def preexec() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died first
            os._exit(1)

    return preexec


@dataclass(frozen=True)
class PidFile:
    """A process's id with the time it began, kept so that the next parent knows what an earlier one left."""

    path: Path

    def write(self, pid: int) -> None:
        began = began_at(pid)
        if began is not None:
            self.path.write_text(json.dumps({"pid": pid, "began": began.isoformat()}))

    def living_pid(self) -> int | None:
        try:
            kept = json.loads(self.path.read_text())
            pid, began = int(kept["pid"]), datetime.fromisoformat(kept["began"])
        except (FileNotFoundError, ValueError, KeyError):
            return None
        return pid if is_alive(pid, began) else None

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


class Child:
    """One process of the Nexus, its log and its pid file; to be started from the main thread (PDEATHSIG)."""

    def __init__(self, command: Command, state: Path) -> None:
        self.command = command
        slug = command.name.replace(" ", "-")
        self.log = state / "log" / f"{slug}.log"
        self.pid_file = PidFile(state / "run" / f"{slug}.json")
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.pause_s = 1.0
        self.restart_at: float | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603
                self.command.arguments,
                env=dict(self.command.environment),
                cwd=self.log.parent.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent(),  # noqa: PLW1509
                start_new_session=True,
            )
        self.started = time.monotonic()
        self.restart_at = None
        self.pid_file.write(self.process.pid)

    def exit_status(self) -> int | None:
        return self.process.poll() if self.process else None

    def plan_restart(self) -> float:
        """Set when to start again: after a second, longer each time it dies young. Returns the pause."""
        if time.monotonic() - self.started > CALM_S:
            self.pause_s = 1.0
        pause, self.pause_s = self.pause_s, min(self.pause_s * 2, LONGEST_PAUSE_S)
        self.restart_at = time.monotonic() + pause
        return pause

    def stop(self, grace_s: float = 10.0) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(grace_s)
        self.pid_file.remove()

    def last_words(self, lines: int = 12) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def end(pid: int, grace_s: float = 5.0) -> None:
    """Terminate a process that is not our child, and wait until it is gone."""
    try:
        process = psutil.Process(pid)
        process.terminate()
        try:
            process.wait(grace_s)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(grace_s)
    except psutil.NoSuchProcess:
        pass


def describe_status(status: int) -> str:
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with exit code {status}"
