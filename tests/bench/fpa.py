"""Prints wall-clock time, CPU seconds and memory of whole exposures: 1, 2, 4 … detectors, fewer resultants.

Run it as ``python -m tests.bench.fpa [N_DETECTORS …]`` (by default 1 2 4 18). Everything is done as anybody
would do it, by ``wfi``: references of all detectors, a field, an exposure simulated in it (these are
kept in the cache, 12 GB, and their own cost is printed when they are made), then ``wfi calibrate``: imports,
compiled kernels from the cache, reading and writing included.
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.support.romanisim_ramp import cache_folder, key, locked

from nexus_pipeline.instrument.ma_table import MATable
from nexus_pipeline.instrument.wfi import DETECTORS
from nexus_pipeline.products import l1, l2
from nexus_pipeline.products.model import Ramp

MUST_S: Final = 150.0
FEWER: Final = (3, 5)
AIM: Final = ("--ra", "270.0", "--dec", "66.0")


def main() -> None:
    counts = [int(text) for text in sys.argv[1:]] or [1, 2, 4, len(DETECTORS)]
    folder = inputs(max(counts))
    print(f"{len(os.sched_getaffinity(0))} cores")
    print(f"{'detectors':>9} {'resultants':>10} {'wall s':>8} {'CPU s':>8} {'CPU s each':>11} {'GB each':>8}")
    ramps = sorted((folder / "l1").glob("*_uncal.asdf"))
    for algorithm in ("likelihood", "casertano"):
        print(algorithm)
        for count in counts:
            wall_s = show(ramps[:count], folder / "references", algorithm)
            if count == len(DETECTORS):
                verdict = "met" if wall_s <= MUST_S else "NOT met"
                print(f"   must: ≤ {MUST_S:.0f} s of wall clock on 2 cores: {verdict}")
    with tempfile.TemporaryDirectory(prefix="nexus-fpa-") as name:
        for count in FEWER:
            path = Path(name, ramps[0].name)
            l1.write_ramp(shorter(l1.read_ramp(str(ramps[0])), count), str(path))
            show([path], folder / "references", "casertano")


def show(ramps: Sequence[Path], references: Path, algorithm: str) -> float:
    """Calibrate ``ramps``, print one line, and return the seconds of wall clock."""
    with tempfile.TemporaryDirectory(prefix="nexus-fpa-") as out:
        wall, cost = wfi("calibrate", *ramps, "-r", references, "-o", out, "--ramp-fit", algorithm)
        images = sorted(Path(out).glob("*_cal.asdf"))
        assert len(images) == len(ramps)
        steps = l2.read_rate_image(str(images[-1])).provenance.steps
    peak = max(step.peak_memory_bytes for step in steps) / 1e9
    resultants = l1.read_meta(str(ramps[0])).ma_table.n_resultants
    print(
        f"{len(ramps):9d} {resultants:10d} {wall:8.1f} {cost:8.1f} {cost / len(ramps):11.1f} {peak:8.2f}",
        flush=True,
    )
    return wall


def wfi(*arguments: object) -> tuple[float, float]:
    """Run ``wfi`` and return the seconds of wall clock and of CPU, its processes' included."""
    before, start = cpu_s(), time.perf_counter()
    command = [sys.executable, "-m", "nexus_pipeline.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return time.perf_counter() - start, cpu_s() - before


def cpu_s() -> float:
    """Return the CPU seconds of all processes this one has waited for, theirs included."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def inputs(n_detectors: int) -> Path:
    """Return a folder with the ramps of ``n_detectors`` and their references, made where they lack."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    folder = cache_folder() / f"fpa-inputs-{key()}"
    with locked(cache_folder() / "fpa.lock"):
        for outdated in cache_folder().glob("fpa-inputs-*"):
            if outdated != folder:
                shutil.rmtree(outdated)
        folder.mkdir(exist_ok=True)
        ready = {path.name.split("_")[2].upper() for path in (folder / "l1").glob("*_uncal.asdf")}
        lacking = [name for name in DETECTORS[:n_detectors] if name not in ready]
        if lacking:
            make(folder, lacking)
    return folder


def make(folder: Path, detectors: Sequence[str]) -> None:
    """Make references, field and ramps of ``detectors``, and print what each took."""
    chosen = [part for name in detectors for part in ("--detector", name)]
    references, field = folder / "references", folder / "field.parquet"
    todo = {
        "references make": (references, *chosen, "--filter", "F158"),
        "make-field": (field, *AIM, "--stars", "5", "--galaxies", "5"),
        "simulate": (
            field, "-r", references, *AIM, "--detectors", ",".join(detectors), "--filter", "F158",
            "-o", folder / "l1",
        ),
    }  # fmt: skip
    for name, arguments in todo.items():
        wall, cost = wfi(*name.split(), *arguments)
        print(f"wfi {name}, {len(detectors)} detectors: {wall:.0f} s, {cost:.0f} CPU s", flush=True)


def shorter(ramp: Ramp, n_resultants: int) -> Ramp:
    """Return the first resultants of ``ramp``."""
    whole = ramp.meta.ma_table
    table = MATable(whole.name, whole.number, whole.read_pattern[:n_resultants], whole.read_time_s)
    return replace(
        ramp,
        data=ramp.data[:n_resultants].copy(),
        amp33=ramp.amp33[:n_resultants].copy(),
        meta=replace(ramp.meta, ma_table=table),
    )


if __name__ == "__main__":
    main()
