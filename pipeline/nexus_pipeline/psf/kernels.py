# ruff: noqa: PLR0917 - compiled code takes its arrays one by one
"""Compiled sampling of an oversampled ePSF kept as cubic B-spline coefficients.

Between its nodes the spline reproduces a four-fold oversampled ePSF to 2e-4 of the peak in F158, where
the optics leave nothing near the nodes' Nyquist limit, and to 4e-3 in F062, where they do.
"""

from math import floor

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled

Floats = NDArray[np.float64]


@compiled
def basis(fraction: float, values: Floats, slopes: Floats) -> None:
    """Write the four cubic B-spline weights and their derivatives at ``fraction`` of a node step."""
    rest = 1.0 - fraction
    values[0] = rest * rest * rest / 6.0
    values[1] = (4.0 - 6.0 * fraction * fraction + 3.0 * fraction**3) / 6.0
    values[2] = (4.0 - 6.0 * rest * rest + 3.0 * rest**3) / 6.0
    values[3] = fraction * fraction * fraction / 6.0
    slopes[0] = -rest * rest / 2.0
    slopes[1] = fraction * (3.0 * fraction - 4.0) / 2.0
    slopes[2] = -rest * (3.0 * rest - 4.0) / 2.0
    slopes[3] = fraction * fraction / 2.0


@compiled
def sample(
    coefficients: Floats,
    oversample: int,
    x: float,
    y: float,
    value: Floats,
    dx: Floats,
    dy: Floats,
) -> None:
    """Write the ePSF and its derivatives by source position into ``value``, ``dx``, ``dy``.

    The three outputs share one odd square shape; the source lies ``x``, ``y`` pixels (|·| ≤ 1.5) from
    the middle of that window. Beyond the stamp the ePSF is zero.
    """
    size, half = coefficients.shape[0], value.shape[0] // 2
    middle = (size - 1) / 2
    wx, sx, wy, sy = np.empty(4), np.empty(4), np.empty(4), np.empty(4)
    # Pixels are whole node steps apart, so the fractions are the same for all of them.
    first_u = middle - (half + x) * oversample
    first_v = middle - (half + y) * oversample
    column, row = floor(first_u), floor(first_v)
    basis(first_u - column, wx, sx)
    basis(first_v - row, wy, sy)
    for j in range(value.shape[0]):
        r = row + j * oversample - 1
        for i in range(value.shape[1]):
            c = column + i * oversample - 1
            value[j, i] = dx[j, i] = dy[j, i] = 0.0
            if r < 0 or c < 0 or r + 3 >= size or c + 3 >= size:
                continue
            for a in range(4):
                along, slope = 0.0, 0.0
                for b in range(4):
                    along += wx[b] * coefficients[r + a, c + b]
                    slope += sx[b] * coefficients[r + a, c + b]
                value[j, i] += wy[a] * along
                dx[j, i] -= wy[a] * slope * oversample
                dy[j, i] -= sy[a] * along * oversample


@compiled
def blend(stamps: NDArray[np.float32], corners: NDArray[np.int64], weights: Floats, half: int) -> Floats:
    """Return the weighted mean of four coefficient stamps, cut to ``half`` nodes about the middle."""
    middle = (stamps.shape[1] - 1) // 2
    low = max(middle - half, 0)
    high = min(middle + half + 1, stamps.shape[1])
    out = np.zeros((high - low, high - low))
    for corner in range(4):
        for j in range(high - low):
            for i in range(high - low):
                out[j, i] += weights[corner] * stamps[corners[corner], low + j, low + i]
    return out


@compiled
def corners_at(
    x: float, y: float, xs: Floats, ys: Floats, corners: NDArray[np.int64], weights: Floats
) -> None:
    """Write the four grid nodes about (x, y) and their bilinear weights; outside, the edge holds."""
    i, j = 0, 0
    while i < xs.size - 2 and xs[i + 1] < x:
        i += 1
    while j < ys.size - 2 and ys[j + 1] < y:
        j += 1
    i2, j2 = min(i + 1, xs.size - 1), min(j + 1, ys.size - 1)
    fx = min(max((x - xs[i]) / (xs[i2] - xs[i]), 0.0), 1.0) if i2 > i else 0.0
    fy = min(max((y - ys[j]) / (ys[j2] - ys[j]), 0.0), 1.0) if j2 > j else 0.0
    corners[0], corners[1] = j * xs.size + i, j * xs.size + i2
    corners[2], corners[3] = j2 * xs.size + i, j2 * xs.size + i2
    weights[0], weights[1] = (1 - fx) * (1 - fy), fx * (1 - fy)
    weights[2], weights[3] = (1 - fx) * fy, fx * fy


@compiled
def add_sources(
    image: NDArray[np.float32],
    x: Floats,
    y: Floats,
    flux: Floats,
    stamps: NDArray[np.float32],
    xs: Floats,
    ys: Floats,
    oversample: int,
    radii: NDArray[np.int64],
) -> None:
    """Add point sources (total ``flux``, ``radii`` pixels about each) to ``image`` in place."""
    corners, weights = np.empty(4, np.int64), np.empty(4)
    for k in range(x.size):
        column, row = floor(x[k] + 0.5), floor(y[k] + 0.5)
        half = radii[k]
        corners_at(x[k], y[k], xs, ys, corners, weights)
        coefficients = blend(stamps, corners, weights, (half + 2) * oversample)
        value = np.empty((2 * half + 1, 2 * half + 1))
        dx, dy = np.empty_like(value), np.empty_like(value)
        sample(coefficients, oversample, x[k] - column, y[k] - row, value, dx, dy)
        for j in range(max(-half, -row), min(half, image.shape[0] - 1 - row) + 1):
            for i in range(max(-half, -column), min(half, image.shape[1] - 1 - column) + 1):
                image[row + j, column + i] += flux[k] * value[j + half, i + half]
