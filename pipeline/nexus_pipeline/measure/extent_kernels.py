# ruff: noqa: PLR0917 - compiled code takes its arrays one by one
"""How far a source's light reaches, compiled: Kron ellipses, half-light radii, windowed centroids.

Pixels of another source, and such as may not be used, are replaced by the pixel across the centre, and left
out where that one will not do either.
"""

from math import ceil, exp, floor, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled

Plane = NDArray[np.float32]
Floats = NDArray[np.float64]

KRON_FACTOR: Final = 2.5
_WHOLE: Final = 6.0
"""Semi-axes (σ) of the ellipse in which the first moment is taken."""
LEAST_KRON: Final = 1.4
_MOST_KRON: Final = 6.0
_BINS: Final = 4
"""Bins a pixel of the curve of growth."""
_WINDOW_STEPS: Final = 16
_WINDOW_REACH: Final = 4.0
_SETTLED_PIXELS: Final = 2e-4


@compiled
def _stand_in(
    unusable: NDArray[np.bool_], labels: NDArray[np.int32], label: int, j: int, i: int, y: float, x: float
) -> tuple[int, int]:
    """Return the pixel that tells the light at (j, i) of a source at (x, y), row -1 if there is none."""
    if not unusable[j, i] and (labels[j, i] == 0 or labels[j, i] == label):
        return j, i
    across_j, across_i = floor(2 * y - j + 0.5), floor(2 * x - i + 0.5)
    if 0 <= across_j < labels.shape[0] and 0 <= across_i < labels.shape[1]:
        other = labels[across_j, across_i]
        if not unusable[across_j, across_i] and (other == 0 or other == label):  # noqa: PLR1714 - compiled
            return across_j, across_i
    return -1, -1


@compiled
def kron(
    image: Plane,
    variance: Plane,
    unusable: NDArray[np.bool_],
    labels: NDArray[np.int32],
    label: NDArray[np.int32],
    x: Floats,
    y: Floats,
    shape: Floats,
    out: Floats,
) -> None:
    """Write (n, 5): first-moment radius (σ), flux, variance, area and half-light radius (pixels).

    ``shape`` (n, 4) are cxx, cxy, cyy (pixels^-2) of the ellipse of 1 σ, and its larger semi-axis.
    """
    for k in range(x.size):
        out[k] = np.nan
        if not (shape[k, 3] > 0.0 and abs(x[k]) < 1e6 and abs(y[k]) < 1e6):
            continue
        first = _first_moment(image, unusable, labels, label[k], x[k], y[k], shape[k])
        out[k, 0] = min(max(first, LEAST_KRON), _MOST_KRON)
        _in_ellipse(image, variance, unusable, labels, label[k], x[k], y[k], shape[k], out[k])
        reach = KRON_FACTOR * out[k, 0] * shape[k, 3]
        out[k, 4] = _half_light(image, unusable, labels, label[k], x[k], y[k], reach, 0.5 * out[k, 1])


@compiled
def _first_moment(
    image: Plane,
    unusable: NDArray[np.bool_],
    labels: NDArray[np.int32],
    label: int,
    x: float,
    y: float,
    shape: Floats,
) -> float:
    """Return Σ r·I / Σ I in the ellipse of 6 σ, r in σ."""
    reach, ny, nx = _WHOLE * shape[3], labels.shape[0], labels.shape[1]
    total, moment = 0.0, 0.0
    for j in range(max(floor(y - reach), 0), min(ceil(y + reach) + 1, ny)):
        for i in range(max(floor(x - reach), 0), min(ceil(x + reach) + 1, nx)):
            dx, dy = i - x, j - y
            r = sqrt(max(shape[0] * dx * dx + shape[1] * dx * dy + shape[2] * dy * dy, 0.0))
            if r <= _WHOLE:
                jj, ii = _stand_in(unusable, labels, label, j, i, y, x)
                if jj >= 0:
                    total += image[jj, ii]
                    moment += r * image[jj, ii]
    return float(moment / total) if total > 0.0 and moment > 0.0 else 0.0


@compiled
def _in_ellipse(
    image: Plane,
    variance: Plane,
    unusable: NDArray[np.bool_],
    labels: NDArray[np.int32],
    label: int,
    x: float,
    y: float,
    shape: Floats,
    out: Floats,
) -> None:
    """Write flux, variance and area of the Kron ellipse into ``out[1:4]``."""
    size = KRON_FACTOR * out[0]
    reach, ny, nx = size * shape[3] + 1.0, labels.shape[0], labels.shape[1]
    flux, var, area = 0.0, 0.0, 0.0
    for j in range(max(floor(y - reach), 0), min(ceil(y + reach) + 1, ny)):
        for i in range(max(floor(x - reach), 0), min(ceil(x + reach) + 1, nx)):
            dx, dy = i - x, j - y
            along, across = 2 * shape[0] * dx + shape[1] * dy, 2 * shape[2] * dy + shape[1] * dx
            r = sqrt(max(0.5 * (along * dx + across * dy), 1e-12))
            # The radius grows by this much from side to side of a pixel.
            step = max(0.5 * (abs(along) + abs(across)) / r, 1e-12)
            share = min(max((size - r) / step + 0.5, 0.0), 1.0)
            if share > 0.0:
                jj, ii = _stand_in(unusable, labels, label, j, i, y, x)
                if jj >= 0:
                    flux += share * image[jj, ii]
                    var += share * share * variance[jj, ii]
                    area += share
    out[1], out[2], out[3] = flux, var, area


@compiled
def _half_light(
    image: Plane,
    unusable: NDArray[np.bool_],
    labels: NDArray[np.int32],
    label: int,
    x: float,
    y: float,
    reach: float,
    half: float,
) -> float:
    """Return the radius of the circle that holds ``half``; NaN if none within ``reach`` does."""
    ny, nx = labels.shape
    n = ceil(reach + 1.0) * _BINS
    growth = np.zeros(n + 2)
    for j in range(max(floor(y - reach), 0), min(ceil(y + reach) + 1, ny)):
        for i in range(max(floor(x - reach), 0), min(ceil(x + reach) + 1, nx)):
            jj, ii = _stand_in(unusable, labels, label, j, i, y, x)
            if jj >= 0:
                _spread(growth, sqrt((i - x) ** 2 + (j - y) ** 2), float(image[jj, ii]))
    inside = 0.0
    for k in range(n):
        if inside + growth[k] >= half and growth[k] > 0.0:
            return float((k + (half - inside) / growth[k]) / _BINS)
        inside += growth[k]
    return np.nan


@compiled
def _spread(growth: Floats, away: float, light: float) -> None:
    """Share the ``light`` of a pixel a distance ``away`` out to the bins it covers, by their area."""
    low, high = max(away - 0.5, 0.0), away + 0.5
    first, last = int(low * _BINS), int(high * _BINS)
    if last >= growth.size - 1:
        return
    whole = high * high - low * low if away < 0.5 else high - low
    for k in range(first, last + 1):
        a, b = max(low, k / _BINS), min(high, (k + 1) / _BINS)
        if b > a:
            part = b * b - a * a if away < 0.5 else b - a
            growth[k] += light * part / whole


@compiled
def windowed(
    image: Plane,
    variance: Plane,
    unusable: NDArray[np.bool_],
    labels: NDArray[np.int32],
    label: NDArray[np.int32],
    x: Floats,
    y: Floats,
    width: Floats,
    out: Floats,
) -> None:
    """Write (n, 4): centroids x, y in a Gaussian window of ``width`` (σ, pixels), and their errors."""
    for k in range(x.size):
        out[k] = np.nan
        if not (width[k] > 0.0 and abs(x[k]) < 1e6 and abs(y[k]) < 1e6):
            continue
        at_x, at_y = x[k], y[k]
        out[k, 0], out[k, 1] = at_x, at_y
        for _ in range(_WINDOW_STEPS):
            step_x, step_y, err_x, err_y = _moment(
                image, variance, unusable, labels, label[k], at_x, at_y, width[k]
            )
            if not (
                abs(at_x + step_x - x[k]) < 2.0 * width[k] and abs(at_y + step_y - y[k]) < 2.0 * width[k]
            ):
                break
            at_x, at_y = at_x + step_x, at_y + step_y
            out[k, 0], out[k, 1], out[k, 2], out[k, 3] = at_x, at_y, err_x, err_y
            if abs(step_x) + abs(step_y) < _SETTLED_PIXELS:
                break


@compiled
def _moment(
    image: Plane,
    variance: Plane,
    unusable: NDArray[np.bool_],
    labels: NDArray[np.int32],
    label: int,
    x: float,
    y: float,
    width: float,
) -> tuple[float, float, float, float]:
    """Return the step towards the windowed centroid (twice the moment) and its errors."""
    reach, ny, nx = _WINDOW_REACH * width, labels.shape[0], labels.shape[1]
    total, along, across, var_x, var_y, var = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for j in range(max(floor(y - reach), 0), min(ceil(y + reach) + 1, ny)):
        for i in range(max(floor(x - reach), 0), min(ceil(x + reach) + 1, nx)):
            dx, dy = i - x, j - y
            away = (dx * dx + dy * dy) / (width * width)
            if away < _WINDOW_REACH * _WINDOW_REACH:
                jj, ii = _stand_in(unusable, labels, label, j, i, y, x)
                if jj >= 0:
                    w = exp(-0.5 * away)
                    total += w * image[jj, ii]
                    along += w * image[jj, ii] * dx
                    across += w * image[jj, ii] * dy
                    v = w * w * variance[jj, ii]
                    var_x, var_y, var = var_x + v * dx * dx, var_y + v * dy * dy, var + v
    if not total > 0.0:
        return np.nan, np.nan, np.nan, np.nan
    # No axis knows less than the width of one pixel tells.
    err_x, err_y = 2 * sqrt(max(var_x, var / 12)) / total, 2 * sqrt(max(var_y, var / 12)) / total
    return 2 * along / total, 2 * across / total, err_x, err_y


@compiled
def kron_within(
    image: Plane,
    variance: Plane,
    unusable: NDArray[np.bool_],
    labels: NDArray[np.int32],
    label: NDArray[np.int32],
    x: Floats,
    y: Floats,
    shape: Floats,
    radius: Floats,
    out: Floats,
) -> None:
    """Write what ``kron`` writes, with first-moment radii (σ) that are given: another image's, say."""
    for k in range(x.size):
        out[k] = np.nan
        if not (shape[k, 3] > 0.0 and radius[k] > 0.0 and abs(x[k]) < 1e6 and abs(y[k]) < 1e6):
            continue
        out[k, 0] = radius[k]
        _in_ellipse(image, variance, unusable, labels, label[k], x[k], y[k], shape[k], out[k])
        reach = KRON_FACTOR * out[k, 0] * shape[k, 3]
        out[k, 4] = _half_light(image, unusable, labels, label[k], x[k], y[k], reach, 0.5 * out[k, 1])
