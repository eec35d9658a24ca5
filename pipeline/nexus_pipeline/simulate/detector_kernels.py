# ruff: noqa: PLR0913, PLR0917 - compiled code takes its arrays one by one
"""The compiled part of ``simulate.detector``: one band of rows, what its pixels collect and how it is read
out.
"""

from math import floor, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.instrument.wfi import BORDER, CHANNEL_WIDTH, SATURATION_DN
from nexus_pipeline.psf.kernels import compiled
from nexus_pipeline.simulate import random
from nexus_pipeline.simulate.electronics import BIAS_DN
from nexus_pipeline.simulate.random import Effect

Plane = NDArray[np.float32]

RESET_E: Final = 10_000.0
RESET_NOISE_E: Final = 8.0
"""Level a pixel starts from and how far it scatters, once for all resultants (romanisim 0.15)."""
FULL_WELL_OVER_SATURATION: Final = 1.05
"""A pixel goes on a little above the level from which its linearity is no longer known."""
_POISSON, _RESET, _READ = int(Effect.POISSON), int(Effect.RESET), int(Effect.READ_NOISE)


@compiled
def collect_rows(
    first_row: int,
    last_row: int,
    rate: Plane,
    gain: Plane,
    saturation: Plane,
    inverse: Plane,
    converter: Plane,
    resultant_of_read: NDArray[np.int64],
    n_reads: NDArray[np.int64],
    read_time: float,
    deposit_first: NDArray[np.int64],
    deposit_column: NDArray[np.int32],
    deposit_read: NDArray[np.int32],
    deposit_electrons: NDArray[np.float32],
    seed: int,
    signal: Plane,
) -> None:
    """Write the mean DN of each resultant into ``signal`` (n, last - first, nx): light and cosmic rays."""
    photons, reset = np.empty(4, np.uint64), np.empty(4, np.uint64)
    pair = np.empty(2)
    total, size = np.empty(n_reads.size), rate.shape[1]
    for row in range(first_row, last_row):
        random.start(seed, _POISSON, row, photons)
        random.start(seed, _RESET, row, reset)
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
                    inverse[:, row, column], converter[column // CHANNEL_WIDTH], resultant_of_read, column,
                    at, deposit_first[row + 1], deposit_column, deposit_read, deposit_electrons, photons,
                    total,
                )  # fmt: skip
            for k in range(n_reads.size):
                signal[k, row - first_row, column] = total[k] / n_reads[k]


@compiled
def read_out_rows(
    first_row: int,
    last_row: int,
    signal: Plane,
    halo: int,
    ipc: Plane,
    read_noise: Plane,
    n_reads: NDArray[np.int64],
    offsets: Plane,
    shared: Plane,
    coupling: Plane,
    term_rows: Plane,
    term_columns: Plane,
    seed: int,
    out: NDArray[np.uint16],
) -> None:
    """Write resultants of ``signal``, whose first row lies ``halo`` rows above ``first_row``."""
    noise, pair = np.empty(4, np.uint64), np.empty(2)
    size = out.shape[2]
    for row in range(first_row, last_row):
        random.start(seed, _READ, row, noise)
        at = row - first_row + halo
        for column in range(size):
            channel, phase = column // CHANNEL_WIDTH, column % CHANNEL_WIDTH
            if channel % 2 == 1:
                phase = CHANNEL_WIDTH - 1 - phase
            edge = min(row, column, out.shape[1] - 1 - row, size - 1 - column)
            for k in range(n_reads.size):
                if k % 2 == 0:
                    random.normal_pair(noise, pair)
                value = read_noise[row, column] / sqrt(n_reads[k]) * pair[k % 2]
                if edge < BORDER:
                    value += BIAS_DN
                else:
                    value += _spread(signal[k], at, column, ipc)
                    for term in range(term_rows.shape[0]):
                        value += term_rows[term, k, row] * term_columns[term, column]
                value += offsets[k, row, channel] + coupling[channel] * shared[k, row, phase]
                out[k, row, column] = np.uint16(min(max(floor(value + 0.5), 0.0), float(SATURATION_DN)))


@compiled
def _spread(signal: Plane, row: int, column: int, ipc: Plane) -> float:
    """Return what a pixel shows of its own signal and its neighbours'."""
    if ipc[1, 1] == 1.0:
        return float(signal[row, column])
    value = 0.0
    for j in range(3):
        for i in range(3):
            value += ipc[j, i] * signal[row + 1 - j, column + 1 - i]
    return value


@compiled
def _accumulate(
    start: float,
    mean: float,
    gain: float,
    saturation: float,
    inverse: NDArray[np.float32],
    converter: NDArray[np.float32],
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
            total[resultant] += _converted(min(dn, full), converter)
    return at


@compiled
def _converted(dn: float, converter: NDArray[np.float32]) -> float:
    """Return what the converter makes of ``dn``: ``converter`` holds what it adds at 0, 1, 2 … DN."""
    at = min(max(dn, 0.0), converter.size - 1.0)
    low = min(int(at), converter.size - 2)
    added: float = converter[low] + (at - low) * (converter[low + 1] - converter[low])
    return dn + added
