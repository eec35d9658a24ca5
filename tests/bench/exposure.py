"""Prints the CPU seconds and memory of one detector from L1 to L2, beside romancal's, and how the L2 differ.

Run it as ``python -m tests.bench.exposure``. Both work on the same ramp of our simulator, with everything in
it that a step takes out, and with the same reference files, each in a process of its own, warm: the first
of the runs (imports' and compilers' work) does not count. CPU seconds are user and system, reading L1 and
references and writing L2 included, on one core, as each detector of an exposure is worked: two threads that
share a core's units cost more CPU seconds for the same work. Memory is the peak of the process.
"""

import multiprocessing
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
from tests.support.own_ramp import own_ramp
from tests.support.romancal_run import romancal
from tests.support.romanisim_ramp import romanisim_ramp

from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.products import l2
from nexus_pipeline.products.model import StepRecord
from nexus_pipeline.recipes import exposure
from nexus_pipeline.references.store import open_store
from nexus_pipeline.runner import Settings, peak_memory_bytes

REPEATS, THEIR_REPEATS = 5, 1
# Of ours, the ones of romancal's to stand beside, and the most it may take: CPU s, GB.
WORK: Final = (
    ("casertano", ("ols_cas22",), 12, 2.5),
    ("likelihood", ("likely", "likely_patched"), 18, 2.5),
)


def ours(ramp: str, references: str, algorithm: str, *, out: str, repeats: int) -> dict[str, Any]:
    """Return the CPU seconds by step of each warm run, and the peak memory of this process."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    runs = [one_run(ramp, references, algorithm, out=out) for _ in range(repeats + 1)]
    return {"runs": runs[1:], "peak": peak_memory_bytes()}


def one_run(ramp: str, references: str, algorithm: str, *, out: str) -> dict[str, float]:
    seconds: dict[str, float] = {}
    last = time.process_time()

    def lap(name: str) -> None:
        nonlocal last
        now = time.process_time()
        seconds[name], last = now - last, now

    def on_step(record: StepRecord) -> None:
        lap(record.name)

    image = exposure.calibrate(
        ramp,
        open_store(references),
        settings=Settings({"ramp_fitting": {"algorithm": algorithm}}),
        on_step=on_step,
    )
    l2.write_rate_image(image, out)
    lap("write")
    return seconds


def total_s(told: Mapping[str, Any]) -> float:
    return median(sum(run.values()) for run in told["runs"])


def show(name: str, told: Mapping[str, Any], *, beside: Mapping[str, Any] | None = None) -> None:
    """Print the total of ``told`` and, ``beside`` being ours, how much more it is."""
    cost, peak = total_s(told), told["peak"] / 1e9
    ratio = "" if beside is None else f"{cost / total_s(beside):8.1f}×"
    print(f"{name:<34} {cost:8.1f} {peak:8.2f} {ratio:>10}")


def show_steps(columns: Mapping[str, Mapping[str, Any]]) -> None:
    names = [name for told in columns.values() for name in told["runs"][0]]
    print(f"\n{'CPU s by step':<20}" + "".join(f"{title:>18}" for title in columns))
    for name in dict.fromkeys(names):
        cells = [[run[name] for run in told["runs"] if name in run] for told in columns.values()]
        print(f"  {name:<18}" + "".join(f"{median(cell):18.2f}" if cell else f"{'-':>18}" for cell in cells))


def show_difference(our_url: str, their_url: str) -> None:
    """Print how the rates of two L2 differ, in units of the error, where both may be used."""
    one, other = l2.read_rate_image(our_url), l2.read_rate_image(their_url)
    usable = (one.dq | other.dq) & np.uint32(DQ.DO_NOT_USE | DQ.JUMP_DET | DQ.SATURATED) == 0
    apart = (np.abs(one.rate - other.rate) / one.err)[usable]
    shares = ", ".join(f"{share:g} % ≤ {np.percentile(apart, share):.1e}" for share in (50, 99, 99.9))
    print(f"  |Δ rate| / σ on {usable.mean():.1%} of the pixels: {shares}, worst {apart.max():.1e}")
    hits = [image.dq & np.uint32(DQ.JUMP_DET) != 0 for image in (one, other)]
    both, either = (hits[0] & hits[1]).sum(), (hits[0] | hits[1]).sum()
    print(f"  pixels with jumps: {hits[0].sum()} and {hits[1].sum()}, both / either {both / either:.3f}")


def main() -> None:
    references = romanisim_ramp().references
    print(f"{'L1 to L2, one detector':<34} {'CPU s':>8} {'GB':>8} {'to ours':>10}")
    steps: dict[str, Mapping[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="nexus-bench-") as name:
        folder = Path(name)
        ramp = own_ramp(references, folder)
        for algorithm, peers, must_s, must_gb in WORK:
            out = str(folder / f"{algorithm}_cal.asdf")
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                told = pool.apply(
                    ours, (str(ramp), str(references), algorithm), {"out": out, "repeats": REPEATS}
                )
            show(f"{algorithm} (must: ≤ {must_s} s, {must_gb} GB)", told)
            steps[algorithm] = told
            for peer in peers:
                theirs = romancal(ramp, references, peer, folder, repeats=THEIR_REPEATS)
                show(f"  romancal 1.1 {peer}", theirs, beside=told)
                steps[peer] = theirs
            show_difference(out, str(folder / "romancal_cal.asdf"))
    show_steps(steps)


if __name__ == "__main__":
    main()
