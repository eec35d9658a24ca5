# ruff: noqa: PLR0913, PLR0917 - compiled code takes its arrays one by one
"""The compiled part of ``simulate.detector``: one band of rows, pixel by pixel and read by read."""

from math import floor, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.instrument.wfi import BORDER, CHANNEL_WIDTH, SATURATION_DN
from nexus_pipeline.psf.kernels import compiled
from nexus_pipeline.simulate import random
from nexus_pipeline.simulate.ipc import couple
from nexus_pipeline.simulate.random import Effect
from nexus_pipeline.simulate.samplers import Samplers, fill_normals, fill_poisson

Plane = NDArray[np.float32]

BIAS_DN: Final = 100.0
"""What the electronics read for a reference pixel: high enough that noise does not clip at zero."""
RESET_E: Final = 10_000.0
RESET_NOISE_E: Final = 8.0
"""Level a pixel starts from and how far it scatters, once for all resultants (romanisim 0.15)."""
FULL_WELL_OVER_SATURATION: Final = 1.05
"""A pixel goes on a little above the level from which its linearity is no longer known."""
_NEAR_DN: Final = 1e-3
"""A parabola stands for the conversion on ramps so short that it is as good as this."""
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
    tables: Samplers,
    ipc: NDArray[np.float32],
    out: NDArray[np.uint16],
) -> None:
    """Write the resultants of some rows into ``out``, a row at a time.

    ``ipc`` is the kernel (3, 3) of ``ipc.couple``, empty for none; with it the row before and the row
    after are exposed too, as their own band would have them.
    """
    n_rows, n_columns = rate.shape
    n, halo = n_reads.size, 1 if ipc.size else 0
    charge = np.zeros((3, n, n_columns), np.float32)
    level, excess = np.zeros((3, n, n_columns), np.float32), np.zeros(n_columns, np.float32)
    for row in range(max(first_row - halo, 0), min(last_row + halo, n_rows)):
        _expose_row(
            row, rate, gain, saturation, inverse, resultant_of_read, n_reads, read_time, deposit_first,
            deposit_column, deposit_read, deposit_electrons, seed, tables, charge[row % 3], level[row % 3],
        )  # fmt: skip
        done = row - halo
        if first_row <= done < last_row:
            if BORDER <= done < n_rows - BORDER and halo:
                before = done - 1 if done > BORDER else done
                after = done + 1 if done < n_rows - BORDER - 1 else done
                couple(
                    charge, before % 3, done % 3, after % 3, ipc, gain[done], saturation[done],
                    inverse[:, done], level[done % 3], excess,
                )  # fmt: skip
            _read_out(done, level[done % 3], n_reads, read_noise, offsets, seed, tables, out)
    if halo and last_row == n_rows:
        _read_out(n_rows - 1, level[(n_rows - 1) % 3], n_reads, read_noise, offsets, seed, tables, out)


@compiled
def _expose_row(
    row: int,
    rate: Plane,
    gain: Plane,
    saturation: Plane,
    inverse: Plane,
    resultant_of_read: NDArray[np.int64],
    n_reads: NDArray[np.int64],
    read_time: float,
    deposit_first: NDArray[np.int64],
    deposit_column: NDArray[np.int32],
    deposit_read: NDArray[np.int32],
    deposit_electrons: NDArray[np.float32],
    seed: int,
    tables: Samplers,
    charge: NDArray[np.float32],
    level: NDArray[np.float32],
) -> None:
    """Write each resultant's mean electrons into ``charge`` and its mean DN into ``level``, both (n, nx)."""
    photons, reset = np.empty(4, np.uint64), np.empty(4, np.uint64)
    width, n = CHANNEL_WIDTH, n_reads.size
    start, total, held = np.empty(width), np.empty((n, width)), np.empty((n, width))
    arrived = np.empty((width, resultant_of_read.size - 1), np.float32)
    random.start(seed, _POISSON, row, photons)
    random.start(seed, _RESET, row, reset)
    at = deposit_first[row]
    for low in range(0, rate.shape[1], width):
        high = min(low + width, rate.shape[1])
        fill_normals(reset, tables.edge, tables.ratio, start)
        fill_poisson(photons, tables.threshold, tables.second, rate[row, low:high], read_time, arrived)
        at = _convert(
            row, low, high, start, arrived, rate, read_time, gain, saturation, inverse,
            resultant_of_read, at, deposit_first[row + 1], deposit_column, deposit_read,
            deposit_electrons, total, held,
        )  # fmt: skip
        for k in range(n):
            share = 1.0 / n_reads[k]
            for i in range(high - low):
                charge[k, low + i] = held[k, i] * share
                level[k, low + i] = total[k, i] * share


@compiled
def _read_out(
    row: int,
    level: NDArray[np.float32],
    n_reads: NDArray[np.int64],
    read_noise: Plane,
    offsets: NDArray[np.float32],
    seed: int,
    tables: Samplers,
    out: NDArray[np.uint16],
) -> None:
    """Write ``level`` (n, nx) DN with noise and offsets of the electronics into ``out``, rounded."""
    noise, width, n = np.empty(4, np.uint64), CHANNEL_WIDTH, n_reads.size
    spread = np.empty(width * n)
    random.start(seed, _READ, row, noise)
    for low in range(0, level.shape[1], width):
        high = min(low + width, level.shape[1])
        fill_normals(noise, tables.edge, tables.ratio, spread)
        for k in range(n):
            quieter = 1.0 / sqrt(n_reads[k])
            floor_dn = BIAS_DN + offsets[k, row, low // width] + 0.5
            for i in range(high - low):
                jitter = read_noise[row, low + i] * quieter * spread[k * width + i]
                value = floor(level[k, low + i] + jitter + floor_dn)
                out[k, row, low + i] = np.uint16(min(max(value, 0.0), float(SATURATION_DN)))


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
    resultant_of_read: NDArray[np.int64],
    at: int,
    end: int,
    deposit_column: NDArray[np.int32],
    deposit_read: NDArray[np.int32],
    deposit_electrons: NDArray[np.float32],
    total: NDArray[np.float64],
    held: NDArray[np.float64],
) -> int:
    """Write the sums of the reads of each resultant, DN and electrons; return the row's next deposit."""
    total[:] = 0.0
    held[:] = 0.0
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
        if far or value + 2.0 * abs(slope) * reach > full or (at < end and deposit_column[at] == column):
            at = _convert_read_by_read(
                electrons, arrived[i], gain[row, column], full, inverse[:, row, column], resultant_of_read,
                column, at, end, deposit_column, deposit_read, deposit_electrons, total[:, i],
                held[:, i],
            )  # fmt: skip
            continue
        slope, bend = slope / gain[row, column], bend / (gain[row, column] * gain[row, column])
        for read in range(reads):
            off += arrived[i, read]
            resultant = resultant_of_read[read + 1]
            if resultant >= 0:
                total[resultant, i] += value + off * (slope + off * bend)
                held[resultant, i] += electrons + (off + 0.5 * expected)
    return at


@compiled
def _convert_read_by_read(
    electrons: float,
    arrived: NDArray[np.float32],
    gain: float,
    full: float,
    inverse: NDArray[np.float32],
    resultant_of_read: NDArray[np.int64],
    column: int,
    at: int,
    end: int,
    deposit_column: NDArray[np.int32],
    deposit_read: NDArray[np.int32],
    deposit_electrons: NDArray[np.float32],
    total: NDArray[np.float64],
    held: NDArray[np.float64],
) -> int:
    """Do the same for one pixel that something hits, or that is bright."""
    at_full = 0.0
    for power in range(inverse.size - 1, -1, -1):
        at_full = at_full * full + inverse[power]
    # The charge at which the level comes to the full well, near enough: more is not held.
    most = full * full / at_full * gain if at_full > 0.0 else full * gain
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
            total[resultant] += min(dn, full)
            held[resultant] += min(electrons, most)
    return at
