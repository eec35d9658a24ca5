"""How much memory this process may still take: what the machine has, or what its control group leaves."""

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
