"""Purges whose process is killed by SIGKILL at a step, and called again. Prints what was found as JSON.

Run as ``python -m tests.support.killed_purge every N_FILES`` (a run of its own for each step of each act) or
``… many N_FILES SEED MOST_STEPS`` (one purge, killed each time after a random number of steps, at least 8
at most, until it is through). It forks, so it is a process of its own, with one thread.
"""

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.purging import TERMS, Purged, manifest

from nexus_allocator.clients.files.purge_state import State
from nexus_allocator.domain.purges import Phase

# Syncing costs nothing there: a killed process loses nothing that was written, synced or not.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a folder of our own is made in it
Act = Callable[[Purged], object]
ACTS: dict[str, Act] = {"take": Purged.take, "restore": Purged.restore, "delete": Purged.delete}


@contextmanager
def a_purge(files: int) -> Iterator[Purged]:
    """Files to go, and others that stay: changed and exempt ones."""
    folder = Path(tempfile.mkdtemp(prefix="nexus-killed-", dir=MEMORY))
    try:
        purged = Purged(folder)
        for number in range(files):
            purged.write(f"folder {number % 7}/file {number}", b"%d" % number)
        purged.write("kept/changed")
        purged.exempts(b"exempt", days=3650)
        purged.write("exempt/file")
        purged.ready()
        purged.write("kept/changed", b"changed")
        yield purged
    finally:
        shutil.rmtree(folder)


def killed_at(purged: Purged, act: Act, step: int) -> bool:
    """Act in a child that is killed at its ``step``-th step; say whether it came to that."""
    child = os.fork()
    if child == 0:
        left = [step]

        def dies(_name: str) -> None:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        purged.step = dies
        try:
            act(purged)
        except BaseException as error:
            print(f"the child failed: {error!r}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    if os.WEXITSTATUS(status):
        raise SystemExit("a child failed")
    return False


def through(purged: Purged, name: str) -> bool:
    """Say whether the act has nothing more to do."""
    phase = purged.standing().phase
    return phase is Phase.QUARANTINED if name == "take" else phase is Phase.FINISHED


def prepared(purged: Purged, name: str) -> None:
    """Bring the purge to where the act begins."""
    if name != "take":
        purged.take()
    if name == "delete":
        purged.days_pass(TERMS.window.days)


def problems(purged: Purged, name: str, before: dict[bytes, tuple[object, ...]], files: int) -> list[str]:
    """Return what is not as it must be after the act was called until it was through."""
    after, standing = manifest(purged.place), purged.standing()
    planned = {path for path in before if path.startswith(b"folder ") and b"/" in path}
    rest = {path: entry for path, entry in before.items() if path not in planned}
    found = []
    if name == "restore":
        if after != before:
            found.append("what came back is not as it was")
    elif after != rest:
        found.append("something else than the planned files went, or some did not")
    if name == "take" and purged.waiting() != files:
        found.append(f"{purged.waiting()} files wait, not {files}")
    if name == "delete" and (purged.waiting(), standing.count(State.DELETED)) != (0, files):
        found.append(f"{purged.waiting()} files wait and {standing.count(State.DELETED)} were deleted")
    return found


def every(files: int) -> dict[str, object]:
    kills, found = 0, []
    for name, act in ACTS.items():
        step = 1
        while True:
            with a_purge(files) as purged:
                before = manifest(purged.place)
                prepared(purged, name)
                if not killed_at(purged, act, step):
                    break
                kills += 1
                if not through(purged, name):
                    act(purged)
                found += [f"{name}, step {step}: {each}" for each in problems(purged, name, before, files)]
            step += 1
    return {"kills": kills, "problems": found}


def many(files: int, seed: int, most_steps: int) -> dict[str, object]:
    rng, kills, found = random.Random(seed), 0, []  # noqa: S311 - which step is no secret
    start = time.perf_counter()
    for name, act in ACTS.items():
        with a_purge(files) as purged:
            before = manifest(purged.place)
            prepared(purged, name)
            while killed_at(purged, act, rng.randint(1, most_steps)):
                kills += 1
                if through(purged, name):
                    break
            found += [f"{name}: {each}" for each in problems(purged, name, before, files)]
    return {"kills": kills, "problems": found, "seconds": round(time.perf_counter() - start, 1)}


if __name__ == "__main__":
    mode, *numbers = sys.argv[1:]
    print(json.dumps((every if mode == "every" else many)(*map(int, numbers))))
