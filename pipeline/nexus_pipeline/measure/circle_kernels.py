# ruff: noqa: PLR0917 - compiled code takes its arrays one by one
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

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(6)
_HEIGHTS: Final = _NODES / 2
_SHARES: Final = _WEIGHTS / 2
_SMALL: Final = 8.0


@compiled
def share_inside(dx: float, dy: float, radius: float) -> float:
    """Return the share of the pixel in the middle (dx, dy) that lies in a circle about the origin."""
    away = sqrt(dx * dx + dy * dy)
    if away >= radius + 0.7072:
        return 0.0
    if away <= radius - 0.7072:
        return 1.0
    if radius < _SMALL:
        above = _corner(dx + 0.5, dy + 0.5, radius) - _corner(dx - 0.5, dy + 0.5, radius)
        return above - _corner(dx + 0.5, dy - 0.5, radius) + _corner(dx - 0.5, dy - 0.5, radius)
    inside = 0.0
    for k in range(_HEIGHTS.size):
        rest = radius * radius - (dy + _HEIGHTS[k]) ** 2
        if rest > 0.0:
            half = sqrt(rest)
            inside += _SHARES[k] * max(min(dx + 0.5, half) - max(dx - 0.5, -half), 0.0)
    return inside


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
    """Write sums (n, radii) of light, and of variance by the square of a pixel's share and by its share."""
    ny, nx = image.shape
    most = np.max(radii)
    for k in range(x.size):
        flux[k], var[k], whole[k] = 0.0, 0.0, 0.0
        if not (abs(x[k]) < 1e6 and abs(y[k]) < 1e6):
            continue
        for j in range(max(floor(y[k] - most), 0), min(ceil(y[k] + most) + 1, ny)):
            for i in range(max(floor(x[k] - most), 0), min(ceil(x[k] + most) + 1, nx)):
                if not unusable[j, i]:
                    for r in range(radii.size):
                        share = share_inside(i - x[k], j - y[k], radii[r])
                        flux[k, r] += share * image[j, i]
                        var[k, r] += share * share * variance[j, i]
                        whole[k, r] += share * variance[j, i]


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
            for i in range(max(floor(x[k] - outer), 0), min(ceil(x[k] + outer) + 1, nx)):
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
    """Return the median of ``values``, which get sorted in part (Hoare's selection)."""
    n = values.size
    upper = _selected(values, n // 2)
    if n % 2:
        return upper
    lower = values[0]
    for k in range(1, n // 2):
        lower = max(lower, values[k])
    return 0.5 * (float(lower) + upper)


@compiled
def _selected(values: Plane, which: int) -> float:
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
