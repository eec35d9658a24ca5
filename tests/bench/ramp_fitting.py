"""Prints the CPU seconds and memory of the ramp fits for one detector, beside stcal's own.

Run it as ``python -m tests.bench.ramp_fitting``. Each fit runs warm, in a process of its own, on a
band of rows; the median is scaled to 4096 rows. CPU seconds are user and system of all threads;
memory is what the fit needs beyond the ramp and its flags.
"""

import multiprocessing
from collections.abc import Mapping
from statistics import median
from typing import Any

import numpy as np
from tests.support import pipeline as build
from tests.support.oracle import stcal
from tests.support.oracle_stcal import cost

from nexus_pipeline.instrument.ma_table import IMAGING
from nexus_pipeline.instrument.wfi import N_PIXELS
from nexus_pipeline.products.model import WorkingRamp
from nexus_pipeline.steps import ramp_fitting

ROWS, REPEATS, THEIR_REPEATS = 256, 7, 3
SHAPE = (ROWS, N_PIXELS)
SCALE = N_PIXELS / ROWS


def ramps() -> WorkingRamp:
    """Return a band of sky with 1 % of brighter pixels, and 1 % hit by a cosmic ray."""
    rng = np.random.default_rng(61)
    rates = np.where(rng.random(SHAPE) < 0.01, 10 ** rng.uniform(0, 2, SHAPE), 0.5)
    hit = rng.random(SHAPE) < 0.01
    jumps = np.zeros((IMAGING.n_reads, *SHAPE), np.float32)
    jumps[rng.integers(2, IMAGING.n_reads, SHAPE)[hit], *hit.nonzero()] = 1000
    return build.working_ramp(build.noisy_ramps(rates, seed=62, jumps=jumps))


def ours(algorithm: str, ramp: WorkingRamp) -> dict[str, Any]:
    gain, noise = build.gain(SHAPE), build.read_noise(SHAPE)
    return cost(lambda: ramp_fitting.fit(ramp, gain, noise, algorithm=algorithm), REPEATS)


def line(what: str, frame_s: list[float], peak_bytes: float) -> str:
    middle, spread = median(frame_s), f"{min(frame_s):.1f} to {max(frame_s):.1f}"
    return f"{what:<44} {middle:8.2f} {spread:>18} {middle / N_PIXELS**2 * 1e6:9.3f} {peak_bytes / 1e9:8.2f}"


def main() -> None:
    title = "CPU s of one detector, 9 resultants"
    print(f"{title:<44} {'median':>8} {'range':>18} {'µs/pixel':>9} {'GB more':>8}")
    ramp = ramps()
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for algorithm in ramp_fitting.ALGORITHMS:
            show(algorithm, pool.apply(ours, (algorithm, ramp)))
    given = {
        "data": ramp.data, "flags": ramp.resultant_dq, "gain": build.gain(SHAPE).gain,
        "read_noise": build.read_noise(SHAPE).read_noise, "threshold": 4.5, "repeats": THEIR_REPEATS,
        "side": N_PIXELS,
    }  # fmt: skip
    for algorithm in ramp_fitting.ALGORITHMS:
        show(f"stcal 1.20 {algorithm}", stcal(f"{algorithm}_cost", IMAGING, **given))


def show(what: str, told: Mapping[str, Any]) -> None:
    """Print the cost of a band as that of a frame; as shipped, too, where that is told."""
    frame_s, peak_bytes = [float(second) * SCALE for second in told["seconds"]], float(told["peak"]) * SCALE
    print(line(what, frame_s, peak_bytes), flush=True)
    if "one_row_of_a_frame" in told:
        ones_s = float(told["one_row_of_a_frame"]) * N_PIXELS
        shipped_s = [second + ones_s for second in frame_s]
        print(line("  with a frame of ones per row (as shipped)", shipped_s, peak_bytes), flush=True)


if __name__ == "__main__":
    main()
