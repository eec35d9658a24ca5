"""Which process is meant: ids are given out again, so one counts only with the time its process began."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

# The kernel counts in ticks of 10 ms, and the boot time it counts from is rounded.
SAME_START_S = 1.0


def began_at(pid: int) -> datetime | None:
    """Return when process ``pid`` began, None if there is none (a zombie counts as none)."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return datetime.fromtimestamp(process.create_time(), UTC)
    except psutil.NoSuchProcess:
        return None


def is_alive(pid: int, began: datetime) -> bool:
    now = began_at(pid)
    return now is not None and abs((now - began).total_seconds()) <= SAME_START_S


def watch_end(pid: int, when_ended: Callable[[], None]) -> None:
    """Call ``when_ended`` on the running event loop as soon as process ``pid``, ours or not, has ended.

    Linux only; elsewhere the hub's polling finds out later.
    """
    if not hasattr(os, "pidfd_open"):
        return
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(handle)
        os.close(handle)
        when_ended()

    loop.add_reader(handle, ended)


@dataclass(frozen=True)
class Identity:
    uid: int
    gid: int
    supplemental_gids: tuple[int, ...]


def enter(identity: Identity | None, umask: int, group_files: tuple[Path, ...]) -> Callable[[], None]:
    """Return what a new process does before its command: enter its control group, then become the person.

    Needs no passwd entry. Runs between fork and exec: an exception here fails the start.
    """

    def preexec() -> None:
        for path in group_files:
            path.write_text("0")
        os.umask(umask)
        os.chdir("/")
        if identity is not None:
            os.setgroups(identity.supplemental_gids)
            os.setgid(identity.gid)
            os.setuid(identity.uid)

    return preexec
