# ruff: noqa: PLR0913, PLR0917 - compiled code takes its arrays one by one
"""One pixel's ramp by Casertano's weights, stretch by stretch between jumps and flags.

For the few ramps that ``steps.ramp_casertano`` can't take as a whole.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled
from nexus_pipeline.steps.ramp_planes import JUMP, KNOWN_JUMP, UNUSABLE, Floats

JUMP_THRESHOLD_PER_DEX: Final = 1 / 3


@compiled
def fit_stretches(
    ramp: Floats,
    flags: NDArray[np.uint8],
    gain: np.float32,
    noise: np.float32,
    times: Floats,
    slope_weights: Floats,
    read_factors: Floats,
    poisson_factors: Floats,
    threshold: np.float32,
    stack: NDArray[np.int64],
    work: Floats,
    sums: Floats,
    jumps: NDArray[np.uint8],
    planes: Floats,
) -> Any:
    """Write one pixel's ``planes`` (5,) and ``jumps`` (n,), its ramp (n,) in electrons."""
    top = _usable_stretches(flags, stack)
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
            jumps[split + 1] |= np.uint8(JUMP)
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
    _store(sums, gain, planes)


@compiled
def _usable_stretches(flags: NDArray[np.uint8], stack: NDArray[np.int64]) -> int:
    """Put the runs of usable resultants on ``stack`` (first, last), the earliest on top; return how many."""
    n = flags.shape[0]
    top, i = 0, n - 1
    while i >= 0:
        if _left_out(flags, i):
            i -= 1
            continue
        b = i
        while i >= 0 and not _left_out(flags, i):
            i -= 1
        stack[top, 0], stack[top, 1] = i + 1, b
        top += 1
    return top


@compiled
def _left_out(flags: NDArray[np.uint8], i: int) -> bool:
    """Say whether a resultant may not be used, a known jump about it included: that spoils two."""
    after = flags[i + 1] if i + 1 < flags.size else np.uint8(0)
    return bool(flags[i] & (UNUSABLE | KNOWN_JUMP) | after & KNOWN_JUMP)


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
def _slope(ramp: Floats, weights: Floats, a: int, b: int, p: int) -> np.float32:
    m = np.float32(0)
    for i in range(a, b + 1):
        m += weights[a, b, p, i] * ramp[i]
    return m


@compiled
def _jump(
    ramp: Floats, times: Floats, a: int, b: int, m: np.float32, noise: np.float32, threshold: np.float32
) -> int:
    """Return the resultant before the most significant jump above the threshold, or -1."""
    rate = max(m, np.float32(0))
    limit = jump_limit(m, threshold)
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
def jump_limit(slope: np.float32, threshold: np.float32) -> np.float32:
    """Return the σ beyond which a difference is a jump in a ramp of ``slope`` electrons/s."""
    dex: np.float32 = np.log10(min(max(slope, np.float32(1)), np.float32(1e4)))
    return threshold - np.float32(JUMP_THRESHOLD_PER_DEX) * dex


@compiled
def _chi_squared(
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
def _store(sums: Floats, gain: np.float32, planes: Floats) -> Any:
    """Write one pixel's results in DN; 0/0 where no stretch was usable."""
    rate = sums[1] / sums[0]
    planes[0] = rate / gain
    planes[1] = np.float32(1) / sums[0] / (gain * gain)
    planes[2] = sums[2] / (sums[0] * sums[0]) * max(rate, np.float32(0)) / (gain * gain)
    planes[3] = sums[4]
    planes[4] = (sums[3] / sums[0] - rate) / gain
