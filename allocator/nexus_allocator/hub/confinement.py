"""Keeping a server within the size it pays for, where this machine's control groups are ours to write."""

import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
CPU_PERIOD_US = 100_000
GROUP = "nexus"

CONFINED = "CPU and memory are confined to the size you choose."
ONLY_RESERVED = "CPU and memory are reserved for your account, but not confined on this machine."


@dataclass(frozen=True)
class Controllers:
    """Where groups can be made: one folder for v2, two for v1."""

    version: int
    cpu: Path
    memory: Path


def find_controllers(root: Path = ROOT) -> Controllers | None:
    """Return the controllers that can be written, None where servers cannot be confined."""
    if usable_v2(root):
        return Controllers(2, root, root)
    if all(os.access(root / name / "cgroup.procs", os.W_OK) for name in ("cpu", "memory")):
        return Controllers(1, root / "cpu", root / "memory")
    return None


def usable_v2(root: Path) -> bool:
    """Say whether cpu and memory may be delegated below ``root``."""
    control = root / "cgroup.subtree_control"
    if not os.access(control, os.W_OK):
        return False
    try:
        control.write_text("+cpu +memory")
    except OSError:
        return False
    return {"cpu", "memory"} <= set(control.read_text().split())


def describe(controllers: Controllers | None) -> str:
    return CONFINED if controllers else ONLY_RESERVED


@dataclass(frozen=True)
class Group:
    """One server's group. ``procs`` are the files into which a process id is written to put it there."""

    version: int
    folders: tuple[Path, ...]

    @property
    def procs(self) -> tuple[Path, ...]:
        return tuple(folder / "cgroup.procs" for folder in self.folders)

    def out_of_memory_kills(self) -> int:
        """Return how many processes of the group the kernel has killed for want of memory."""
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        for line in (self.folders[-1] / name).read_text().splitlines():
            key, value = line.split()
            if key == "oom_kill":
                return int(value)
        return 0

    def remove(self) -> None:
        """Remove the group; raises OSError while a process is left in it."""
        for folder in self.folders:
            if folder.is_dir():
                folder.rmdir()


def group_called(controllers: Controllers, name: str) -> Group:
    """Return the group ``name``, whether or not it exists."""
    parents = dict.fromkeys((controllers.cpu, controllers.memory))
    return Group(controllers.version, tuple(parent / GROUP / name for parent in parents))


def make_group(controllers: Controllers, name: str, *, cpu: float, memory_bytes: int) -> Group:
    """Make the group ``name`` that gets ``cpu`` cores and ``memory_bytes``, or set an existing one anew."""
    group = group_called(controllers, name)
    quota = int(cpu * CPU_PERIOD_US)
    if controllers.version == 2:
        parent = controllers.cpu / GROUP
        parent.mkdir(exist_ok=True)
        (parent / "cgroup.subtree_control").write_text("+cpu +memory")
        limits = {"cpu.max": f"{quota} {CPU_PERIOD_US}", "memory.max": str(memory_bytes)}
        write(group.folders[0], limits)
        return group
    cpu_folder, memory_folder = group.folders
    write(cpu_folder, {"cpu.cfs_period_us": str(CPU_PERIOD_US), "cpu.cfs_quota_us": str(quota)})
    write(memory_folder, {"memory.limit_in_bytes": str(memory_bytes)})
    return group


def write(folder: Path, values: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        (folder / name).write_text(value)
