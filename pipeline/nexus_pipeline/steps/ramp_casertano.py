# ruff: noqa: PLR0913, PLR0917 - compiled code takes its arrays one by one
"""Casertano (2022) weights: the fast ramp fit, for a band of rows.

A jump splits the ramp: a stretch whose largest single or double difference stands out by more
than a threshold - log₁₀(slope)/3 σ loses the two resultants about it and is fitted again on both
sides (the rule of romancal's ``ols_cas22``, stcal 1.20).
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled
from nexus_pipeline.instrument.ma_table import MATable
from nexus_pipeline.products.model import WorkingRamp
from nexus_pipeline.steps.casertano_stretches import fit_stretches, jump_limit
from nexus_pipeline.steps.ramp_planes import JUMP, KNOWN_JUMP, UNUSABLE, Floats
from nexus_pipeline.steps.ramp_weights import ramp_weights

# Pixels worked on together: their scratch stays in a core's own caches.
_BLOCK: Final = 256
# Signal-to-noise ratios from which on the next power holds.
_EDGES: Final = (5, 10, 20, 50, 100)
_NEARLY: Final = np.float32(0.9999)


def band_fitter(
    ramp: WorkingRamp,
    gain: Floats,
    read_noise: Floats,
    *,
    threshold: float,
    planes: Floats,
    dq: NDArray[np.uint32],
    jumps: NDArray[np.uint8],
) -> Callable[[int, int], None]:
    """Return what fits rows first to last: it writes into ``planes`` and adds to ``dq`` and ``jumps``."""
    table = ramp.meta.ma_table
    weights, times = ramp_weights(table), _times(table)

    def fit(first: int, last: int) -> None:
        _fit_rows(
            ramp.data, ramp.resultant_dq, gain, read_noise, times,
            weights.slope, weights.read, weights.poisson, np.float32(threshold), planes, dq, jumps,
            first, last,
        )  # fmt: skip

    return fit


def _times(table: MATable) -> Floats:
    """Return (3, n): mean time, variance time and number of reads of each resultant."""
    rows = (table.mean_times_s, table.variance_times_s, table.reads_per_resultant)
    return np.array(rows, dtype=np.float32)


@compiled
def _fit_rows(
    data: Floats,
    flags: NDArray[np.uint8],
    gain: Floats,
    read_noise: Floats,
    times: Floats,
    slope_weights: Floats,
    read_factors: Floats,
    poisson_factors: Floats,
    threshold: np.float32,
    planes: Floats,
    dq: NDArray[np.uint32],
    jumps: NDArray[np.uint8],
    first: int,
    last: int,
) -> Any:
    """Write ``planes`` and add to ``dq`` and ``jumps`` for rows ``first`` to ``last``."""
    n, nx = data.shape[0], data.shape[2]
    ramp, work = np.empty((n, _BLOCK), np.float32), np.empty((9, _BLOCK), np.float32)
    power, split = np.empty(_BLOCK, np.int32), np.empty(_BLOCK, np.uint8)
    stack, alone = np.empty((n + 1, 2), np.int64), np.empty((3, n), np.float32)
    sums = np.empty(6, np.float32)
    for y in range(first, last):
        for start in range(0, nx, _BLOCK):
            own = slice(start, min(start + _BLOCK, nx))
            g, noise = gain[y, own], work[0]
            for x in range(g.size):
                noise[x] = (read_noise[y, start + x] * g[x]) ** 2
            _begin(data[:, y, own], flags[:, y, own], g, ramp, split)
            _slopes(ramp, noise, slope_weights[0, n - 1], power, work)
            _look_for_jumps(ramp, noise, times, threshold, work, split)
            _whole_chi_squared(ramp, noise, times, work)
            _store_whole(
                g, noise, read_factors[0, n - 1], poisson_factors[0, n - 1], power, work, planes[:, y, own]
            )
            for x in range(g.size):
                if split[x]:
                    at = start + x
                    fit_stretches(
                        ramp[:, x], flags[:, y, at], g[x], noise[x], times, slope_weights, read_factors,
                        poisson_factors, threshold, stack, alone, sums, jumps[:, y, at], planes[:, y, at],
                    )  # fmt: skip
                    if jumps[:, y, at].any():
                        dq[y, at] |= JUMP


# Rows of ``work``: squared read noise (electrons), slope, uniform slope, rate, limit of a jump, χ²; pivot and
# rest of the difference before; the covariance below the diagonal. Loops write one array each, for
# the sake of vector instructions.


@compiled
def _begin(
    data: Floats, flags: NDArray[np.uint8], gain: Floats, ramp: Floats, split: NDArray[np.uint8]
) -> Any:
    """Write the ramps (electrons), and in ``split`` which of them have resultants that may not be used."""
    # One resultant alone has no slope.
    split[:] = ramp.shape[0] < 2
    for i in range(ramp.shape[0]):
        for x in range(gain.size):
            ramp[i, x] = data[i, x] * gain[x]
        for x in range(gain.size):
            split[x] |= flags[i, x] & (UNUSABLE | KNOWN_JUMP)


@compiled
def _slopes(ramp: Floats, noise: Floats, weights: Floats, power: NDArray[np.int32], work: Floats) -> Any:
    """Write the power that suits each ramp's signal-to-noise ratio, the slope by it and the uniform one."""
    n, slope, uniform = ramp.shape[0], work[1], work[2]
    for x in range(power.size):
        signal = max(ramp[n - 1, x] - ramp[0, x], np.float32(0))
        ratio = signal / np.sqrt(noise[x] + signal)
        p = np.int32(0)
        for edge in _EDGES:
            p += np.int32(ratio >= np.float32(edge))
        power[x] = p
    slope[:], uniform[:] = 0, 0
    for i in range(n):
        own = weights[:, i].copy()
        for x in range(power.size):
            slope[x] += own[power[x]] * ramp[i, x]
        for x in range(power.size):
            uniform[x] += own[0] * ramp[i, x]


@compiled
def _look_for_jumps(
    ramp: Floats, noise: Floats, times: Floats, threshold: np.float32, work: Floats, split: NDArray[np.uint8]
) -> Any:
    """Write into ``split`` where a single or double difference stands out: the rule of ``fit_stretches``."""
    n, slope, rate, limit = ramp.shape[0], work[1], work[3], work[4]
    for x in range(split.size):
        rate[x] = max(slope[x], np.float32(0))
    for x in range(split.size):
        limit[x] = jump_limit(slope[x], threshold)
    known = np.float32(1) / (times[0, n - 1] - times[0, 0])
    for d in range(1, 3):
        for i in range(n - d):
            j = i + d
            per_s = np.float32(1) / (times[0, j] - times[0, i])
            read = (np.float32(1) / times[2, j] + np.float32(1) / times[2, i]) * per_s * per_s
            photon = (times[1, j] + times[1, i] - 2 * times[0, i]) * per_s * per_s - known
            early, late = ramp[i], ramp[j]
            for x in range(split.size):
                excess = (late[x] - early[x]) * per_s - slope[x]
                variance = noise[x] * read + rate[x] * photon
                # Squares spare a root; a little too many are looked at again, never one too few.
                least = limit[x] * abs(limit[x]) * variance * _NEARLY
                split[x] |= np.uint8(variance > 0 and excess * abs(excess) >= least)


@compiled
def _whole_chi_squared(ramp: Floats, noise: Floats, times: Floats, work: Floats) -> Any:
    """Write χ² of the differences of whole ramps about their slopes, as ``fit_stretches`` does."""
    slope, rate, total = work[1], work[3], work[5]
    pivot, rest, below = work[6], work[7], work[8]
    total[:] = 0
    for i in range(ramp.shape[0] - 1):
        step = times[0, i + 1] - times[0, i]
        read = np.float32(1) / times[2, i] + np.float32(1) / times[2, i + 1]
        photon = times[1, i] + times[1, i + 1] - 2 * times[0, i]
        early, late = ramp[i], ramp[i + 1]
        if i == 0:
            for x in range(total.size):
                rest[x] = late[x] - early[x] - slope[x] * step
            for x in range(total.size):
                pivot[x] = noise[x] * read + rate[x] * photon
        else:
            for x in range(total.size):
                rest[x] = late[x] - early[x] - slope[x] * step - below[x] / pivot[x] * rest[x]
            for x in range(total.size):
                pivot[x] = noise[x] * read + rate[x] * photon - below[x] * below[x] / pivot[x]
        for x in range(total.size):
            total[x] += rest[x] * rest[x] / pivot[x]
        after_read, after = np.float32(1) / times[2, i + 1], times[0, i + 1] - times[1, i + 1]
        for x in range(total.size):
            below[x] = rate[x] * after - noise[x] * after_read


@compiled
def _store_whole(
    gain: Floats,
    noise: Floats,
    read_factors: Floats,
    poisson_factors: Floats,
    power: NDArray[np.int32],
    work: Floats,
    planes: Floats,
) -> Any:
    """Write the results of whole ramps in DN."""
    slope, uniform, rate, total = work[1], work[2], work[3], work[5]
    for x in range(gain.size):
        planes[0, x] = slope[x] / gain[x]
    for x in range(gain.size):
        planes[1, x] = read_factors[power[x]] * noise[x] / (gain[x] * gain[x])
    for x in range(gain.size):
        planes[2, x] = poisson_factors[power[x]] * rate[x] / (gain[x] * gain[x])
    for x in range(gain.size):
        planes[3, x] = total[x]
    for x in range(gain.size):
        planes[4, x] = (uniform[x] - slope[x]) / gain[x]
