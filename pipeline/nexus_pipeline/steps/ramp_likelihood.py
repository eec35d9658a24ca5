"""Likelihood ramp fit and jump search (Brandt 2024), for a band of rows.

Sources: Brandt 2024, PASP 136, 045004 (the fit) and 045005 (jumps); rules of choice as in stcal
1.20 ``likely_fit``. The differences of neighbouring resultants, per second, have a tridiagonal
covariance; it is eliminated forwards and backwards for many pixels of a row at once. Leaving out
a difference is the same as fitting a number of its own to it, so that one solution gives the χ²
without each difference and without each neighbouring pair.
"""

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled
from nexus_pipeline.instrument.ma_table import MATable
from nexus_pipeline.products.model import WorkingRamp
from nexus_pipeline.steps.ramp_planes import JUMP, KNOWN_JUMP, UNUSABLE, Floats

# Pixels solved together: for nine resultants their scratch of 55 kB stays in a core's own caches.
_BLOCK: Final = 128
# χ² improvements whose determinant is lost in rounding say nothing.
_DEGENERATE: Final = np.float32(1e-5)


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
    factors = covariance_factors(ramp.meta.ma_table)
    limits = jump_limits(threshold, ramp.meta.ma_table)

    def fit(first: int, last: int) -> None:
        _fit_rows(
            ramp.data, ramp.resultant_dq, gain, read_noise, factors, limits, planes, dq, jumps,
            first, last,
        )  # fmt: skip

    return fit


def covariance_factors(table: MATable) -> Floats:
    """Return (5, n - 1): what makes resultants (DN) differences per second and their covariance.

    1/Δt; then of (read noise)² and of rate/gain: the variance of a difference, and its covariance
    with the difference before (0 for the first). Brandt 2024, equations 5, 28 and 29; times in seconds.
    """
    mean, tau, reads = table.mean_times_s, table.variance_times_s, table.reads_per_resultant
    step = np.diff(mean)
    factors = np.zeros((5, len(step)))
    factors[0] = 1 / step
    factors[1] = (1 / reads[:-1] + 1 / reads[1:]) / step**2
    factors[2] = (tau[:-1] + tau[1:] - 2 * mean[:-1]) / step**2
    factors[3, 1:] = -1 / (reads[1:-1] * step[1:] * step[:-1])
    factors[4, 1:] = (mean[1:-1] - tau[1:-1]) / (step[1:] * step[:-1])
    return factors.astype(np.float32)


def jump_limits(threshold_sigma: float, table: MATable) -> Floats:
    """Return (2, n - 1): the χ² that leaving out difference k, or k and k + 1, must save.

    Both are as improbable as ``threshold_sigma`` of a Gaussian (χ² of one and of two degrees of freedom).
    A jump within a resultant of several reads spoils both differences; one between single reads only one.
    """
    one = threshold_sigma**2
    improbable = math.erfc(threshold_sigma / math.sqrt(2))
    two = -2 * math.log(improbable) if improbable > 0 else one + 10
    limits = np.full((2, table.n_resultants - 1), np.inf)
    limits[0] = one
    limits[1, :-1] = np.where(table.reads_per_resultant[1:-1] > 1, two, np.inf)
    return limits.astype(np.float32)


@compiled
def _fit_rows(  # noqa: PLR0917 - numba takes no keyword-only arguments
    data: Floats,
    flags: NDArray[np.uint8],
    gain: Floats,
    read_noise: Floats,
    factors: Floats,
    limits: Floats,
    planes: Floats,
    dq: NDArray[np.uint32],
    jumps: NDArray[np.uint8],
    first: int,
    last: int,
) -> Any:
    """Write ``planes`` and add to ``dq`` and ``jumps`` for rows ``first`` to ``last``."""
    n, nx = factors.shape[1], data.shape[2]
    scratch = np.empty((3, n, _BLOCK), np.float32)
    rest, use, ordered = scratch[0], scratch[1], scratch[2]
    work, sums = np.empty((10, n, _BLOCK), np.float32), np.empty((5, _BLOCK), np.float32)
    pixels = np.ones((3, _BLOCK), np.float32)
    centre, guess, noise = pixels[0], pixels[1], pixels[2]
    left = np.empty(_BLOCK, np.int64)
    for y in range(first, last):
        for start in range(0, nx, _BLOCK):
            width = min(_BLOCK, nx - start)
            _differences(data, flags, factors, y, start, width, rest, use, left)
            _centre(rest, use, left, ordered, centre)
            for x in range(width):
                noise[x] = read_noise[y, start + x] ** 2
                guess[x] = max(centre[x], np.float32(0)) / gain[y, start + x]
            _leave_out_jumps(
                rest, use, left, guess, noise, factors, limits, work, sums, dq[y, start : start + width],
                jumps[:, y, start : start + width],
            )  # fmt: skip
            for x in range(width):
                guess[x] = max(centre[x] + sums[1, x] / sums[2, x], np.float32(0)) / gain[y, start + x]
            _eliminate(rest, use, guess, noise, factors, work, sums)
            _substitute(work)
            _store(centre, guess, noise, factors, work, sums, planes[:, y, start : start + width])
            for x in range(width):
                guess[x] = 0
            _eliminate(rest, use, guess, noise, factors, work, sums)
            for x in range(width):
                planes[4, y, start + x] = centre[x] + sums[1, x] / sums[2, x] - planes[0, y, start + x]


@compiled
def _differences(  # noqa: PLR0917 - as above
    data: Floats,
    flags: NDArray[np.uint8],
    factors: Floats,
    y: int,
    start: int,
    width: int,
    rest: Floats,
    use: Floats,
    left: NDArray[np.int64],
) -> Any:
    """Write the differences per second, 1 where they may be used (else both 0), and how many may."""
    left[:] = 0
    for k in range(rest.shape[0]):
        rest[k], use[k] = 0, 0
        for x in range(width):
            value = (data[k + 1, y, start + x] - data[k, y, start + x]) * factors[0, k]
            bad = (flags[k, y, start + x] | flags[k + 1, y, start + x]) & UNUSABLE
            bad |= flags[k + 1, y, start + x] & KNOWN_JUMP
            if not bad and np.isfinite(value):
                rest[k, x], use[k, x] = value, 1
                left[x] += 1


@compiled
def _centre(  # noqa: PLR0917 - as above
    rest: Floats, use: Floats, left: NDArray[np.int64], ordered: Floats, centre: Floats
) -> Any:
    """Write the median of the usable differences and take it from them.

    A median, for a jump must not move it; taken off, so that single precision holds the noise.
    """
    n, width = rest.shape
    for k in range(n):
        for x in range(width):
            ordered[k, x] = rest[k, x] if use[k, x] > 0 else np.float32(np.inf)
    for turn in range(n):
        for k in range(turn % 2, n - 1, 2):
            upper, lower = ordered[k], ordered[k + 1]
            for x in range(width):
                a, b = upper[x], lower[x]
                upper[x], lower[x] = min(a, b), max(a, b)
    for x in range(width):
        middle = ordered[max(left[x] - 1, 0) // 2, x] + ordered[left[x] // 2 if left[x] < n else n // 2, x]
        centre[x] = middle / np.float32(2) if left[x] > 0 else np.float32(0)
    for k in range(n):
        for x in range(width):
            rest[k, x] -= centre[x] * use[k, x]


@compiled
def _leave_out_jumps(  # noqa: PLR0917 - as above
    rest: Floats,
    use: Floats,
    left: NDArray[np.int64],
    guess: Floats,
    noise: Floats,
    factors: Floats,
    limits: Floats,
    work: Floats,
    sums: Floats,
    dq: NDArray[np.uint32],
    jumps: NDArray[np.uint8],
) -> Any:
    """Take differences with jumps out of ``use`` until none is left to find; ``sums`` are of what stays."""
    width = rest.shape[1]
    best, where = np.empty(width, np.float32), np.empty(width, np.int32)
    searched = left >= 3
    found = True
    while found:
        _eliminate(rest, use, guess, noise, factors, work, sums)
        found = False
        if not searched.any() or limits[0, 0] == np.inf:
            break
        _substitute(work)
        _search(use, left, limits, work, sums, best, where)
        for x in range(dq.shape[0]):
            searched[x] = searched[x] and best[x] > 0
            if searched[x]:
                found = True
                dq[x] |= JUMP
                _leave_out(rest, use, left, where[x], x, jumps)
                # Of two differences that disagree nobody can tell the good one.
                searched[x] = left[x] > 3


@compiled
def _leave_out(  # noqa: PLR0917 - as above
    rest: Floats, use: Floats, left: NDArray[np.int64], where: int, x: int, jumps: NDArray[np.uint8]
) -> Any:
    """Leave out one difference, or two where ``where`` is beyond the last.

    The later resultant of a difference is said to have the jump, as stcal has it.
    """
    n = rest.shape[0]
    first = where % n
    for k in range(first, first + 1 + where // n):
        rest[k, x], use[k, x] = 0, 0
        left[x] -= 1
        jumps[k + 1, x] |= np.uint8(JUMP)


# Rows of ``work``: below the diagonal, its factor, inverse pivots, eliminated differences and ones (those
# five forwards); inverse × ones, inverse × differences, diagonal and off-diagonal of the inverse
# (backwards); one of the search. Loops write one array each: more, and the compiler's alias
# checks keep it from using vector instructions.


@compiled
def _eliminate(  # noqa: PLR0917 - as above
    rest: Floats, use: Floats, guess: Floats, noise: Floats, factors: Floats, work: Floats, sums: Floats
) -> Any:
    """Write the forward elimination, and d·C⁻¹·d, d·C⁻¹·1, 1·C⁻¹·1 into ``sums``."""
    n, width = rest.shape
    sums[:3] = 0
    for k in range(n):
        below, low, inverse, y, z = work[0, k], work[1, k], work[2, k], work[3, k], work[4, k]
        before, y_before, z_before = work[2, max(k - 1, 0)], work[3, max(k - 1, 0)], work[4, max(k - 1, 0)]
        used, used_before, value = use[k], use[max(k - 1, 0)], rest[k]
        _, read, photon, read_below, photon_below = factors[:, k]
        for x in range(width):
            below[x] = (noise[x] * read_below + guess[x] * photon_below) * used[x] * used_before[x]
        if k == 0:
            low[:] = 0
            y[:] = value
            z[:] = used
        for x in range(width if k > 0 else 0):
            low[x] = below[x] * before[x]
        for x in range(width):
            inverse[x] = np.float32(1) / (noise[x] * read + guess[x] * photon - low[x] * below[x])
        for x in range(width if k > 0 else 0):
            y[x] = value[x] - low[x] * y_before[x]
        for x in range(width if k > 0 else 0):
            z[x] = used[x] - low[x] * z_before[x]
        _add(sums[0], y, y, inverse)
        _add(sums[1], y, z, inverse)
        _add(sums[2], z, z, inverse)


@compiled
def _add(total: Floats, a: Floats, b: Floats, c: Floats) -> Any:
    for x in range(total.shape[0]):
        total[x] += a[x] * b[x] * c[x]


@compiled
def _substitute(work: Floats) -> Any:
    """Write the backward substitution and the diagonals of the inverse covariance."""
    n, width = work.shape[1:]
    for k in range(n - 1, -1, -1):
        inverse = work[2, k]
        if k == n - 1:
            work[5, k] = work[4, k] * inverse
            work[6, k] = work[3, k] * inverse
            work[7, k] = inverse
            work[8, k] = 0
            continue
        low, diagonal, off = work[1, k + 1], work[7, k], work[8, k]
        diagonal_after = work[7, k + 1]
        for source, target in ((4, 5), (3, 6)):
            forward, result, after = work[source, k], work[target, k], work[target, k + 1]
            for x in range(width):
                result[x] = forward[x] * inverse[x] - low[x] * after[x]
        for x in range(width):
            off[x] = -low[x] * diagonal_after[x]
        for x in range(width):
            diagonal[x] = inverse[x] - low[x] * off[x]


@compiled
def _search(  # noqa: PLR0917 - as above
    use: Floats,
    left: NDArray[np.int64],
    limits: Floats,
    work: Floats,
    sums: Floats,
    best: Floats,
    where: NDArray[np.int32],
) -> Any:
    """Write the most χ² saved beyond its limit and by what: difference k, or n + k for k and k + 1."""
    n, width = use.shape
    ones, values, diagonal, spread = work[5], work[6], work[7], work[9]
    slope, share = sums[3], sums[4]
    best[:] = -1
    where[:] = 0
    for x in range(width):
        share[x] = np.float32(1) / sums[2, x]
        slope[x] = sums[1, x] * share[x]
    for k in range(n):
        for x in range(width):
            values[k, x] -= slope[x] * ones[k, x]
        for x in range(width):
            spread[k, x] = diagonal[k, x] - ones[k, x] * ones[k, x] * share[x]
        for x in range(width):
            gain = values[k, x] * values[k, x] / spread[k, x] - limits[0, k]
            if use[k, x] > 0 and spread[k, x] > _DEGENERATE * diagonal[k, x] and gain > best[x]:
                best[x], where[x] = gain, k
    _search_pairs(use, left, limits, work, share, best, where)


@compiled
def _search_pairs(  # noqa: PLR0917 - as above
    use: Floats,
    left: NDArray[np.int64],
    limits: Floats,
    work: Floats,
    share: Floats,
    best: Floats,
    where: NDArray[np.int32],
) -> Any:
    """Go on with neighbouring pairs.

    With only three differences left none is tried: whichever goes, the one that stays fits.
    """
    n, width = use.shape
    ones, values, off, spread = work[5], work[6], work[8], work[9]
    for k in range(n - 1):
        if limits[1, k] == np.inf:
            continue
        for x in range(width):
            a, b = spread[k, x], spread[k + 1, x]
            c = off[k, x] - ones[k, x] * ones[k + 1, x] * share[x]
            p, q = values[k, x], values[k + 1, x]
            det = a * b - c * c
            gain = (p * p * b - np.float32(2) * p * q * c + q * q * a) / det - limits[1, k]
            both = use[k, x] * use[k + 1, x] > 0 and left[x] > 3
            if both and det > _DEGENERATE * a * b and gain > best[x]:
                best[x], where[x] = gain, n + k


@compiled
def _store(  # noqa: PLR0917 - as above
    centre: Floats, guess: Floats, noise: Floats, factors: Floats, work: Floats, sums: Floats, planes: Floats
) -> Any:
    """Write rate, variances (DN²/s²) and χ² of a block."""
    n, width = factors.shape[1], planes.shape[1]
    ones, read, photon = work[5], sums[3], sums[4]
    read[:], photon[:] = 0, 0
    for k in range(n):
        for x in range(width):
            square = ones[k, x] * ones[k, x]
            product = np.float32(2) * ones[k, x] * ones[k - 1, x] if k > 0 else np.float32(0)
            read[x] += factors[1, k] * square + factors[3, k] * product
            photon[x] += factors[2, k] * square + factors[4, k] * product
    for x in range(width):
        share = np.float32(1) / sums[2, x]
        planes[0, x] = centre[x] + sums[1, x] * share
        planes[1, x] = read[x] * noise[x] * share * share
        planes[2, x] = photon[x] * guess[x] * share * share
        planes[3, x] = max(sums[0, x] - sums[1, x] * sums[1, x] * share, np.float32(0))
