"""Prints what a purge costs, over a quarter played day by day, and under SIGKILL.

Run it as ``python -m tests.bench.purge [N_FILES [N_KILLED]]``. Of N_FILES old files one folder is restored,
and the rest deleted; what lies beside them is compared with a checksum manifest made before. Then N_KILLED
files are taken, restored and deleted by processes that are killed every few hundred steps.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.purging import TERMS, Purged, manifest

from nexus_allocator.clients.files.signed_log import SignedLog

N_FILES: Final = 200_000
N_KILLED: Final = 10_000
PER_FOLDER: Final = 100
KEPT: Final = 5_000
MOST_STEPS: Final = 400


def main() -> None:
    n_files, n_killed = (int(word) for word in (*sys.argv[1:], N_FILES, N_KILLED)[:2])
    folder = Path(tempfile.mkdtemp(prefix="nexus-purge-"))
    try:
        a_quarter(folder, n_files)
    finally:
        shutil.rmtree(folder)
    command = [
        sys.executable,
        "-m",
        "tests.support.killed_purge",
        "many",
        str(n_killed),
        "1",
        str(MOST_STEPS),
    ]
    said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(
        f"{n_killed:,} files taken, restored and deleted by processes killed {said['kills']:,} times: "
        f"{len(said['problems'])} problems, {said['seconds']} s"
    )


def a_quarter(folder: Path, n_files: int) -> None:
    purged = Purged(folder)
    for number in range(n_files):
        purged.write(f"old/{number // PER_FOLDER:05d}/{number % PER_FOLDER:02d}", b"%d" % number)
    for number in range(KEPT):
        purged.write(f"kept/{number // PER_FOLDER:05d}/{number % PER_FOLDER:02d}", b"%d" % number)
    before = manifest(purged.place)
    purged.exempts(b"kept", days=365)
    with timed("plan", n_files):
        purged.drafted()
    purged.noticed()
    purged.days_pass(TERMS.grace.days)
    with timed("quarantine", n_files):
        assert purged.take().done == n_files
    with timed("restore one folder", PER_FOLDER):
        assert purged.restore(b"old", b"00007").done == PER_FOLDER
    purged.days_pass(TERMS.window.days)
    with timed("delete", n_files - PER_FOLDER):
        assert purged.delete().done == n_files - PER_FOLDER
    after = manifest(purged.place)
    stays = {
        path: entry for path, entry in before.items() if not path.startswith(b"old/") or b"/00007/" in path
    }
    wrong = [path for path in stays if after.get(path) != stays[path]]
    gone = [path for path in before if path not in after]
    records = folder / "records" / purged.plan_id
    with timed("check the signed log", n_files):
        events = len(SignedLog(records / "log.jsonl", b"a key for tests, 32 bytes long..").read())
    size = sum(file.stat().st_size for file in records.iterdir()) / n_files
    print(
        f"{len(gone):,} entries gone, {len(wrong)} of {len(stays):,} that were to stay are otherwise; "
        f"{events:,} lines of log, records of {size:.0f} bytes a file"
    )


@contextmanager
def timed(what: str, files: int) -> Iterator[None]:
    start, cpu = time.perf_counter(), time.process_time()
    yield
    seconds = time.perf_counter() - start
    spent = time.process_time() - cpu
    print(f"{what:24} {seconds:7.2f} s ({spent:.2f} s of CPU) {files / seconds:10,.0f} files/s")


if __name__ == "__main__":
    main()
