"""How much memory this process may still take, and how it keeps what it has taken."""

import ctypes
import sys
from pathlib import Path
from typing import Final

import psutil

_ROOT: Final = Path("/sys/fs/cgroup")
_GROUPS: Final = Path("/proc/self/cgroup")
# Limit, use, and what of the use is cache that goes when it is needed, of control groups v2 and v1.
_FILES: Final = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}

# Numbers of glibc's mallopt, and the value that disables trimming.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _NEVER = -1, -3, -1
_KEPT_BYTES: Final = 290 * 10**6


def keep_freed() -> None:
    """Let this process keep the memory that arrays give back, for the arrays that come next.

    Else the kernel clears each large array's pages anew: 6 of the 17 CPU seconds of a detector where the
    machine itself is virtual. Whole cubes still go back: among what else lives on the heap they would
    leave gaps that nothing fits (0.3 GB after two detectors). Without glibc nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    # Older ones refuse so large a threshold; without it, to keep all would cost more than it spares.
    if mallopt is not None and mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES):
        mallopt(_M_TRIM_THRESHOLD, _NEVER)


def available_bytes(*, root: Path = _ROOT, groups: Path = _GROUPS) -> int:
    """Return the bytes that are free for this process and its children.

    ``root`` is where control groups are mounted, ``groups`` the kernel's list of this process's own.
    """
    left = [_left(folder, *_FILES[controller]) for controller, folder in _folders(root, groups)]
    return min([psutil.virtual_memory().available, *(each for each in left if each is not None)])


def _folders(root: Path, groups: Path) -> list[tuple[str, Path]]:
    """Return the groups of this process that may limit memory, with those above them, by controller."""
    try:
        lines = [line.split(":", 2) for line in groups.read_text().splitlines()]
    except OSError:
        return []
    found = []
    for _, controllers, path in lines:
        for controller in _FILES.keys() & set(controllers.split(",")):
            # In a container the group's own files lie at the root, whatever path the kernel tells.
            own = root / controller / path.strip("/")
            found += [(controller, folder) for folder in (own, *own.parents) if folder.is_relative_to(root)]
    return found


def _left(folder: Path, limit: str, used: str, cache: str) -> int | None:
    """Return what a group may still take, None where it has no limit."""
    try:
        most = (folder / limit).read_text().strip()
        now = int((folder / used).read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except OSError:
        return None
    return None if most == "max" else max(0, int(most) - now + int(stat.get(cache, 0)))
