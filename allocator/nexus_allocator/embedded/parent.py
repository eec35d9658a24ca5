"""The parent: starts everything in order, says how far it is, keeps it running, stops it in reverse order."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import IO

from nexus_allocator.embedded import commands, references
from nexus_allocator.embedded.children import Child, PidFile, describe_status, end
from nexus_allocator.embedded.live_servers import LiveServers
from nexus_allocator.embedded.settings import BadSetting, Settings, unknown_settings
from nexus_allocator.embedded.state import Secrets, fingerprint, make_folders, read_secrets
from nexus_allocator.embedded.surroundings import (
    notebook_servers,
    require_free_ports,
    require_reachable,
    stop_leftovers,
)

READY_TIMEOUT_S = 90.0


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


class StopAsked(Exception):  # noqa: N818 -- an order, not an error
    """The operator asked to stop."""


class Parent:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.secrets: Secrets
        self.lock: IO[str] | None = None
        self.children: list[Child] = []
        self.pid_file = PidFile(settings.folder("run") / "parent.json")

    # -- up

    def run(self) -> int:
        """Start, keep running, stop; returns the exit code. Raises BadSetting when it cannot start."""
        begun = time.monotonic()
        make_folders(self.settings)
        if not self.take_lock():
            say(f"The Nexus is running already: {self.settings.public_url} (make down stops it)")
            return 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, ask_to_stop)
        try:
            self.start_all()
            self.greet(time.monotonic() - begun)
            self.watch()
        except StopAsked:
            say("\nStopping (once more to stop at once)")
        finally:
            self.stop_all()
        return 0

    def take_lock(self) -> bool:
        """Become the only parent of this state directory; a killed one's lock is free by itself."""
        self.lock = (self.settings.folder("run") / "parent.lock").open("w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        self.pid_file.write(os.getpid())
        return True

    def start_all(self) -> None:
        say("Roman Research Nexus")
        for name in unknown_settings():
            say(f"  {name} is no setting of the Nexus and is not used")
        for line in stop_leftovers(self.settings):
            say(f"  {line}")
        require_free_ports(self.settings)
        require_reachable(self.settings)
        self.secrets = read_secrets(self.settings)
        making = references.Making(self.settings)
        self.start(commands.provider(self.settings, self.secrets))
        self.start(commands.proxy(self.settings, self.secrets))
        self.prepare_service()
        self.start(commands.service(self.settings, self.secrets))
        for child in self.children:
            self.wait_until_ready(child)
        self.wait_until_ready(self.start(commands.hub(self.settings)))
        self.start(commands.culler(self.settings, self.secrets))
        self.stop_strays()
        self.show_references(making)

    def start(self, command: commands.Command) -> Child:
        child = Child(command, self.settings.state)
        self.children.append(child)
        child.start()
        return child

    def prepare_service(self) -> None:
        """Bring the allocator's tables up to date and see that the demo people exist."""
        environment = commands.service_environment(self.settings, self.secrets)
        kept = self.settings.folder("secrets") / "service-environment.json"
        kept.touch(mode=0o600)
        kept.write_text(json.dumps(environment))
        done = self.settings.folder("run") / "prepared"
        if done.exists() and done.read_text() == fingerprint(self.settings):
            return
        for arguments in (("migrate",), ("seed-demo",)):
            begun = time.monotonic()
            result = subprocess.run(  # noqa: S603
                commands.allocator(arguments), env=environment, capture_output=True, text=True, check=False
            )
            if result.returncode != 0:
                raise BadSetting(
                    f"nexus-allocator {arguments[0]} failed:\n{(result.stdout + result.stderr)[-2000:]}"
                )
            tick(f"allocator {arguments[0]}", time.monotonic() - begun)
        done.write_text(fingerprint(self.settings))

    def show_references(self, making: references.Making) -> None:
        if making.process is not None and making.process.poll() is None:
            say("  … waiting for the quickstart's calibration references (made once, in about half a minute)")
        making.finish()
        references.expose(self.settings)

    def wait_until_ready(self, child: Child) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        told = time.monotonic()
        while not is_ready(child):
            status = child.exit_status()
            if status is not None:
                raise BadSetting(f"The {child.command.name} {describe_status(status)}:\n{child.last_words()}")
            if time.monotonic() > deadline:
                raise BadSetting(
                    f"The {child.command.name} is not ready after {READY_TIMEOUT_S:.0f} s; see {child.log}"
                )
            if time.monotonic() - told > 5:
                say(f"  … waiting for the {child.command.name} ({time.monotonic() - child.started:.0f} s)")
                told = time.monotonic()
            time.sleep(0.1)
        tick(child.command.name, time.monotonic() - child.started)

    def stop_strays(self) -> None:
        """End servers the hub does not know: it was killed between starting one and writing that down."""
        known = LiveServers(self.settings, self.secrets).hold_ids()
        for pid, hold_id in notebook_servers(self.settings).items():
            if hold_id not in known:
                end(pid)
                say(f"  stopped a stray notebook server (pid {pid})")

    def greet(self, seconds: float) -> None:
        people = json.loads(self.settings.people_file.read_text())
        say(f"\n  {self.settings.public_url}")
        say(
            "  sign in as " + ", ".join(person["preferred_username"] for person in people) + " (no passwords)"
        )
        say(f"  {commands.confinement_sentence()}")
        say(f"  logs in {self.settings.folder('log')}; Ctrl-C stops everything\n\nready in {seconds:.1f} s")

    # -- running

    def watch(self) -> None:
        """Start again what dies, for ever."""
        while True:
            for child in self.children:
                self.look_after(child)
            time.sleep(0.5)

    def look_after(self, child: Child) -> None:
        status = child.exit_status()
        if status is None:
            return
        if child.restart_at is None:
            pause = child.plan_restart()
            say(f"  The {child.command.name} {describe_status(status)}; starting it again in {pause:.0f} s")
        elif time.monotonic() >= child.restart_at:
            child.start()
            say(f"  The {child.command.name} is started again (log: {child.log})")
            if child.command.name == "proxy" and wait_for(lambda: is_ready(child), READY_TIMEOUT_S):
                LiveServers(self.settings, self.secrets).restore_routes(say)

    # -- down

    def stop_all(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop_at_once)
        names = [child.command.name for child in self.children]
        if "hub" in names:
            LiveServers(self.settings, self.secrets).stop_all(say)
        for child in reversed(self.children):
            child.stop()
            say(f"  stopped the {child.command.name}")
        self.pid_file.remove()


def is_ready(child: Child) -> bool:
    if child.command.health_url is None:
        return child.exit_status() is None
    try:
        with urllib.request.urlopen(child.command.health_url, timeout=2) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False


def tick(name: str, seconds: float) -> None:
    say(f"  ✓ {name} ({seconds:.1f} s)")


def ask_to_stop(number: int, frame: FrameType | None) -> None:
    raise StopAsked


def stop_at_once(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def down(settings: Settings, wait_s: float = 90.0) -> int:
    """Stop a running parent, or clear what a crash left behind; safe to repeat."""
    if not settings.folder("run").is_dir():
        say(f"Nothing to stop: there is no Nexus in {settings.state}")
        return 0
    pid = PidFile(settings.folder("run") / "parent.json").living_pid()
    if pid is not None:
        say(f"Stopping the running Nexus (pid {pid})")
        os.kill(pid, signal.SIGTERM)
        return (
            0
            if wait_for(lambda: PidFile(settings.folder("run") / "parent.json").living_pid() is None, wait_s)
            else 1
        )
    lines = list(stop_leftovers(settings))
    for server in notebook_servers(settings):
        end(server)
        lines.append(f"stopped a notebook server (pid {server})")
    (settings.folder("run") / "parent.json").unlink(missing_ok=True)
    say("\n".join(lines) or "Nothing was left running")
    return 0


def wait_for(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.2)
    return False


def run_allocator(settings: Settings, arguments: tuple[str, ...]) -> int:
    """Run the allocation service's tool with the environment of this state directory's service."""
    kept: Path = settings.folder("secrets") / "service-environment.json"
    if not kept.exists():
        raise BadSetting(f"There is no Nexus in {settings.state} yet: make up")
    environment = json.loads(kept.read_text())
    return subprocess.run(commands.allocator(arguments), env=environment, check=False).returncode  # noqa: S603
