# ruff: noqa: PLR0913, PLR0917 - compiled code takes its arrays one by one
"""Fluxes in circles and levels in rings about many positions, compiled.

A pixel that a circle cuts counts with the share of it inside: exact for small circles, by Gauss-Legendre over
its height for large ones, whose many cut pixels err either way.
"""

from math import asin, ceil, floor, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled

Plane = NDArray[np.float32]
Floats = NDArray[np.float64]

_HEIGHTS, _WEIGHTS = (each / 2 for each in np.polynomial.legendre.leggauss(6))
_SMALL: Final = 8.0
_MANY: Final = 256
_WIDENINGS, _HALVINGS = 60, 30
_CUT: Final = 0.7072
"""Half a pixel's diagonal: a pixel's middle so far from a circle is not cut by it."""


@compiled
def _shares(first: int, last: int, x: float, dy: float, radius: float, shares: Floats) -> None:
    """Write the shares of a row's pixels from ``first`` to before ``last`` in a circle about (x, -``dy``)."""
    if radius < _SMALL:
        before = _corner(first - x - 0.5, dy + 0.5, radius) - _corner(first - x - 0.5, dy - 0.5, radius)
        for i in range(first, last):
            after = _corner(i - x + 0.5, dy + 0.5, radius) - _corner(i - x + 0.5, dy - 0.5, radius)
            shares[i - first] = after - before
            before = after
        return
    shares[: last - first] = 0.0
    for k in range(_HEIGHTS.size):
        rest = radius * radius - (dy + _HEIGHTS[k]) ** 2
        half = sqrt(rest) if rest > 0.0 else 0.0
        for i in range(first, last):
            dx = i - x
            shares[i - first] += _WEIGHTS[k] * max(min(dx + 0.5, half) - max(dx - 0.5, -half), 0.0)


@compiled
def _corner(x: float, y: float, radius: float) -> float:
    """Return the area that a circle and the box from its middle to (x, y) share, signed as x · y is."""
    sign = 1.0 if x * y >= 0.0 else -1.0
    x, y = min(abs(x), radius), min(abs(y), radius)
    if x * x + y * y <= radius * radius:
        return sign * x * y
    flat = sqrt(radius * radius - y * y)
    return sign * (y * flat + _under(x, radius) - _under(flat, radius))


@compiled
def _under(x: float, radius: float) -> float:
    """Return the area under the circle's upper half from 0 to ``x``."""
    return 0.5 * (x * sqrt(max(radius * radius - x * x, 0.0)) + radius * radius * asin(min(x / radius, 1.0)))


@compiled
def circles(
    image: Plane,
    variance: Plane,
    unusable: NDArray[np.bool_],
    x: Floats,
    y: Floats,
    radii: Floats,
    flux: Floats,
    var: Floats,
    whole: Floats,
) -> None:
    """Write sums (n, radii) of light, and of variance by the square of a pixel's share and by its share.

    ``radii`` rise.
    """
    most = radii[-1]
    light, spread, shares = np.empty(radii.size), np.empty(radii.size), np.empty(2 * ceil(most) + 4)
    for k in range(x.size):
        flux[k], var[k], whole[k] = 0.0, 0.0, 0.0
        if not (abs(x[k]) < 1e6 and abs(y[k]) < 1e6):
            continue
        light[:], spread[:] = 0.0, 0.0
        for j in range(max(floor(y[k] - most), 0), min(ceil(y[k] + most) + 1, image.shape[0])):
            _row(
                image, variance, unusable, j, x[k], j - y[k], radii, shares,
                light, spread, flux[k], var[k], whole[k],
            )  # fmt: skip
        inside, noise = 0.0, 0.0
        for r in range(radii.size):
            inside += light[r]
            noise += spread[r]
            flux[k, r] += inside
            var[k, r] += noise
            whole[k, r] += noise


@compiled
def _row(
    image: Plane,
    variance: Plane,
    unusable: NDArray[np.bool_],
    j: int,
    x: float,
    dy: float,
    radii: Floats,
    shares: Floats,
    light: Floats,
    spread: Floats,
    flux: Floats,
    var: Floats,
    whole: Floats,
) -> None:
    """Add row ``j``: cut pixels to ``flux`` and variances, whole ones to ``light`` and ``spread``.

    The latter only for the smallest circle that they are whole in.
    """
    done_first, done_last = 0, -1
    for r in range(radii.size):
        first, last = _chord(x, dy, radii[r] + _CUT, image.shape[1])
        in_first, in_last = _chord(x, dy, radii[r] - _CUT, image.shape[1])
        in_first, in_last = (in_first, in_last) if in_first <= in_last else (last + 1, last)
        for a, b in ((first, in_first), (in_last + 1, last + 1)):
            if a < b:
                _shares(a, b, x, dy, radii[r], shares)
            for i in range(a, b):
                if not unusable[j, i]:
                    share = shares[i - a]
                    flux[r] += share * image[j, i]
                    var[r] += share * share * variance[j, i]
                    whole[r] += share * variance[j, i]
        done_first, done_last = (done_first, done_last) if done_first <= done_last else (in_last + 1, in_last)
        for a, b in ((in_first, done_first), (done_last + 1, in_last + 1)):
            for i in range(a, b):
                if not unusable[j, i]:
                    light[r] += image[j, i]
                    spread[r] += variance[j, i]
        done_first, done_last = in_first, in_last


@compiled
def _chord(x: float, dy: float, radius: float, nx: int) -> tuple[int, int]:
    """Return the first and last pixel whose middles lie in a circle about ``x``, ``dy`` rows from its own."""
    rest = radius * radius - dy * dy
    if radius <= 0.0 or rest < 0.0:
        return 0, -1
    half = sqrt(rest)
    return max(ceil(x - half), 0), min(floor(x + half), nx - 1)


@compiled
def rings(
    image: Plane,
    masked: NDArray[np.bool_],
    x: Floats,
    y: Floats,
    inner: float,
    outer: float,
    level: Floats,
    width: Floats,
    n_pixels: NDArray[np.int64],
) -> None:
    """Write median, standard deviation and number of the pixels whose middles lie in each ring."""
    ny, nx = image.shape
    room = np.empty(int(3.5 * (outer * outer - inner * inner)) + 8 * int(outer) + 64, np.float32)
    for k in range(x.size):
        level[k], width[k], n_pixels[k] = 0.0, 0.0, 0
        if not (abs(x[k]) < 1e6 and abs(y[k]) < 1e6):
            continue
        n, total, squares = 0, 0.0, 0.0
        for j in range(max(floor(y[k] - outer), 0), min(ceil(y[k] + outer) + 1, ny)):
            across = (j - y[k]) ** 2
            first, last = _chord(x[k], j - y[k], outer, nx)
            hole_first, hole_last = _chord(x[k], j - y[k], inner - 1e-6, nx)
            for a, b in ((first, min(hole_first, last + 1)), (max(hole_last + 1, first), last + 1)):
                for i in range(a, b):
                    away = across + (i - x[k]) ** 2
                    if inner * inner <= away < outer * outer and not masked[j, i]:
                        room[n] = image[j, i]
                        n += 1
                        total += image[j, i]
                        squares += image[j, i] * image[j, i]
        if n > 0:
            level[k] = middle_of(room[:n])
            width[k] = sqrt(max(squares / n - (total / n) ** 2, 0.0))
            n_pixels[k] = n


@compiled
def middle_of(values: Plane) -> float:
    """Return the median of ``values``, which may change places.

    Of many, counting tells between which two values it lies: that is cheaper than sorting.
    """
    n = values.size
    low, high, below, to = _bracket(values) if n >= _MANY else (np.float32(0.0), np.float32(0.0), n, 0)
    if not below < n // 2 < to:
        return _middle(values, n // 2, n % 2 == 1)
    for _ in range(_HALVINGS):
        half = np.float32(0.5 * (low + high))
        up_to = _count_below(values, half)
        if up_to < n // 2:
            low, below = half, up_to
        elif up_to > n // 2:
            high, to = half, up_to
        if to - below < _MANY // 4 or up_to == n // 2:
            break
    inside = 0
    for k in range(n):
        if low <= values[k] < high:
            values[inside], values[k] = values[k], values[inside]
            inside += 1
    return _middle(values[:inside], n // 2 - below, n % 2 == 1)


@compiled
def _bracket(values: Plane) -> tuple[np.float32, np.float32, int, int]:
    """Return two values about the median, by that of a sample, and how many are below each."""
    some = values[:: values.size // (_MANY // 4)].copy()
    quarter, guess = selected(some, some.size // 4), selected(some, some.size // 2)
    reach = 0.5 * max(guess - quarter, 1e-30)
    low, high, below, to = np.float32(guess), np.float32(guess), values.size, 0
    for _ in range(_WIDENINGS):
        low, high = np.float32(guess - reach), np.float32(guess + reach)
        below, to = _count_below(values, low), _count_below(values, high)
        if below < values.size // 2 < to:
            break
        reach *= 4.0
    return low, high, below, to


@compiled
def _count_below(values: Plane, limit: np.float32) -> int:
    n = 0
    for k in range(values.size):
        n += values[k] < limit
    return n


@compiled
def _middle(values: Plane, rank: int, odd: bool) -> float:
    """Return the value that would be at ``rank`` in order, its mean with the one before unless ``odd``."""
    upper = selected(values, rank)
    if odd or rank == 0:
        return upper
    lower = values[0]
    for k in range(1, rank):
        lower = max(lower, values[k])
    return 0.5 * (float(lower) + upper)


@compiled
def selected(values: Plane, which: int) -> float:
    """Return the value that would be at ``which`` in order; no larger ones are left before it."""
    low, high = 0, values.size - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if which <= j:
            high = j
        elif which >= i:
            low = i
        else:
            break
    return float(values[which])
