# ruff: noqa: PLR0917 - compiled code takes its arrays one by one
"""How far a source's light reaches, compiled: Kron ellipses, half-light radii, windowed centroids.

A source's pixels are cut out once. Those of another source, and such as may not be used, are replaced by the
pixel across the centre, and left out where that one will not do either.
"""

from math import ceil, exp, floor, sqrt
from typing import Any, Final

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
_INNER_SHARE: Final = 0.2
_LEAST_HALF_LIGHT: Final = 0.5
_FWHM_TO_SIGMA: Final = 1 / sqrt(8 * np.log(2))
_WINDOW_STEPS: Final = 16
_WINDOW_REACH: Final = 4.0
_MOST_WINDOWS: Final = 2.0
"""How far (σ of the window) a windowed centroid may move from the centroid."""
_SETTLED_PIXELS: Final = 2e-4
_OWN, _LENT = 1.0, 0.5
"""Marks of a stamp's pixels: of the source itself, and from across its centre."""


@compiled
def extents(
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
    """Write (n, 9): first-moment radius (σ), Kron flux, variance, area, half-light radius, windowed centre.

    The centre is x, y and their errors (pixels); what there is not is NaN. ``shape`` (n, 4) are cxx, cxy, cyy
    (pixels^-2) of the ellipse of 1 σ, and its larger semi-axis.
    """
    for k in range(x.size):
        out[k] = np.nan
        if not (shape[k, 3] > 0.0 and abs(x[k]) < 1e6 and abs(y[k]) < 1e6):
            continue
        column, row = floor(x[k] + 0.5), floor(y[k] + 0.5)
        dx, dy = x[k] - column, y[k] - row
        reach = ceil(_WHOLE * shape[k, 3]) + 1
        planes = image, variance, unusable, labels, label[k], column, row
        stamp, whole = _cut(planes, dx, dy, reach)
        first = _first_moment(stamp[0], dx, dy, shape[k])
        out[k, 0] = min(max(first, LEAST_KRON), _MOST_KRON)
        size = KRON_FACTOR * out[k, 0]
        if size * shape[k, 3] + 2.0 > reach:
            reach = ceil(size * shape[k, 3]) + 2
            stamp, whole = _cut(planes, dx, dy, reach)
        out[k, 1], out[k, 2], out[k, 3] = _in_ellipse(stamp, dx, dy, shape[k], size)
        out[k, 9], out[k, 4] = _radii(stamp, dx, dy, size * shape[k, 3], out[k, 1])
        half_light = out[k, 4] if out[k, 4] > _LEAST_HALF_LIGHT else _LEAST_HALF_LIGHT
        width = 2.0 * half_light * _FWHM_TO_SIGMA
        if (_WINDOW_REACH + _MOST_WINDOWS) * width + 1.0 > reach:
            reach = ceil((_WINDOW_REACH + _MOST_WINDOWS) * width) + 1
            stamp, whole = _cut(planes, dx, dy, reach)
        _windowed(planes, stamp, whole, dx, dy, width, out[k, 5:9])
        out[k, 5] += column
        out[k, 6] += row


@compiled
def stamps(
    image: Plane,
    variance: Plane,
    unusable: NDArray[np.bool_],
    labels: NDArray[np.int32],
    label: NDArray[np.int32],
    x: Floats,
    y: Floats,
    out: Plane,
) -> None:
    """Write light and variance of sources (n, 2, size, size; even), their nearest pixel at size // 2."""
    size = out.shape[2]
    for k in range(x.size):
        column, row = floor(x[k] + 0.5), floor(y[k] + 0.5)
        planes = image, variance, unusable, labels, label[k], column, row
        stamp, _ = _cut(planes, x[k] - column, y[k] - row, size // 2)
        out[k] = stamp[:2, :size, :size]


@compiled
def _cut(planes: Any, x: float, y: float, reach: int) -> tuple[Plane, bool]:
    """Return light, variance and presence (3, 2·reach + 1 squared), and whether all pixels are the source's.

    ``planes`` are image, variance, unusable pixels, labels, the source's own, and column and row of the
    middle; (x, y) from there is the centre across which pixels are replaced. Where there is none all is 0.
    """
    image, variance, unusable, labels, label, column, row = planes
    size, (ny, nx) = 2 * reach + 1, labels.shape
    top, left = row - reach, column - reach
    out, whole = np.zeros((3, size, size), np.float32), True
    for j in range(max(top, 0), min(top + size, ny)):
        for i in range(max(left, 0), min(left + size, nx)):
            if unusable[j, i] or (labels[j, i] != 0 and labels[j, i] != label):
                whole = False
            else:
                out[0, j - top, i - left] = image[j, i]
                out[1, j - top, i - left] = variance[j, i]
                out[2, j - top, i - left] = _OWN
    if not whole:
        _fill(planes, out, x, y)
    return out, whole


@compiled
def _fill(planes: Any, stamp: Plane, x: float, y: float) -> None:
    """Write into ``stamp`` what lies across (x, y) from pixels that are not the source's own."""
    image, variance, unusable, labels, label, column, row = planes
    reach, (ny, nx) = stamp.shape[1] // 2, labels.shape
    for j in range(max(-reach, -row), min(reach + 1, ny - row)):
        for i in range(max(-reach, -column), min(reach + 1, nx - column)):
            if stamp[2, j + reach, i + reach] == _OWN:
                continue
            jj, ii = row + floor(2 * y - j + 0.5), column + floor(2 * x - i + 0.5)
            there = (
                0 <= jj < ny
                and 0 <= ii < nx
                and not unusable[jj, ii]
                and (labels[jj, ii] == 0 or labels[jj, ii] == label)
            )
            stamp[0, j + reach, i + reach] = image[jj, ii] if there else 0.0
            stamp[1, j + reach, i + reach] = variance[jj, ii] if there else 0.0
            stamp[2, j + reach, i + reach] = _LENT if there else 0.0


@compiled
def _first_moment(light: Plane, x: float, y: float, shape: Floats) -> float:
    """Return Σ r·I / Σ I in the ellipse of 6 σ, r in σ, about (x, y) from the middle of the stamp."""
    size = light.shape[0]
    totals, moments = np.zeros(size), np.zeros(size)
    for j in range(size):
        dy, line = j - size // 2 - y, light[j]
        for i in range(size):
            dx = i - size // 2 - x
            r = sqrt(max(shape[0] * dx * dx + shape[1] * dx * dy + shape[2] * dy * dy, 0.0))
            here = float(line[i]) if r <= _WHOLE else 0.0
            totals[i] += here
            moments[i] += r * here
    total, moment = totals.sum(), moments.sum()
    return float(moment / total) if total > 0.0 and moment > 0.0 else 0.0


@compiled
def _in_ellipse(stamp: Plane, x: float, y: float, shape: Floats, radius: float) -> tuple[float, float, float]:
    """Return flux, variance and area of the ellipse of ``radius`` σ."""
    size = stamp.shape[1]
    flux, var, area = np.zeros(size), np.zeros(size), np.zeros(size)
    for j in range(size):
        dy = j - size // 2 - y
        light, noise, there = stamp[0, j], stamp[1, j], stamp[2, j]
        for i in range(size):
            dx = i - size // 2 - x
            along, across = 2 * shape[0] * dx + shape[1] * dy, 2 * shape[2] * dy + shape[1] * dx
            r = sqrt(max(0.5 * (along * dx + across * dy), 1e-12))
            # The radius grows by this much from side to side of a pixel.
            step = max(0.5 * (abs(along) + abs(across)) / r, 1e-12)
            share = min(max((radius - r) / step + 0.5, 0.0), 1.0)
            flux[i] += share * light[i]
            var[i] += share * share * noise[i]
            area[i] += share if there[i] > 0.0 else 0.0
    return flux.sum(), var.sum(), area.sum()


@compiled
def _radii(stamp: Plane, x: float, y: float, reach: float, flux: float) -> tuple[float, float]:
    """Return the radii of the circles with a fifth and half of ``flux``; NaN if none in ``reach`` does."""
    middle, n = stamp.shape[1] // 2, ceil(reach + 1.0) * _BINS
    growth = np.zeros(n + 2)
    first, last = floor(y - reach) + middle, ceil(y + reach) + middle
    left, right = floor(x - reach) + middle, ceil(x + reach) + middle
    for j in range(max(first, 0), min(last + 1, stamp.shape[1])):
        for i in range(max(left, 0), min(right + 1, stamp.shape[1])):
            dx, dy = i - middle - x, j - middle - y
            _spread(growth, sqrt(dx * dx + dy * dy), float(stamp[0, j, i]))
    return _radius(growth, n, _INNER_SHARE * flux), _radius(growth, n, 0.5 * flux)


@compiled
def _radius(growth: Floats, n: int, wanted: float) -> float:
    """Return where the sum of the first ``n`` bins reaches what is ``wanted``."""
    inside = 0.0
    for k in range(n):
        if inside + growth[k] >= wanted and growth[k] > 0.0:
            return float((k + (wanted - inside) / growth[k]) / _BINS)
        inside += growth[k]
    return np.nan


@compiled
def _spread(growth: Floats, away: float, light: float) -> None:
    """Share the ``light`` of a pixel a distance ``away`` out to the bins it covers, by their area."""
    low, high = max(away - 0.5, 0.0), away + 0.5
    first, last = int(low * _BINS), int(high * _BINS)
    if last >= growth.size - 1:
        return
    if away >= 0.5:
        # A pixel away from the middle covers one pixel of radius, every part of it as much.
        growth[first] += light * ((first + 1.0) / _BINS - low)
        for k in range(first + 1, last):
            growth[k] += light / _BINS
        growth[last] += light * (high - last / _BINS)
        return
    whole = high * high - low * low
    for k in range(first, last + 1):
        a, b = max(low, k / _BINS), min(high, (k + 1) / _BINS)
        if b > a:
            growth[k] += light * (b * b - a * a) / whole


@compiled
def _windowed(planes: Any, stamp: Plane, whole: bool, x: float, y: float, width: float, out: Floats) -> None:
    """Write the centroid (x, y from the middle) in a Gaussian window of ``width`` (σ, pixels), and errors.

    Pixels that are not the source's own are replaced across the window's centre, wherever that goes.
    """
    size = stamp.shape[1]
    rows, columns = np.empty(size), np.empty(size)
    at_x, at_y, light = x, y, 0.0
    out[0], out[1] = at_x, at_y
    for step in range(_WINDOW_STEPS):
        if step > 0 and not whole:
            _fill(planes, stamp, at_x, at_y)
        _window(at_x, width, columns)
        _window(at_y, width, rows)
        total, along, across = _moments(stamp[0], rows, columns, at_x, at_y, width)
        step_x, step_y = 2 * along / total, 2 * across / total
        # A sum that is not positive says nothing, as do steps that lead too far.
        if not (
            total > 0.0
            and abs(at_x + step_x - x) < _MOST_WINDOWS * width
            and abs(at_y + step_y - y) < _MOST_WINDOWS * width
        ):
            break
        light, at_x, at_y = total, at_x + step_x, at_y + step_y
        out[0], out[1] = at_x, at_y
        if abs(step_x) + abs(step_y) < _SETTLED_PIXELS:
            break
    if light > 0.0:
        out[2], out[3] = _window_errors(stamp[1], rows, columns, at_x, at_y, light)


@compiled
def _window(at: float, width: float, weights: Floats) -> None:
    """Write the window's weights along one axis."""
    for i in range(weights.size):
        away = (i - weights.size // 2 - at) / width
        weights[i] = exp(-0.5 * away * away)


@compiled
def _moments(
    light: Plane, rows: Floats, columns: Floats, x: float, y: float, width: float
) -> tuple[float, float, float]:
    """Return the sum of the light in the window and its moments along x and y."""
    size, limit = light.shape[0], exp(-0.5 * _WINDOW_REACH * _WINDOW_REACH)
    total, along, across = np.zeros(size), 0.0, np.zeros(size)
    reach = ceil(_WINDOW_REACH * width)
    first, last = max(floor(y) - reach + size // 2, 0), min(ceil(y) + reach + size // 2 + 1, size)
    left, right = max(floor(x) - reach + size // 2, 0), min(ceil(x) + reach + size // 2 + 1, size)
    for j in range(first, last):
        dy, line = j - size // 2 - y, light[j]
        for i in range(left, right):
            w = rows[j] * columns[i]
            here = w * line[i] if w > limit else 0.0
            total[i] += here
            across[i] += dy * here
    for i in range(left, right):
        along += total[i] * (i - size // 2 - x)
    return total.sum(), along, across.sum()


@compiled
def _window_errors(
    noise: Plane, rows: Floats, columns: Floats, x: float, y: float, light: float
) -> tuple[float, float]:
    """Return the errors of x and y in a window that holds so much ``light``."""
    size, limit = noise.shape[0], exp(-0.5 * _WINDOW_REACH * _WINDOW_REACH)
    var, var_x, var_y = 0.0, 0.0, 0.0
    for j in range(size):
        for i in range(size):
            w = rows[j] * columns[i]
            if w > limit:
                v = w * w * noise[j, i]
                var += v
                var_x += v * (i - size // 2 - x) ** 2
                var_y += v * (j - size // 2 - y) ** 2
    # No axis knows less than the width of one pixel tells.
    return 2 * sqrt(max(var_x, var / 12)) / light, 2 * sqrt(max(var_y, var / 12)) / light


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
    """Write (n, 5), the first of what ``extents`` writes, with first-moment radii (σ) that are given."""
    for k in range(x.size):
        out[k] = np.nan
        if not (shape[k, 3] > 0.0 and radius[k] > 0.0 and abs(x[k]) < 1e6 and abs(y[k]) < 1e6):
            continue
        column, row = floor(x[k] + 0.5), floor(y[k] + 0.5)
        dx, dy, size = x[k] - column, y[k] - row, KRON_FACTOR * radius[k]
        planes = image, variance, unusable, labels, label[k], column, row
        stamp, _ = _cut(planes, dx, dy, ceil(size * shape[k, 3]) + 2)
        out[k, 0] = radius[k]
        out[k, 1], out[k, 2], out[k, 3] = _in_ellipse(stamp, dx, dy, shape[k], size)
        out[k, 4] = _radii(stamp, dx, dy, size * shape[k, 3], out[k, 1])[1]
