"""Prints how fast the scanner walks, beside `find -printf` and a bare getdents and statx loop.

Run it as ``python -m tests.bench.scanner [N_FILES [FOLDER]]``; its tree is made in FOLDER or a temporary one
and removed. Each is run in turn, three times, and its best counts, so that a neighbour's load hits all alike.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Final

from tests.support.walker import compiled

from nexus_allocator.clients.files import scanner

N_FILES: Final = 2_000_000
PER_FOLDER: Final = 40
PARTS: Final = 2  # of some 260,000 entries, for the comparison with SQLite
ROUNDS: Final = 3
THREADS: Final = 2
PRINTF: Final = r"%i %s %b %T@ %C@ %U %G %m %n %p\0"
MUST_FIND, MUST_BARE, MUST_AGAIN = 2.0, 0.7, 10.0
DAY_NS: Final = 86_400 * 10**9
BARE: Final = Path(__file__).with_name("bare_walk.c")


def main() -> None:
    n_files = int(sys.argv[1]) if len(sys.argv) > 1 else N_FILES
    folder = Path(tempfile.mkdtemp(prefix="nexus-scan-", dir=sys.argv[2] if len(sys.argv) > 2 else None))
    try:
        made = tree(folder / "tree", n_files)
        walker = compiled(scanner.WALKER.with_suffix(".c"), folder)
        bare = compiled(BARE, folder)
        report(folder, made, walker=walker, bare=bare)
    finally:
        shutil.rmtree(folder)


def tree(root: Path, n_files: int) -> int:
    """Make the tree, forty empty files a folder and a hundred folders a folder; return how many entries."""
    folders = max(1, n_files // PER_FOLDER)
    for number in range(folders):
        path = root / f"{number // 10_000:03d}" / f"{number // 100 % 100:02d}" / f"{number % 100:02d}"
        path.mkdir(parents=True)
        handle = os.open(path, os.O_RDONLY)
        for file in range(PER_FOLDER):
            name = f"r0000101001001001001_{file:04d}_wfi{file % 18 + 1:02d}_cal.asdf"
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o640, dir_fd=handle))
        os.close(handle)
    return 1 + sum(len(folders) + len(files) for _, folders, files in os.walk(root))


def report(folder: Path, made: int, *, walker: Path, bare: Path) -> None:
    root, index = folder / "tree", folder / "index"
    # As if two months had passed: nothing in the tree counts as being worked on.
    later_ns = time.time_ns() + 60 * DAY_NS

    def scanned() -> None:
        shutil.rmtree(index, ignore_errors=True)
        found = scanner.scan(root, index, started_ns=later_ns, threads=THREADS, gentle=False, walker=walker)
        assert found.folders + found.entries == made, (found, made)

    best = in_turn(
        {
            "find -printf": lambda: run(["find", str(root), "-printf", PRINTF]),
            f"bare loop, {THREADS} threads": lambda: run([str(bare), str(root), str(THREADS)]),
            "walker alone": lambda: run([str(walker), str(root), str(THREADS), "0"]),
            "scan into an index": scanned,
        }
    )
    find, loop, _, scan = (seconds for seconds, _ in best.values())
    for name, (seconds, cpu_s) in best.items():
        rate = made / seconds / 1e6
        print(f"{name:24} {seconds:7.2f} s {rate:6.2f} million entries/s {cpu_s:7.2f} CPU s")
    print(f"scan: {find / scan:.2f} × find (must: ≥ {MUST_FIND})")
    print(f"scan: {loop / scan:.0%} of the bare loop (must: ≥ {MUST_BARE:.0%})")
    again(root, index, later_ns, walker, whole_s=scan)
    print(f"index: {sum(file.stat().st_size for file in index.iterdir()) / made:.1f} bytes an entry")
    in_sqlite(folder, index)


def again(root: Path, index: Path, later_ns: int, walker: Path, *, whole_s: float) -> None:
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        found = scanner.scan(root, index, started_ns=later_ns, threads=THREADS, gentle=False, walker=walker)
        times.append(time.perf_counter() - start)
    print(
        f"re-scan, unchanged       {min(times):7.2f} s, {whole_s / min(times):.1f} × faster "
        f"(must: ≥ {MUST_AGAIN}), {found.folders_read:,} of {found.folders:,} folders read in their turn"
    )


def in_turn(ways: dict[str, Callable[[], None]]) -> dict[str, tuple[float, float]]:
    """Return the seconds of each one's best round, and what processor it took, children and all."""
    best = dict.fromkeys(ways, (float("inf"), float("inf")))
    for _ in range(ROUNDS):
        for name, way in ways.items():
            start, cpu_s = time.perf_counter(), cpu()
            way()
            best[name] = min(best[name], (time.perf_counter() - start, cpu() - cpu_s))
    return best


def cpu() -> float:
    return sum(os.times()[:4])


def run(words: list[str]) -> None:
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def in_sqlite(folder: Path, index: Path) -> None:
    """Write the same entries into SQLite and into Parquet once more, both from memory."""
    parts = list(islice(scanner.entries(index), PARTS))
    rows = []
    for part in parts:
        rows += zip(*(part[name].to_pylist() for name in part.column_names), strict=True)
    columns = parts[0].column_names
    start = time.perf_counter()
    with sqlite3.connect(folder / "entries.sqlite") as database:
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("PRAGMA synchronous = OFF")
        database.execute(f"CREATE TABLE entry ({', '.join(columns)})")
        database.executemany(f"INSERT INTO entry VALUES ({', '.join('?' * len(columns))})", rows)  # noqa: S608
    database.close()
    sqlite_s = time.perf_counter() - start
    start = time.perf_counter()
    with scanner.parquet_writer(folder / "entries.parquet", parts[0].schema) as writer:
        for part in parts:
            writer.write_table(part)
    parquet_s = time.perf_counter() - start
    for name, seconds in (("sqlite", sqlite_s), ("parquet", parquet_s)):
        size = (folder / f"entries.{name}").stat().st_size / len(rows)
        print(f"{len(rows):,} entries into {name:8} {seconds:6.2f} s, {size:6.1f} bytes an entry")


if __name__ == "__main__":
    main()
