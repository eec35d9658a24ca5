# ruff: noqa: PLR0913, PLR0917 - compiled code takes its arrays one by one
"""The compiled part of ``psf.fit``: one source's window, and damped Gauss-Newton on it."""

from math import floor, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled
from nexus_pipeline.psf import kernels

Floats = NDArray[np.float64]

WINDOW_RADIUS: Final = 4
"""Pixels about the source that are fitted: 81 of them, 90 % of the light."""
MAX_STEPS: Final = 25
MAX_SHIFT: Final = 1.5


@compiled
def fit_block(
    image: NDArray[np.float32],
    background: NDArray[np.float32],
    extra_variance: NDArray[np.float32],
    usable: NDArray[np.bool_],
    stamps: NDArray[np.float32],
    xs: Floats,
    ys: Floats,
    oversample: int,
    level: Floats,
    variance: Floats,
    start: Floats,
    free: bool,
    out: Floats,
) -> None:
    corners, blend_weights = np.empty(4, np.int64), np.empty(4)
    size = 2 * WINDOW_RADIUS + 1
    data = np.empty((size, size))
    sky, value = np.empty((size, size)), np.empty((size, size))
    extra = np.empty((size, size))
    dx, dy = np.empty((size, size)), np.empty((size, size))
    for k in range(start.shape[0]):
        column, row = floor(start[k, 1] + 0.5), floor(start[k, 2] + 0.5)
        kernels.corners_at(start[k, 1], start[k, 2], xs, ys, corners, blend_weights)
        half_nodes = (WINDOW_RADIUS + 4) * oversample
        coefficients = kernels.blend(stamps, corners, blend_weights, half_nodes)
        n_used = _cut(image, background, extra_variance, usable, column, row, data, sky, extra)
        # A source whose own flux was taken off the image with the others' gets it back first.
        flux, x, y = start[k, 0], start[k, 1] - column, start[k, 2] - row
        if flux != 0.0:
            kernels.sample(coefficients, oversample, x, y, value, dx, dy)
            for j in range(size):
                for i in range(size):
                    data[j, i] += flux * value[j, i]
        _fit_one(
            data,
            sky,
            extra,
            coefficients,
            oversample,
            level,
            variance,
            flux,
            x,
            y,
            free,
            value,
            dx,
            dy,
            out[k],
        )
        out[k, 1] += column
        out[k, 2] += row
        out[k, 7] = n_used


@compiled
def _cut(
    image: NDArray[np.float32],
    background: NDArray[np.float32],
    extra_variance: NDArray[np.float32],
    usable: NDArray[np.bool_],
    column: int,
    row: int,
    data: Floats,
    sky: Floats,
    extra: Floats,
) -> int:
    """Write the window into ``data`` (NaN: unusable), ``sky`` and ``extra``; return how many are usable."""
    n_used, half = 0, data.shape[0] // 2
    for j in range(data.shape[0]):
        for i in range(data.shape[1]):
            r, c = row + j - half, column + i - half
            data[j, i], sky[j, i], extra[j, i] = np.nan, 0.0, 0.0
            if r < 0 or c < 0 or r >= image.shape[0] or c >= image.shape[1]:
                continue
            if usable[r, c] and np.isfinite(image[r, c]):
                data[j, i], sky[j, i] = image[r, c], background[r, c]
                extra[j, i] = extra_variance[r, c]
                n_used += 1
    return n_used


@compiled
def _interpolate(level: Floats, variance: Floats, at: float) -> float:
    i = 1
    while i < level.size - 1 and level[i] < at:
        i += 1
    share = max((at - level[i - 1]) / (level[i] - level[i - 1]), 0.0)
    return float(variance[i - 1] + share * (variance[i] - variance[i - 1]))


@compiled
def _fit_one(
    data: Floats,
    sky: Floats,
    extra: Floats,
    coefficients: Floats,
    oversample: int,
    level: Floats,
    variance: Floats,
    flux: float,
    x: float,
    y: float,
    free: bool,
    value: Floats,
    dx: Floats,
    dy: Floats,
    out: Floats,
) -> None:
    """Write flux, x, y, their errors, reduced χ², and whether it converged: damped Gauss-Newton.

    Unless ``free``, the position stays and the flux may be negative.
    """
    x0, y0 = x, y
    converged = False
    normal, right = np.zeros((3, 3)), np.zeros(3)
    chi2, n = 0.0, 0
    for step in range(MAX_STEPS):
        kernels.sample(coefficients, oversample, x, y, value, dx, dy)
        if step == 0 and flux == 0.0:
            flux = _linear_flux(data, sky, extra, value, level, variance)
        chi2, n = _normal_equations(data, sky, extra, value, dx, dy, flux, level, variance, normal, right)
        determinant = _solve(normal, right) if free else _solve_flux(normal, right)
        if n < 6 or not determinant > 0.0:
            break
        shift = max(abs(right[1]), abs(right[2]))
        damp = 1.0 if shift < 0.5 else 0.5 / shift
        flux, x, y = flux + right[0], x + damp * right[1], y + damp * right[2]
        if abs(x - x0) > MAX_SHIFT or abs(y - y0) > MAX_SHIFT or (free and not flux > 0.0):
            break
        if shift < 1e-4 and abs(right[0]) < 1e-4 * sqrt(max(normal[0, 0], 1e-300)) + 1e-5 * abs(flux):
            converged = True
            break
    out[0], out[1], out[2] = flux, x, y
    for k in range(3):
        out[3 + k] = sqrt(max(normal[k, k], 0.0)) if converged else np.nan
    out[6] = chi2 / max(n - (3 if free else 1), 1)
    out[8] = 1.0 if converged else 0.0


@compiled
def _linear_flux(
    data: Floats, sky: Floats, extra: Floats, value: Floats, level: Floats, variance: Floats
) -> float:
    above, below = 0.0, 1e-300
    for j in range(data.shape[0]):
        for i in range(data.shape[1]):
            if np.isfinite(data[j, i]):
                w = value[j, i] / (_interpolate(level, variance, sky[j, i]) + extra[j, i])
                above += w * data[j, i]
                below += w * value[j, i]
    return above / below


@compiled
def _normal_equations(
    data: Floats,
    sky: Floats,
    extra: Floats,
    value: Floats,
    dx: Floats,
    dy: Floats,
    flux: float,
    level: Floats,
    variance: Floats,
    normal: Floats,
    right: Floats,
) -> tuple[float, int]:
    """Write the 3×3 normal matrix and right-hand side; return χ² and the number of pixels."""
    normal[:], right[:] = 0.0, 0.0
    chi2, n = 0.0, 0
    slope = np.empty(3)
    for j in range(data.shape[0]):
        for i in range(data.shape[1]):
            if not np.isfinite(data[j, i]):
                continue
            expected = sky[j, i] + max(flux * value[j, i], 0.0)
            w = 1.0 / (_interpolate(level, variance, expected) + extra[j, i])
            slope[0], slope[1], slope[2] = value[j, i], flux * dx[j, i], flux * dy[j, i]
            rest = data[j, i] - flux * value[j, i]
            chi2 += w * rest * rest
            n += 1
            for a in range(3):
                right[a] += w * slope[a] * rest
                for b in range(3):
                    normal[a, b] += w * slope[a] * slope[b]
    return chi2, n


@compiled
def _solve(normal: Floats, right: Floats) -> float:
    """Put covariance and step in place of ``normal`` and ``right``; return the determinant."""
    a, b, c = normal[0, 0], normal[0, 1], normal[0, 2]
    d, e, f = normal[1, 1], normal[1, 2], normal[2, 2]
    determinant = a * (d * f - e * e) - b * (b * f - c * e) + c * (b * e - c * d)
    # Cauchy-Schwarz bounds it by the diagonal's product: relative to that, zero means singular.
    if not determinant > 1e-12 * a * d * f:
        return 0.0
    inverse = np.empty((3, 3))
    inverse[0, 0], inverse[0, 1], inverse[0, 2] = d * f - e * e, c * e - b * f, b * e - c * d
    inverse[1, 1], inverse[1, 2], inverse[2, 2] = a * f - c * c, b * c - a * e, a * d - b * b
    inverse[1, 0], inverse[2, 0], inverse[2, 1] = inverse[0, 1], inverse[0, 2], inverse[1, 2]
    inverse /= determinant
    step = inverse @ right
    normal[:], right[:] = inverse, step
    return float(determinant)


@compiled
def _solve_flux(normal: Floats, right: Floats) -> float:
    """As ``_solve`` for the flux alone: positions do not move and have no error."""
    weight, step = normal[0, 0], right[0]
    normal[:], right[:] = 0.0, 0.0
    if weight > 0.0:
        normal[0, 0], right[0] = 1.0 / weight, step / weight
    return float(weight)
