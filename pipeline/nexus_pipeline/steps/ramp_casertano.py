"""Casertano (2022) weights: the fast ramp fit, for a band of rows.

A jump splits the ramp: a stretch whose largest single or double difference stands out by more
than a threshold - log₁₀(slope)/3 σ loses the two resultants about it and is fitted again on both
sides (the rule of romancal's ``ols_cas22``, stcal 1.20).
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.instrument.ma_table import MATable
from nexus_pipeline.products.model import WorkingRamp
from nexus_pipeline.steps.bands import compiled
from nexus_pipeline.steps.ramp_planes import JUMP, UNUSABLE, Floats
from nexus_pipeline.steps.ramp_weights import ramp_weights

JUMP_THRESHOLD_PER_DEX: Final = 1 / 3


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
def _fit_rows(  # noqa: PLR0913, PLR0917 - numba takes no keyword-only arguments and no dataclasses
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
    n = data.shape[0]
    ramp = np.empty(n, np.float32)
    stack = np.empty((n + 1, 2), np.int64)
    work = np.empty((3, n), np.float32)
    sums = np.empty(6, np.float32)
    for y in range(first, last):
        for x in range(data.shape[2]):
            g = gain[y, x]
            noise = (read_noise[y, x] * g) ** 2
            for i in range(n):
                ramp[i] = data[i, y, x] * g
            top = _usable_stretches(flags, y, x, stack)
            sums[:] = 0
            while top > 0:
                top -= 1
                a, b = stack[top, 0], stack[top, 1]
                if b <= a:
                    continue
                p = _power(ramp, a, b, noise)
                m = _slope(ramp, slope_weights, a, b, p)
                split = _jump(ramp, times, a, b, m, noise, threshold)
                if split >= 0:
                    dq[y, x] |= JUMP
                    jumps[split + 1, y, x] |= np.uint8(JUMP)
                    stack[top, 0], stack[top, 1] = a, split - 1
                    stack[top + 1, 0], stack[top + 1, 1] = split + 2, b
                    top += 2
                    continue
                w = np.float32(1) / (read_factors[a, b, p] * noise)
                sums[0] += w
                sums[1] += w * m
                sums[2] += w * w * poisson_factors[a, b, p]
                sums[3] += w * _slope(ramp, slope_weights, a, b, 0)
                sums[4] += _chi_squared(ramp, times, a, b, m, noise, work)
            _store(sums, g, planes, y, x)


@compiled
def _usable_stretches(flags: NDArray[np.uint8], y: int, x: int, stack: NDArray[np.int64]) -> int:
    """Put the runs of usable resultants on ``stack`` (first, last), the earliest on top; return how many."""
    n = flags.shape[0]
    top, i = 0, n - 1
    while i >= 0:
        if flags[i, y, x] & UNUSABLE:
            i -= 1
            continue
        b = i
        while i >= 0 and not flags[i, y, x] & UNUSABLE:
            i -= 1
        stack[top, 0], stack[top, 1] = i + 1, b
        top += 1
    return top


@compiled
def _power(ramp: Floats, a: int, b: int, noise: np.float32) -> int:
    """Return the index of the power that suits the stretch's signal-to-noise ratio."""
    signal = max(ramp[b] - ramp[a], np.float32(0))
    ratio = signal / np.sqrt(noise + signal)
    p = 0
    for edge in (5, 10, 20, 50, 100):
        if ratio >= edge:
            p += 1
    return p


@compiled
def _slope(  # noqa: PLR0917 - as above
    ramp: Floats, weights: Floats, a: int, b: int, p: int
) -> np.float32:
    m = np.float32(0)
    for i in range(a, b + 1):
        m += weights[a, b, p, i] * ramp[i]
    return m


@compiled
def _jump(  # noqa: PLR0917 - as above
    ramp: Floats, times: Floats, a: int, b: int, m: np.float32, noise: np.float32, threshold: np.float32
) -> int:
    """Return the resultant before the most significant jump above the threshold, or -1."""
    rate = max(m, np.float32(0))
    limit = threshold - np.float32(JUMP_THRESHOLD_PER_DEX) * np.log10(
        min(max(m, np.float32(1)), np.float32(1e4))
    )
    # The slope was fitted to these very differences, which takes part of their variance.
    known = rate / (times[0, b] - times[0, a])
    best, where = limit, -1
    for i in range(a, b):
        for d in range(1, 3):
            j = i + d
            if j > b:
                break
            dt = times[0, j] - times[0, i]
            variance = noise * (np.float32(1) / times[2, j] + np.float32(1) / times[2, i])
            variance += rate * (times[1, j] + times[1, i] - 2 * times[0, i])
            variance = variance / (dt * dt) - known
            if variance <= 0:
                continue
            excess = ((ramp[j] - ramp[i]) / dt - m) / np.sqrt(variance)
            if excess > best:
                best, where = excess, i
    return where


@compiled
def _chi_squared(  # noqa: PLR0917 - as above
    ramp: Floats, times: Floats, a: int, b: int, m: np.float32, noise: np.float32, work: Floats
) -> np.float32:
    """Return χ² of the differences of a stretch about slope ``m``.

    Their covariance is tridiagonal (Brandt 2024, equations 7 to 9); solved by elimination in ``work``.
    """
    rate = max(m, np.float32(0))
    total = np.float32(0)
    diagonal, below, rest = work[0], work[1], work[2]
    for i in range(a, b):
        k = i - a
        pair = noise * (np.float32(1) / times[2, i] + np.float32(1) / times[2, i + 1])
        diagonal[k] = pair + rate * (times[1, i] + times[1, i + 1] - 2 * times[0, i])
        below[k] = -noise / times[2, i + 1] + rate * (times[0, i + 1] - times[1, i + 1])
        rest[k] = ramp[i + 1] - ramp[i] - m * (times[0, i + 1] - times[0, i])
        if k > 0:
            factor = below[k - 1] / diagonal[k - 1]
            diagonal[k] -= factor * below[k - 1]
            rest[k] -= factor * rest[k - 1]
        total += rest[k] * rest[k] / diagonal[k]
    return total


@compiled
def _store(  # noqa: PLR0917 - as above
    sums: Floats, gain: np.float32, planes: Floats, y: int, x: int
) -> Any:
    """Write one pixel's results in DN; 0/0 where no stretch was usable."""
    rate = sums[1] / sums[0]
    planes[0, y, x] = rate / gain
    planes[1, y, x] = np.float32(1) / sums[0] / (gain * gain)
    planes[2, y, x] = sums[2] / (sums[0] * sums[0]) * max(rate, np.float32(0)) / (gain * gain)
    planes[3, y, x] = sums[4]
    planes[4, y, x] = (sums[3] / sums[0] - rate) / gain
