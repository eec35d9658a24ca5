"""Prints the CPU seconds and memory of simulating one detector's L1, beside romanisim's on the same sources.

Run it as ``python -m tests.bench.simulate``. 9,379 points and 995 Sérsic galaxies (COSMOS, as romanisim draws
them), the same reference files, each simulator in a process of its own, warm: imports and compilers do not
count, reading the catalogue and references and writing L1 does. CPU seconds are user and system, all threads.
"""

import multiprocessing
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, Final

from tests.support.romanisim_ramp import RomanisimRamp, romanisim_ramp
from tests.support.romanisim_run import romanisim, write_sources

from nexus_pipeline.products import l1
from nexus_pipeline.references.store import open_store
from nexus_pipeline.runner import peak_memory_bytes
from nexus_pipeline.simulate import exposure
from nexus_pipeline.simulate.catalog import read_sources

REPEATS: Final = 3
MUST_S, AIM_S, MUST_GB = 40, 25, 3.0


def ours(source: RomanisimRamp, sources: str, out: str) -> dict[str, Any]:
    """Return the CPU seconds by part of each warm run, and the peak memory of this process."""
    runs = [one_run(source, sources, out) for _ in range(REPEATS + 1)]
    return {"runs": runs[1:], "first": runs[0], "peak": peak_memory_bytes()}


def one_run(source: RomanisimRamp, sources: str, out: str) -> dict[str, float]:
    seconds: dict[str, float] = {}
    last = time.process_time()

    def lap(name: str) -> None:
        nonlocal last
        now = time.process_time()
        seconds[name], last = now - last, now

    seen = l1.read_meta(str(source.ramp))
    field = read_sources(sources, seen.filter_name)
    lap("catalogue")
    made = exposure.simulate(field, seen, open_store(str(source.references)), seed=1, on_part=lap)
    l1.write_ramp(made.ramp, out)
    lap("write")
    return seconds


def show(name: str, told: dict[str, Any], *, beside: float | None = None) -> None:
    cost, peak = median(sum(run.values()) for run in told["runs"]), told["peak"] / 1e9
    ratio = "" if beside is None else f"{cost / beside:8.1f}×"
    print(f"{name:<44} {cost:8.1f} {peak:8.2f} {ratio:>10}")


def main() -> None:
    source = romanisim_ramp()
    with tempfile.TemporaryDirectory(prefix="nexus-bench-") as name:
        folder = Path(name)
        sources = write_sources(source.references, folder)
        print(f"{'L1 simulation, one detector':<44} {'CPU s':>8} {'GB':>8} {'to ours':>10}")
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            told = pool.apply(ours, (source, str(sources), str(folder / "ours_uncal.asdf")))
        show(f"ours (must: ≤ {MUST_S} s, {MUST_GB:g} GB; aim {AIM_S} s)", told)
        total = median(sum(run.values()) for run in told["runs"])
        theirs = romanisim(source.references, sources, folder)
        show("  romanisim 0.14", theirs, beside=total)
    print(f"  ours, first run with the compilers' work: {sum(told['first'].values()):.1f}")
    for title, one in (("ours", told), ("romanisim", theirs)):
        parts = {part: median(run[part] for run in one["runs"]) for part in one["runs"][0]}
        print(f"  {title}: " + ", ".join(f"{part} {seconds:.2f}" for part, seconds in parts.items()))


if __name__ == "__main__":
    main()
