"""Prints the CPU seconds and memory of refpix alone, beside romancal's, on the same ramp and coefficients.

Run it as ``python -m tests.bench.refpix``. Both take the same nine resultants (uint16) in a process of their
own, warm: the first run does not count. CPU seconds are user and system of all threads, from the ramp in
memory to corrected resultants, reading coefficients apart; memory is the peak of the process, ramp
included. The floor is what the Fourier transforms alone take that no way around is known for.
"""

import multiprocessing
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from tests.support import pipeline as build
from tests.support.oracle import stcal
from tests.support.oracle_stcal import forget_peak, random_filters, refpix_l1, resident_bytes

from nexus_pipeline.bands import over_rows
from nexus_pipeline.instrument.ma_table import IMAGING
from nexus_pipeline.instrument.wfi import BORDER, N_CHANNELS, N_PIXELS
from nexus_pipeline.references import irrc
from nexus_pipeline.references.files import read_reference, write_reference
from nexus_pipeline.references.kinds import MaskReference, RefpixReference
from nexus_pipeline.references.make import Maker
from nexus_pipeline.simulate.detector import darks
from nexus_pipeline.steps import dq_init, refpix

REPEATS, THEIR_REPEATS, SEED = 5, 2, 31
MUST_S, MUST_GB = 3, 1.5
ROWS: Final = np.array([4, 77, 1000, 2048, 3333, 4091])


def ours(url: str, repeats: int) -> dict[str, Any]:
    """Return CPU seconds and peak memory of this process, and ``ROWS`` of the corrected ramp."""
    data, amp33, dq = refpix_l1(SEED, IMAGING.n_resultants)
    ramp = build.ramp(data, amp33=amp33)
    mask = MaskReference(detector=build.DETECTOR, dq=dq)
    forget_peak()
    start = time.process_time()
    coefficients = read_reference("refpix", url)
    assert isinstance(coefficients, RefpixReference)
    read_s, kept = time.process_time() - start, np.empty((len(data), len(ROWS), N_PIXELS))

    def run() -> tuple[float, float]:
        start = time.process_time()
        correction = refpix.measure(dq_init.border(ramp, mask), amp33, coefficients)
        measured = time.process_time() - start

        def correct(first: int, last: int) -> None:
            part = dq_init.part_of(ramp, np.s_[..., first:last, :])
            begun = dq_init.begin_rows(part, replace(mask, dq=dq[first:last]))
            done = refpix.take_out(replace(begun, first_row=first), correction)
            for i in np.flatnonzero((first <= ROWS) & (last > ROWS)):
                kept[:, i] = done.data[:, ROWS[i] - first]

        over_rows(correct, N_PIXELS)
        return measured, time.process_time() - start

    seconds = [run() for _ in range(repeats + 1)]
    return {"seconds": seconds[1:], "read": read_s, "peak": resident_bytes("VmHWM"), "data": kept}


def floor_s(n: int) -> float:
    """Return the CPU seconds of the spectra of three references and a signal per channel, n resultants."""
    size = N_PIXELS * irrc.ROW_SAMPLES
    signal = np.random.default_rng(1).standard_normal(size, dtype=np.float32)
    spectrum = fft.rfft(signal)
    start = time.process_time()
    for _ in range(n):
        for _ in range(3):
            fft.rfft(signal)
        for _ in range(N_CHANNELS):
            fft.irfft(spectrum, size)
    return time.process_time() - start


def coefficients(folder: Path) -> Mapping[str, str]:
    """Write the coefficients of ``wfi references make`` and arbitrary ones; return where they are."""
    made = Maker(build.DETECTOR, 1, N_PIXELS).refpix(darks)
    gamma, zeta, alpha = (each.astype(np.complex64) for each in random_filters(SEED))
    arbitrary = replace(made, gamma=gamma, zeta=zeta, alpha=alpha, n_frequencies=gamma.shape[1])
    named = {"estimated": made, "arbitrary": arbitrary}
    for name, reference in named.items():
        write_reference(reference, str(folder / f"{name}.asdf"))
    return {name: str(folder / f"{name}.asdf") for name in named}


def show_difference(one: NDArray[np.float64], other: NDArray[np.float32]) -> None:
    """Print how two corrected ramps (n, rows, nx) differ, pixels equal to their own mean apart.

    romancal takes such a pixel, which is 0 without its mean, for one not read, and leaves its channel's
    line in. In whole numbers that happens; after the steps before refpix it hardly does.
    """
    before = refpix_l1(SEED, len(one))[0][:, ROWS].astype(np.float32)
    as_mean = before == before.mean(axis=0)
    inner = np.s_[:, :, BORDER:-BORDER]
    apart, unlike = np.abs(one - other)[inner], as_mean[inner]
    worst = f"{apart[~unlike].max():.1e} DN, {apart[unlike].max():.1e} in {unlike.mean():.1%}"
    print(f"  |Δ|: median {np.median(apart):.1e} DN, worst {worst} that equal their own mean")


def main() -> None:
    print(f"{'refpix, nine resultants':<44} {'CPU s':>8} {'GB':>8} {'to ours':>8}")
    with tempfile.TemporaryDirectory(prefix="nexus-bench-") as folder:
        for name, url in coefficients(Path(folder)).items():
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                told = pool.apply(ours, (url, REPEATS))
            measured, total = (median(each[i] for each in told["seconds"]) for i in (0, 1))
            title = f"{name} coefficients (must: ≤ {MUST_S} s, {MUST_GB} GB)"
            print(f"{title:<44} {total:8.2f} {told['peak'] / 1e9:8.2f}")
            parts = f"measured {measured:.2f} s, taken out {total - measured:.2f} s"
            print(f"  {parts}; coefficients read {told['read']:.2f} s")
            theirs = stcal(
                "refpix_cost", IMAGING, url=np.array(url), seed=SEED, repeats=THEIR_REPEATS, rows=ROWS
            )
            cost = float(np.median(theirs["seconds"]))
            print(f"{'  romancal 1.1':<44} {cost:8.2f} {theirs['peak'] / 1e9:8.2f} {cost / total:7.1f}×")
            show_difference(told["data"], theirs["data"])
    print(f"{'the floor: Fourier transforms alone':<44} {floor_s(IMAGING.n_resultants):8.2f}")


if __name__ == "__main__":
    main()
