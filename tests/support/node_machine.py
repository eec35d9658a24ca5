"""A machine within this one, for a node to be: network, mounts and processes of its own, gone as one.

A pair of devices joins it to here: whoever is outside the cluster stands at HERE, the node at THERE. Nothing
routes from there to any other network.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.hub import until

from nexus_allocator.embedded.children import Child, die_with_parent
from nexus_allocator.embedded.commands import Command, plain_environment

HERE, THERE = "10.89.0.1", "10.89.0.2"
PODS, SERVICES = "10.88.0.0/24", "10.96.0.0/16"
DEVICES = ("nexus-here", "nexus-there")
CGROUPS = Path("/sys/fs/cgroup")
# Where a node's programs write whatever they are told.
SCRATCH = ("/run", "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers")


@dataclass
class Machine:
    folder: Path
    pid: int
    """Its first process; when that ends, all others do."""
    children: dict[str, Child]

    @property
    def cgroup(self) -> str:
        return f"/{self.folder.name}"

    def inside(self, *words: str, mounts: bool = True) -> list[str]:
        """Return the words that run a program there."""
        entered = ("--mount", "--pid") if mounts else ()
        return ["nsenter", f"--target={self.pid}", "--net", *entered, "--", *words]

    def run(self, name: str, *words: str, **environment: str) -> None:
        """Start a program there that goes on until the machine is gone."""
        command = Command(name, tuple(self.inside(*words)), plain_environment() | environment, None)
        self.children[name] = Child(command, self.folder)
        self.children[name].start()

    def alive(self, name: str) -> bool:
        child = self.children[name]
        assert child.exit_status() is None, f"{name} ended:\n{child.last_words(30)}"
        return True

    def call(self, *words: str, mounts: bool = True) -> str:
        return call(*self.inside(*words, mounts=mounts))


def call(*words: str, timeout_s: float = 120) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=timeout_s)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr or done.stdout}"
    return done.stdout


@contextmanager
def running_machine(folder: Path, first: Path) -> Iterator[Machine]:
    """Yield the machine whose first process is the program ``first``; ``folder`` is its own."""
    words = ("--mount", "--propagation=private", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
    process = subprocess.Popen(
        ["unshare", *words, str(first)],
        preexec_fn=die_with_parent(),  # noqa: PLW1509
        start_new_session=True,
    )
    children: dict[str, Child] = {}
    made = [Path(each) for each in SCRATCH if not Path(each).exists()]
    try:
        pid = until(lambda: child_of(process.pid), "the machine's first process")
        machine = Machine(folder, pid, children)
        for where in made:
            where.mkdir()
        for each in SCRATCH:
            machine.call("mount", "-t", "tmpfs", "nexus", each)
        # Mounts that the kubelet makes are seen by containers.
        machine.call("mount", "--make-rshared", "/")
        join(machine)
        make_cgroups(machine)
        yield machine
    finally:
        process.kill()
        process.wait(30)
        for child in children.values():
            child.stop()
        subprocess.run(["ip", "link", "del", DEVICES[0]], capture_output=True, check=False)
        until(lambda: remove_cgroups(folder.name), "the node's processes gone", 60)
        for where in made:
            where.rmdir()


def child_of(pid: int) -> int | None:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(found[0]) if found and Path(f"/proc/{found[0]}/comm").read_text() != "unshare\n" else None


def join(machine: Machine) -> None:
    here, there = DEVICES
    subprocess.run(["ip", "link", "del", here], capture_output=True, check=False)
    call("ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", str(machine.pid))
    call("ip", "address", "add", f"{HERE}/30", "dev", here)
    call("ip", "link", "set", here, "up")
    for words in (
        ("link", "set", "lo", "up"),
        ("address", "add", f"{THERE}/30", "dev", there),
        ("link", "set", there, "up"),
        ("route", "add", "default", "via", HERE),
    ):
        machine.call("ip", *words)
    machine.call("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.bridge.bridge-nf-call-iptables=1")
    for each in (PODS, SERVICES):
        call("ip", "route", "add", each, "via", THERE)


def hierarchies() -> list[Path]:
    """Return where groups of processes are kept: each controller of version 1, or version 2's one tree."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [each for each in CGROUPS.iterdir() if (each / "tasks").exists() or each.name == "unified"]


def make_cgroups(machine: Machine) -> None:
    for each in hierarchies():
        own = each / machine.cgroup.lstrip("/")
        own.mkdir()
        if each.name == "cpuset":
            for name in ("cpuset.cpus", "cpuset.mems"):
                (own / name).write_text((each / name).read_text())


def remove_cgroups(name: str) -> bool:
    """Remove what the node's containers left; False while a process is still in one."""
    for hierarchy in hierarchies():
        for folder, _, _ in os.walk(hierarchy / name, topdown=False):
            try:
                Path(folder).rmdir()
            except OSError:
                return False
    return True


def lacking() -> list[str]:
    """Return what a node needs of the machine that is not there."""
    wanted = ("containerd", "ctr", "runc", "iptables", "conntrack", "nsenter", "unshare", "ip", "busybox")
    missing = [each for each in wanted if shutil.which(each) is None]
    return missing if os.geteuid() == 0 else ["root", *missing]
