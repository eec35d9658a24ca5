# ruff: noqa: PLR0917 - compiled code takes its arrays one by one
"""Compiled sampling of an oversampled ePSF kept as cubic B-spline coefficients.

Between its nodes the spline reproduces a four-fold oversampled ePSF to 2e-4 of the peak in F158, where
the optics leave nothing near the nodes' Nyquist limit, and to 4e-3 in F062, where they do.
"""

from math import floor
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled

Floats = NDArray[np.float64]
Plane = NDArray[Any]  # float32; any number of axes

LANES: Final = 16
"""Pixels of a window's row that are reckoned at once; windows are narrower."""
MARGIN: Final = 3
"""Pixels beyond a window that its ePSF may be shifted by, and its splines reach."""


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


def by_phase(coefficients: NDArray[np.float32], oversample: int) -> NDArray[np.float32]:
    """Return coefficient stamps (n, size, size) as (n, rows, oversample, columns), with room about them.

    A row's every ``oversample``-th node lie side by side; the middle node is at half the rows, phase 0 and
    half the columns. The room is of zeros: the ePSF ends there.
    """
    size = coefficients.shape[1]
    pixels = -(-(size // 2) // oversample) + LANES + 2 * MARGIN
    room = 2 * pixels * oversample
    whole = np.zeros((len(coefficients), room, room), np.float32)
    first = pixels * oversample - size // 2
    whole[:, first : first + size, first : first + size] = coefficients
    return np.ascontiguousarray(
        whole.reshape(len(coefficients), room, room // oversample, oversample).swapaxes(2, 3)
    )


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
def cut(phases: Plane, corners: NDArray[np.int64], weights: Floats, radius: int, block: Plane) -> None:
    """Write the weighted mean of four stamps into ``block``: what windows of ``radius`` pixels may need.

    ``phases`` are stamps as ``by_phase`` has them, ``block`` (rows, oversample, columns) begins ``MARGIN``
    pixels beyond the window.
    """
    oversample = phases.shape[2]
    top = phases.shape[1] // 2 - (radius + MARGIN) * oversample
    left = phases.shape[3] // 2 - (radius + MARGIN)
    w0, w1 = np.float32(weights[0]), np.float32(weights[1])
    w2, w3 = np.float32(weights[2]), np.float32(weights[3])
    right = left + block.shape[2]
    alone = weights[1] == 0.0 and weights[2] == 0.0 and weights[3] == 0.0
    for j in range(block.shape[0]):
        for p in range(oversample):
            if alone:
                block[j, p] = phases[corners[0], top + j, p, left:right]
                continue
            # Slices, because an index that might be negative keeps a loop from being vectorised.
            a, b = phases[corners[0], top + j, p, left:right], phases[corners[1], top + j, p, left:right]
            c, d = phases[corners[2], top + j, p, left:right], phases[corners[3], top + j, p, left:right]
            line = block[j, p]
            for i in range(line.size):
                line[i] = w0 * a[i] + w1 * b[i] + w2 * c[i] + w3 * d[i]


@compiled
def sample_window(block: Plane, x: float, y: float, value: Plane, dx: Plane, dy: Plane) -> None:
    """Write the ePSF and its derivatives by source position into rows of ``LANES`` pixels.

    ``block`` comes from ``cut``; the source lies ``x``, ``y`` pixels (|·| < 2) from the window's middle.
    """
    oversample = block.shape[1]
    wx, sx, wy, sy = np.empty(4), np.empty(4), np.empty(4), np.empty(4)
    u, v = (MARGIN - x) * oversample, (MARGIN - y) * oversample
    column, row = floor(u), floor(v)
    basis(u - column, wx, sx)
    basis(v - row, wy, sy)
    along, slope = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    w0, w1, w2, w3 = np.float32(wx[0]), np.float32(wx[1]), np.float32(wx[2]), np.float32(wx[3])
    s0, s1, s2, s3 = np.float32(sx[0]), np.float32(sx[1]), np.float32(sx[2]), np.float32(sx[3])
    p0, p1 = (column - 1) % oversample, column % oversample
    p2, p3 = (column + 1) % oversample, (column + 2) % oversample
    c0, c1 = (column - 1) // oversample, column // oversample
    c2, c3 = (column + 1) // oversample, (column + 2) // oversample
    for j in range(value.shape[0]):
        to_value, to_dx, to_dy = value[j], dx[j], dy[j]
        for i in range(LANES):
            to_value[i] = to_dx[i] = to_dy[i] = 0.0
        for a in range(4):
            # Slices, because an index that might be negative keeps a loop from being vectorised.
            line = block[row + j * oversample + a - 1]
            t0, t1, t2, t3 = line[p0, c0:], line[p1, c1:], line[p2, c2:], line[p3, c3:]
            for i in range(LANES):
                along[i] = (w0 * t0[i] + w1 * t1[i]) + (w2 * t2[i] + w3 * t3[i])
            for i in range(LANES):
                slope[i] = (s0 * t0[i] + s1 * t1[i]) + (s2 * t2[i] + s3 * t3[i])
            w, s = np.float32(wy[a]), np.float32(sy[a] * oversample)
            t = np.float32(wy[a] * oversample)
            for i in range(LANES):
                to_value[i] += w * along[i]
                to_dx[i] -= t * slope[i]
                to_dy[i] -= s * along[i]


@compiled
def sample_values(block: Plane, x: float, y: float, value: Plane) -> None:
    """Write what ``sample_window`` does into ``value`` alone, in half of the time."""
    oversample = block.shape[1]
    wx, wy, slopes = np.empty(4), np.empty(4), np.empty(4)
    u, v = (MARGIN - x) * oversample, (MARGIN - y) * oversample
    column, row = floor(u), floor(v)
    basis(u - column, wx, slopes)
    basis(v - row, wy, slopes)
    w0, w1, w2, w3 = np.float32(wx[0]), np.float32(wx[1]), np.float32(wx[2]), np.float32(wx[3])
    p0, p1 = (column - 1) % oversample, column % oversample
    p2, p3 = (column + 1) % oversample, (column + 2) % oversample
    c0, c1 = (column - 1) // oversample, column // oversample
    c2, c3 = (column + 1) // oversample, (column + 2) // oversample
    for j in range(value.shape[0]):
        to = value[j]
        for i in range(LANES):
            to[i] = 0.0
        for a in range(4):
            line, w = block[row + j * oversample + a - 1], np.float32(wy[a])
            t0, t1, t2, t3 = line[p0, c0:], line[p1, c1:], line[p2, c2:], line[p3, c3:]
            for i in range(LANES):
                to[i] += w * ((w0 * t0[i] + w1 * t1[i]) + (w2 * t2[i] + w3 * t3[i]))


@compiled
def add_sources(
    image: Plane,
    x: Floats,
    y: Floats,
    flux: Floats,
    coefficients: Plane,
    oversample: int,
    xs: Floats,
    ys: Floats,
    radii: NDArray[np.int64],
) -> None:
    """Add point sources (total ``flux``, ``radii`` pixels about each) to ``image`` in place.

    ``coefficients`` are stamps (n, size, size) at the grid lines ``xs``, ``ys``; beyond a stamp all is zero.
    """
    corners, weights = np.empty(4, np.int64), np.empty(4)
    wx, wy, slopes = np.empty(4), np.empty(4), np.empty(4)
    most = 2 * int(np.max(radii)) if radii.size else 0
    room = np.empty(most * oversample + 4, np.float32)
    middle = (coefficients.shape[1] - 1) // 2
    for k in range(x.size):
        column, row, half = floor(x[k] + 0.5), floor(y[k] + 0.5), radii[k]
        first, last = max(-half, -column), min(half, image.shape[1] - 1 - column) + 1
        if last <= first:
            continue
        corners_at(x[k], y[k], xs, ys, corners, weights)
        u, v = (column - x[k]) * oversample, (row - y[k]) * oversample
        left, top = middle + floor(u) - 1, middle + floor(v) - 1
        basis(u - floor(u), wx, slopes)
        basis(v - floor(v), wy, slopes)
        nodes = room[: (last - first - 1) * oversample + 4]
        for j in range(max(-half, -row), min(half, image.shape[0] - 1 - row) + 1):
            _nodes(
                coefficients, corners, weights, wy, top + j * oversample, left + first * oversample, nodes
            )  # fmt: skip
            _add(image[row + j, column + first : column + last], nodes, oversample, flux[k], wx)


@compiled
def _nodes(
    coefficients: Plane,
    corners: NDArray[np.int64],
    weights: Floats,
    across: Floats,
    top: int,
    left: int,
    nodes: Plane,
) -> None:
    """Write the mean of four stamps' rows from ``top`` on, weighed ``across``, from column ``left`` on."""
    size = coefficients.shape[1]
    first, last = max(left, 0), min(left + nodes.size, size)
    nodes[:] = 0.0
    if last <= first:
        return
    to = nodes[first - left : last - left]
    alone = weights[1] == 0.0 and weights[2] == 0.0 and weights[3] == 0.0
    for a in range(max(-top, 0), min(4, size - top)):
        w0, w1 = np.float32(across[a] * weights[0]), np.float32(across[a] * weights[1])
        w2, w3 = np.float32(across[a] * weights[2]), np.float32(across[a] * weights[3])
        # Slices, because an index that might be negative keeps a loop from being vectorised.
        one = coefficients[corners[0], top + a, first:last]
        if alone:
            for i in range(to.size):
                to[i] += w0 * one[i]
            continue
        two = coefficients[corners[1], top + a, first:last]
        three = coefficients[corners[2], top + a, first:last]
        four = coefficients[corners[3], top + a, first:last]
        for i in range(to.size):
            to[i] += (w0 * one[i] + w1 * two[i]) + (w2 * three[i] + w3 * four[i])


@compiled
def _add(to: Plane, nodes: Plane, oversample: int, flux: float, along: Floats) -> None:
    """Add to each pixel the four of its ``nodes``, weighed ``along`` the row."""
    w0, w1 = np.float32(flux * along[0]), np.float32(flux * along[1])
    w2, w3 = np.float32(flux * along[2]), np.float32(flux * along[3])
    if oversample == 4:
        # The usual one, as a constant: then the loop is vectorised.
        for i in range(to.size):
            to[i] += (w0 * nodes[4 * i] + w1 * nodes[4 * i + 1]) + (
                w2 * nodes[4 * i + 2] + w3 * nodes[4 * i + 3]
            )
        return
    for i in range(to.size):
        k = i * oversample
        to[i] += (w0 * nodes[k] + w1 * nodes[k + 1]) + (w2 * nodes[k + 2] + w3 * nodes[k + 3])
