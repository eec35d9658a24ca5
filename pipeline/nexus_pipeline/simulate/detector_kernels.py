# ruff: noqa: PLR0913, PLR0917 - compiled code takes its arrays one by one
"""The compiled part of ``simulate.detector``: one band of rows, what its pixels collect and how it is read
out.
"""

from math import floor, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled
from nexus_pipeline.instrument.wfi import BORDER, CHANNEL_WIDTH, SATURATION_DN
from nexus_pipeline.simulate import random
from nexus_pipeline.simulate.electronics import BIAS_DN, CLOCKS_TOGETHER
from nexus_pipeline.simulate.random import Effect
from nexus_pipeline.simulate.samplers import Samplers, fill_normals, fill_poisson

Plane = NDArray[np.float32]

RESET_E: Final = 10_000.0
RESET_NOISE_E: Final = 8.0
"""Level a pixel starts from and how far it scatters, once for all resultants (romanisim 0.15)."""
FULL_WELL_OVER_SATURATION: Final = 1.05
"""A pixel goes on a little above the level from which its linearity is no longer known."""
_NEAR_DN: Final = 1e-3
"""A parabola stands for the conversion on ramps so short that it is as good as this."""
_STRAIGHT_DN: Final = 64.0
"""Over so few DN the converter's integral non-linearity is taken for a straight line."""
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
    tables: Samplers,
    signal: Plane,
) -> None:
    """Write the mean DN of each resultant into ``signal`` (n, last - first, nx): light and cosmic rays."""
    photons, reset = np.empty(4, np.uint64), np.empty(4, np.uint64)
    width = CHANNEL_WIDTH
    start, total = np.empty(width), np.empty((n_reads.size, width))
    arrived = np.empty((width, resultant_of_read.size - 1), np.float32)
    for row in range(first_row, last_row):
        random.start(seed, _POISSON, row, photons)
        random.start(seed, _RESET, row, reset)
        at = deposit_first[row]
        for low in range(0, rate.shape[1], width):
            high = min(low + width, rate.shape[1])
            fill_normals(reset, tables.edge, tables.ratio, start)
            fill_poisson(photons, tables.threshold, tables.second, rate[row, low:high], read_time, arrived)
            at = _convert(
                row, low, high, start, arrived, rate, read_time, gain, saturation, inverse,
                converter[low // width], resultant_of_read, at, deposit_first[row + 1], deposit_column,
                deposit_read, deposit_electrons, total,
            )  # fmt: skip
            for k in range(n_reads.size):
                for i in range(high - low):
                    signal[k, row - first_row, low + i] = total[k, i] / n_reads[k]


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
    own: Plane,
    term_rows: Plane,
    term_columns: Plane,
    seed: int,
    tables: Samplers,
    out: NDArray[np.uint16],
) -> None:
    """Write resultants of ``signal``, whose first row lies ``halo`` rows above ``first_row``."""
    noise, spread = np.empty(4, np.uint64), np.empty(CHANNEL_WIDTH * n_reads.size)
    size = out.shape[2]
    for row in range(first_row, last_row):
        random.start(seed, _READ, row, noise)
        at, dark_row = row - first_row + halo, row < BORDER or row >= out.shape[1] - BORDER
        for low in range(0, size, CHANNEL_WIDTH):
            channel = low // CHANNEL_WIDTH
            fill_normals(noise, tables.edge, tables.ratio, spread)
            for k in range(n_reads.size):
                quieter = 1.0 / sqrt(n_reads[k])
                level, alone = offsets[k, row, channel] + 0.5, own[k, channel, row]
                for i in range(min(CHANNEL_WIDTH, size - low)):
                    column, phase = low + i, i if channel % 2 == 0 else CHANNEL_WIDTH - 1 - i
                    value = level + read_noise[row, column] * quieter * spread[k * CHANNEL_WIDTH + i]
                    value += coupling[channel] * shared[k, row, phase]
                    value += alone[phase // CLOCKS_TOGETHER]
                    if dark_row or column < BORDER or column >= size - BORDER:
                        value += BIAS_DN
                    else:
                        value += _spread(signal[k], at, column, ipc)
                        for term in range(term_rows.shape[0]):
                            value += term_rows[term, k, row] * term_columns[term, column]
                    out[k, row, column] = np.uint16(min(max(floor(value), 0.0), float(SATURATION_DN)))


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
def _convert(
    row: int,
    low: int,
    high: int,
    start: NDArray[np.float64],
    arrived: NDArray[np.float32],
    rate: Plane,
    read_time: float,
    gain: Plane,
    saturation: Plane,
    inverse: Plane,
    converter: NDArray[np.float32],
    resultant_of_read: NDArray[np.int64],
    at: int,
    end: int,
    deposit_column: NDArray[np.int32],
    deposit_read: NDArray[np.int32],
    deposit_electrons: NDArray[np.float32],
    total: NDArray[np.float64],
) -> int:
    """Write the sums of the reads (DN) of each resultant into ``total``; return the row's next deposit."""
    total[:] = 0.0
    reads = arrived.shape[1]
    for column in range(low, high):
        i = column - low
        if min(row, column, rate.shape[0] - 1 - row, rate.shape[1] - 1 - column) < BORDER:
            continue
        electrons = RESET_E + RESET_NOISE_E * start[i]
        full = saturation[row, column] * FULL_WELL_OVER_SATURATION
        full = full if full > 0.0 else float(SATURATION_DN)
        while at < end and deposit_column[at] < column:
            at += 1
        # A parabola about the middle of the ramp (DN and electrons), where it is as good as the polynomial.
        expected = max(rate[row, column] * read_time * reads, 0.0)
        off = -0.5 * expected
        reach = (6.0 * sqrt(expected) - off) / gain[row, column]
        linear = (electrons - off) / gain[row, column]
        value, slope, bend, twist = 0.0, 0.0, 0.0, 0.0
        for power in range(inverse.shape[0] - 1, -1, -1):
            twist = twist * linear + bend
            bend = bend * linear + slope
            slope = slope * linear + value
            value = value * linear + inverse[power, row, column]
        far = abs(twist) * reach * reach * reach > _NEAR_DN or linear + reach > full
        far = far or 2.0 * abs(slope) * reach > _STRAIGHT_DN
        if far or value + 2.0 * abs(slope) * reach > full or (at < end and deposit_column[at] == column):
            at = _convert_read_by_read(
                electrons, arrived[i], gain[row, column], full, inverse[:, row, column], converter,
                resultant_of_read, column, at, end, deposit_column, deposit_read, deposit_electrons,
                total[:, i],
            )  # fmt: skip
            continue
        about = max(slope * reach, 1.0)
        before, after = _converted(value - about, converter), _converted(value + about, converter)
        straight = (after - before) / (2.0 * about)
        value, slope = 0.5 * (before + after), slope * straight
        slope, bend = slope / gain[row, column], bend / (gain[row, column] * gain[row, column])
        for read in range(reads):
            off += arrived[i, read]
            resultant = resultant_of_read[read + 1]
            if resultant >= 0:
                total[resultant, i] += value + off * (slope + off * bend)
    return at


@compiled
def _convert_read_by_read(
    electrons: float,
    arrived: NDArray[np.float32],
    gain: float,
    full: float,
    inverse: NDArray[np.float32],
    converter: NDArray[np.float32],
    resultant_of_read: NDArray[np.int64],
    column: int,
    at: int,
    end: int,
    deposit_column: NDArray[np.int32],
    deposit_read: NDArray[np.int32],
    deposit_electrons: NDArray[np.float32],
    total: NDArray[np.float64],
) -> int:
    """Do the same for one pixel that something hits, or that is bright."""
    for read in range(1, resultant_of_read.size):
        electrons += arrived[read - 1]
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
