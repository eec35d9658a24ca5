# ruff: noqa: PLR0917 - compiled code takes its arrays one by one
"""Adaptive moments, compiled: those of the elliptical Gaussian that is shaped as what it weighs."""

from math import exp, floor, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled

Plane = NDArray[np.float32]
Floats = NDArray[np.float64]

_REACH: Final = 4.5
"""How far (σ) the weight is looked at: beyond it there is 4e-5 of its peak."""
_SQUARED_REACH: Final = 3.2
"""The same for the weight's square."""
_STEPS: Final = 60
_SETTLED: Final = 1e-5
"""Of the variance, and of its root for the centre."""
_LEAST_VARIANCE: Final = 0.1
_MOST_OF_STAMP: Final = 0.2
"""A source whose σ is a larger share of its stamp does not fit on it."""


@compiled
def adapted(light: Plane, start: Floats, out: Floats) -> None:
    """Write x, y, variances xx, xy, yy, sum in the weight and fourth moment into ``out`` (n, 7), or NaN.

    ``light`` are stamps (n, size, size), ``start`` (n, 5) where to begin; places count from the middle pixel,
    size // 2. The fourth moment is that of ρ over the light in the weight: 2 for a Gaussian.
    """
    sums = np.empty(7)
    for k in range(light.shape[0]):
        out[k] = np.nan
        x, y, xx, xy, yy = start[k, 0], start[k, 1], start[k, 2], start[k, 3], start[k, 4]
        most = (_MOST_OF_STAMP * light.shape[1]) ** 2
        for _ in range(_STEPS):
            size = xx + yy
            # Also false for NaN.
            if not (xx * yy - xy * xy > _LEAST_VARIANCE**2 and size < 2.0 * most):
                break
            if not (abs(x - start[k, 0]) < sqrt(size) and abs(y - start[k, 1]) < sqrt(size)):
                break
            _weighed(light[k], x, y, xx, xy, yy, sums)
            if not sums[0] > 0.0:
                break
            dx, dy = sums[1] / sums[0], sums[2] / sums[0]
            cxx, cxy, cyy = sums[3] / sums[0], sums[4] / sums[0], sums[5] / sums[0]
            step = abs(2.0 * cxx - xx) + abs(2.0 * cyy - yy) + abs(2.0 * cxy - xy)
            if step < _SETTLED * size and abs(dx) + abs(dy) < _SETTLED * sqrt(size):
                out[k, 0], out[k, 1] = x, y
                out[k, 2], out[k, 3], out[k, 4] = xx, xy, yy
                out[k, 5], out[k, 6] = sums[0], sums[6] / sums[0]
                break
            x, y = x + 2.0 * dx, y + 2.0 * dy
            xx, xy, yy = _next(xx, xy, yy, cxx, cxy, cyy)


@compiled
def _next(xx: float, xy: float, yy: float, cxx: float, cxy: float, cyy: float) -> tuple[float, float, float]:
    """Return the variances whose product with the weight's would have those seen, c: exact for a Gaussian.

    Where there are none, twice those seen: slower, but it leads there too.
    """
    weight, seen = xx * yy - xy * xy, cxx * cyy - cxy * cxy
    if seen > 0.0:
        a, b, c = cyy / seen - yy / weight, -cxy / seen + xy / weight, cxx / seen - xx / weight
        left = a * c - b * b
        if left > 0.0 and a > 0.0 and (a + c) / left < 2.0 * (xx + yy):
            return c / left, -b / left, a / left
    return 2.0 * cxx, 2.0 * cxy, 2.0 * cyy


@compiled
def _weighed(light: Plane, x: float, y: float, xx: float, xy: float, yy: float, sums: Floats) -> None:
    """Write sums of light in the weight: by 1, x, y, xx, xy, yy (about x, y), and ρ⁴."""
    size, middle = light.shape[0], light.shape[0] // 2
    determinant = xx * yy - xy * xy
    a, b, c = yy / determinant, -xy / determinant, xx / determinant
    wide, high = _REACH * sqrt(xx), _REACH * sqrt(yy)
    first, last = max(floor(x - wide) + middle, 0), min(floor(x + wide) + middle + 2, size)
    sums[:] = 0.0
    shrink = exp(-a)
    for j in range(max(floor(y - high) + middle, 0), min(floor(y + high) + middle + 2, size)):
        dy, dx = j - middle - y, first - middle - x
        # Along a row the weight goes on by factors that go on by a factor.
        w = exp(-0.5 * (a * dx * dx + 2.0 * b * dx * dy + c * dy * dy))
        factor = exp(-(a * (dx + 0.5) + b * dy))
        one, two, three, four = 0.0, 0.0, 0.0, 0.0
        for i in range(first, last):
            here = w * light[j, i]
            rho = a * dx * dx + 2.0 * b * dx * dy + c * dy * dy
            one += here
            two += here * dx
            three += here * dx * dx
            four += here * rho * rho
            w *= factor
            factor *= shrink
            dx += 1.0
        sums[0] += one
        sums[1] += two
        sums[2] += one * dy
        sums[3] += three
        sums[4] += two * dy
        sums[5] += one * dy * dy
        sums[6] += four


@compiled
def noise_of(variance: Plane, found: Floats, out: Floats) -> None:
    """Write (n, 2): the variance of the sums of w·(x² - y²) and of 2·w·x·y that ``variance`` makes."""
    for k in range(variance.shape[0]):
        out[k] = np.nan
        x, y, xx, xy, yy = found[k, 0], found[k, 1], found[k, 2], found[k, 3], found[k, 4]
        determinant = xx * yy - xy * xy
        if not determinant > 0.0:
            continue
        out[k] = 0.0
        size, middle = variance.shape[1], variance.shape[1] // 2
        wide, high = _SQUARED_REACH * sqrt(xx), _SQUARED_REACH * sqrt(yy)
        for j in range(max(floor(y - high) + middle, 0), min(floor(y + high) + middle + 2, size)):
            for i in range(max(floor(x - wide) + middle, 0), min(floor(x + wide) + middle + 2, size)):
                dx, dy = i - middle - x, j - middle - y
                rho = (yy * dx * dx - 2.0 * xy * dx * dy + xx * dy * dy) / determinant
                v = exp(-rho) * variance[k, j, i]
                out[k, 0] += v * (dx * dx - dy * dy) ** 2
                out[k, 1] += v * 4.0 * dx * dx * dy * dy
