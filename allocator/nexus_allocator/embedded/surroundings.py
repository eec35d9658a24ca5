"""What else is on this machine: leftovers of an earlier parent, stray servers, takers of our ports."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from nexus_allocator.embedded.children import PidFile, end
from nexus_allocator.embedded.settings import BadSetting, Settings
from nexus_allocator.hub.homes import SPARE, TEAM_HOME

FIRST_PERSON_UID = 20000


def stop_leftovers(settings: Settings) -> Iterator[str]:
    """End what an earlier parent left running, and yield a line for each."""
    for path in sorted(settings.folder("run").glob("*.json")):
        pid = PidFile(path).living_pid()
        if path.stem != "parent" and pid is not None:
            end(pid)
            yield f"stopped a leftover {path.stem.replace('-', ' ')} (pid {pid})"
        if path.stem != "parent":
            path.unlink(missing_ok=True)


def notebook_servers(settings: Settings) -> dict[int, str]:
    """Return {pid: hold id} of the notebook servers of this state directory, whoever started them."""
    found = {}
    for process in psutil.process_iter():
        try:
            if "jupyterhub.singleuser" not in process.cmdline():
                continue
            environment = process.environ()
        except psutil.Error:
            continue
        if is_ours(settings, Path(environment.get("HOME", "/"))):
            found[process.pid] = environment.get("NEXUS_HOLD_ID", "")
    return found


def is_ours(settings: Settings, home: Path) -> bool:
    """Say whether a server with this HOME is of this state directory.

    A reader's server, or one that starts beside a full home, has a folder of its own; a team's has one in the
    team's folder.
    """
    if home.name == TEAM_HOME:
        return home.parent.parent == settings.folder("teams")
    return home.parent in (settings.folder("homes"), settings.folder(SPARE))


def require_free_ports(settings: Settings) -> None:
    for name, port in settings.ports.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise BadSetting(
                    f"Port {port} ({name}) is taken by {port_owner(port)}. "
                    f"Stop that, or choose other ports: NEXUS_PORT={settings.port + 100} make up"
                ) from error


def port_owner(port: int) -> str:
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        return "another process"
    for connection in connections:
        if connection.laddr and connection.laddr.port == port and connection.pid:
            process = psutil.Process(connection.pid)
            return f"{process.name()} (pid {process.pid}: {' '.join(process.cmdline())[:120]})"
    return "another process"


def require_reachable(settings: Settings) -> None:
    """Under root, see that a person's uid can run our Python and enter the homes."""
    if os.geteuid() != 0:
        return
    for path in (
        Path(sys.executable),
        Path(sys.executable).resolve(),
        Path(__file__),
        settings.folder("homes"),
    ):
        closed = next(
            (folder for folder in reversed(path.parents) if not folder.stat().st_mode & 0o001), None
        )
        if closed is not None:
            raise BadSetting(
                f"{closed} is closed to others, and under root each server runs with a uid of its own, "
                f"which must pass through it to {path}. Open it, move what lies in it (NEXUS_STATE), "
                "or run make up as an ordinary user."
            )
    probe = [sys.executable, "-c", "import ssl, jupyterlab"]
    result = subprocess.run(  # noqa: S603
        probe,
        user=FIRST_PERSON_UID,
        group=FIRST_PERSON_UID,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        check=False,
    )
    if result.returncode != 0:
        raise BadSetting(f"A person's server could not run {sys.executable}: {result.stderr.decode()[-400:]}")
