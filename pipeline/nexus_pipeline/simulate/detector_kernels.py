# ruff: noqa: PLR0913, PLR0917 - compiled code takes its arrays one by one
"""The compiled part of ``simulate.detector``: one band of rows, pixel by pixel and read by read."""

from math import floor, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.instrument.wfi import BORDER, CHANNEL_WIDTH, SATURATION_DN
from nexus_pipeline.psf.kernels import compiled
from nexus_pipeline.simulate import random
from nexus_pipeline.simulate.random import Effect

Plane = NDArray[np.float32]

BIAS_DN: Final = 100.0
"""What the electronics read for a reference pixel: high enough that noise does not clip at zero."""
RESET_E: Final = 10_000.0
RESET_NOISE_E: Final = 8.0
"""Level a pixel starts from and how far it scatters, once for all resultants (romanisim 0.15)."""
FULL_WELL_OVER_SATURATION: Final = 1.05
"""A pixel goes on a little above the level from which its linearity is no longer known."""
_POISSON, _RESET, _READ = int(Effect.POISSON), int(Effect.RESET), int(Effect.READ_NOISE)


@compiled
def expose_rows(
    first_row: int,
    last_row: int,
    rate: Plane,
    gain: Plane,
    read_noise: Plane,
    saturation: Plane,
    inverse: Plane,
    resultant_of_read: NDArray[np.int64],
    n_reads: NDArray[np.int64],
    read_time: float,
    deposit_first: NDArray[np.int64],
    deposit_column: NDArray[np.int32],
    deposit_read: NDArray[np.int32],
    deposit_electrons: NDArray[np.float32],
    offsets: NDArray[np.float32],
    seed: int,
    out: NDArray[np.uint16],
) -> None:
    photons, reset = np.empty(4, np.uint64), np.empty(4, np.uint64)
    noise, pair = np.empty(4, np.uint64), np.empty(2)
    total, size = np.empty(n_reads.size), rate.shape[1]
    for row in range(first_row, last_row):
        random.start(seed, _POISSON, row, photons)
        random.start(seed, _RESET, row, reset)
        random.start(seed, _READ, row, noise)
        at = deposit_first[row]
        for column in range(size):
            random.normal_pair(reset, pair)
            start = RESET_E + RESET_NOISE_E * pair[0]
            edge = min(row, column, rate.shape[0] - 1 - row, size - 1 - column)
            if edge < BORDER:
                total[:] = 0.0
            else:
                at = _accumulate(
                    start, rate[row, column] * read_time, gain[row, column], saturation[row, column],
                    inverse[:, row, column], resultant_of_read, column, at, deposit_first[row + 1],
                    deposit_column, deposit_read, deposit_electrons, photons, total,
                )  # fmt: skip
            channel = column // CHANNEL_WIDTH
            for k in range(n_reads.size):
                if k % 2 == 0:
                    random.normal_pair(noise, pair)
                value = total[k] / n_reads[k] + read_noise[row, column] / sqrt(n_reads[k]) * pair[k % 2]
                value = floor(value + BIAS_DN + offsets[k, row, channel] + 0.5)
                out[k, row, column] = np.uint16(min(max(value, 0.0), float(SATURATION_DN)))


@compiled
def _accumulate(
    start: float,
    mean: float,
    gain: float,
    saturation: float,
    inverse: NDArray[np.float32],
    resultant_of_read: NDArray[np.int64],
    column: int,
    at: int,
    end: int,
    deposit_column: NDArray[np.int32],
    deposit_read: NDArray[np.int32],
    deposit_electrons: NDArray[np.float32],
    photons: NDArray[np.uint64],
    total: NDArray[np.float64],
) -> int:
    """Write the sum of the reads of each resultant into ``total``; return the next deposit of the row."""
    while at < end and deposit_column[at] < column:
        at += 1
    total[:] = 0.0
    electrons = start
    full = saturation * FULL_WELL_OVER_SATURATION if saturation > 0.0 else float(SATURATION_DN)
    none = random.exponential_of(mean)
    for read in range(1, resultant_of_read.size):
        electrons += random.poisson(photons, mean, none)
        while at < end and deposit_column[at] == column and deposit_read[at] <= read:
            electrons += deposit_electrons[at]
            at += 1
        resultant = resultant_of_read[read]
        if resultant >= 0:
            # Beyond the full well the polynomial may turn over: hold the argument, not only the value.
            linear = min(electrons / gain, 1.5 * full)
            dn = 0.0
            for power in range(inverse.size - 1, -1, -1):
                dn = dn * linear + inverse[power]
            total[resultant] += min(dn, full)
    return at
