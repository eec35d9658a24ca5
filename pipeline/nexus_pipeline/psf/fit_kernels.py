# ruff: noqa: PLR0913, PLR0917 - compiled code takes its arrays one by one
"""The compiled part of ``psf.fit``: one source's window, and damped Gauss-Newton on it.

Windows are rows of ``LANES`` numbers, as many as the processor takes at once, of which the first
2·radius + 1 are looked at.
"""

from math import floor, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled
from nexus_pipeline.psf import kernels
from nexus_pipeline.psf.kernels import LANES

Floats = NDArray[np.float64]
Plane = NDArray[np.float32]

_WINDOW_NODES: Final = 16
"""Nodes of the ePSF about the source that are fitted: 81 of the detector's pixels, 90 % of the light."""
MAX_STEPS: Final = 60
MAX_SHIFT: Final = 1.5
_SETTLED_PIXELS: Final = 1e-4
_NEARLY_SETTLED_PIXELS: Final = 1e-2
_SAME_PIXELS, _SAME_SHARE = 5e-3, 1e-3
"""Steps that leave the noise of the pixels as it was: of place, and of the flux."""
_BEND_PIXELS: Final = 0.5
_BUCKETS: Final = 4096
_NOTHING: Final = np.float32(1e30)
"""The variance of a pixel that does not count."""


def window_radius(oversample: int) -> int:
    """Return how many pixels on each side of a source's are fitted; a mosaic's finer ones are more."""
    return min(_WINDOW_NODES // oversample, (LANES - 1) // 2)


@compiled
def fit_block(
    image: Plane,
    background: Plane,
    extra_variance: Plane,
    usable: NDArray[np.bool_],
    phases: Plane,
    xs: Floats,
    ys: Floats,
    radius: int,
    level: Floats,
    variance: Floats,
    start: Floats,
    free: bool,
    last: bool,
    out: Floats,
) -> None:
    """Fit the sources of ``start`` (n, 3; flux, x, y) into ``out`` (n, 11; see ``fit``).

    Their extents are measured in the ``last`` pass only; those before it need not settle as well.
    """
    corners, blend_weights = np.empty(4, np.int64), np.empty(4)
    size = 2 * radius + 1
    data, sky = np.zeros((size, LANES), np.float32), np.zeros((size, LANES), np.float32)
    extra, value = np.zeros((size, LANES), np.float32), np.zeros((size, LANES), np.float32)
    dx, dy = np.zeros((size, LANES), np.float32), np.zeros((size, LANES), np.float32)
    weight, covariance = np.zeros((size, LANES)), np.zeros((3, 3))
    settled = _SETTLED_PIXELS if last else _NEARLY_SETTLED_PIXELS
    wider = np.zeros((3, size, LANES), np.float32)
    oversample = phases.shape[2]
    block = np.empty(
        ((size + 2 * kernels.MARGIN) * oversample, oversample, LANES + 2 * kernels.MARGIN), np.float32
    )
    for k in range(start.shape[0]):
        column, row = floor(start[k, 1] + 0.5), floor(start[k, 2] + 0.5)
        kernels.corners_at(start[k, 1], start[k, 2], xs, ys, corners, blend_weights)
        kernels.cut(phases, corners, blend_weights, radius, block)
        n_used = _cut(image, background, extra_variance, usable, column, row, data, sky, extra)
        # A source whose own flux was taken off the image with the others' gets it back first.
        flux, x, y = start[k, 0], start[k, 1] - column, start[k, 2] - row
        if flux != 0.0:
            kernels.sample_window(block, x, y, value, dx, dy)
            for j in range(size):
                for i in range(size):
                    data[j, i] += np.float32(flux) * value[j, i]
        _fit_one(
            data, sky, extra, block, level, variance, flux, x, y, n_used, free, settled,
            value, dx, dy, weight, covariance, out[k],
        )  # fmt: skip
        out[k, 9], out[k, 10] = np.nan, np.nan
        if last and out[k, 8] > 0.0:
            _extent(data, block, weight, covariance, value, dx, dy, wider, out[k])
        out[k, 1] += column
        out[k, 2] += row
        out[k, 7] = n_used


@compiled
def _cut(
    image: Plane,
    background: Plane,
    extra_variance: Plane,
    usable: NDArray[np.bool_],
    column: int,
    row: int,
    data: Plane,
    sky: Plane,
    extra: Plane,
) -> int:
    """Write the window into ``data``, ``sky`` and ``extra``; return how many pixels are usable."""
    n_used, size = 0, data.shape[0]
    half = size // 2
    for j in range(size):
        for i in range(size):
            r, c = row + j - half, column + i - half
            data[j, i], sky[j, i], extra[j, i] = 0.0, 0.0, _NOTHING
            if r < 0 or c < 0 or r >= image.shape[0] or c >= image.shape[1]:
                continue
            if usable[r, c] and np.isfinite(image[r, c]):
                data[j, i], sky[j, i] = image[r, c], background[r, c]
                extra[j, i] = extra_variance[r, c]
                n_used += 1
    return n_used


@compiled
def _fit_one(
    data: Plane,
    sky: Plane,
    extra: Plane,
    block: Plane,
    level: Floats,
    variance: Floats,
    flux: float,
    x: float,
    y: float,
    n: int,
    free: bool,
    settled: float,
    value: Plane,
    dx: Plane,
    dy: Plane,
    weight: Floats,
    normal: Floats,
    out: Floats,
) -> None:
    """Write flux, x, y, their errors, reduced χ², and whether it converged: damped Gauss-Newton.

    Unless ``free``, the position stays and the flux may be negative. It has converged when a step is less
    than ``settled`` pixels, and no more of the flux's error. ``normal`` gets the covariance.
    """
    x0, y0 = x, y
    converged, moved = False, True
    right = np.zeros(3)
    chi2 = 0.0
    for step in range(MAX_STEPS):
        kernels.sample_window(block, x, y, value, dx, dy)
        if step == 0 and flux == 0.0:
            _weigh(sky, extra, value, 0.0, level, variance, weight)
            flux = _linear_flux(data, value, weight)
        if moved:
            _weigh(sky, extra, value, flux, level, variance, weight)
        chi2 = _normal_equations(data, value, dx, dy, flux, weight, normal, right)
        determinant = _solve(normal, right) if free else _solve_flux(normal, right)
        if n < 6 or not determinant > 0.0:
            break
        shift = max(abs(right[1]), abs(right[2]))
        damp = 1.0 if shift < 0.5 else 0.5 / shift
        flux, x, y = flux + right[0], x + damp * right[1], y + damp * right[2]
        if abs(x - x0) > MAX_SHIFT or abs(y - y0) > MAX_SHIFT or (free and not flux > 0.0):
            break
        if shift < settled and abs(right[0]) < settled * sqrt(max(normal[0, 0], 1e-300)) + 1e-5 * abs(flux):
            converged = True
            break
        moved = shift > _SAME_PIXELS or abs(right[0]) > _SAME_SHARE * abs(flux)
    out[0], out[1], out[2] = flux, x, y
    for k in range(3):
        out[3 + k] = sqrt(max(normal[k, k], 0.0)) if converged else np.nan
    out[6] = chi2 / max(n - (3 if free else 1), 1)
    out[8] = 1.0 if converged else 0.0


@compiled
def _extent(
    data: Plane,
    block: Plane,
    weight: Floats,
    covariance: Floats,
    value: Plane,
    dx: Plane,
    dy: Plane,
    wider: Plane,
    out: Floats,
) -> None:
    """Write how much wider than a star the source is (pixels², its variance along an axis) and the error.

    To first order a source of variance e looks like P + e/2 · ∇²P: a fourth column beside flux and position,
    whose share in the others is taken off. For a star it is zero but for noise.
    """
    flux, x, y = out[0], out[1], out[2]
    bent = wider[0]
    bent[:] = 0.0
    for side in (-_BEND_PIXELS, _BEND_PIXELS):
        kernels.sample_window(block, x + side, y, value, wider[1], wider[2])
        bent += value
        kernels.sample_window(block, x, y + side, value, wider[1], wider[2])
        bent += value
    kernels.sample_window(block, x, y, value, dx, dy)
    scale = 0.5 * flux / (_BEND_PIXELS * _BEND_PIXELS)
    shared, right = np.zeros(3), np.zeros(3)
    own, wanted = 0.0, 0.0
    for j in range(data.shape[0]):
        for i in range(data.shape[0]):
            a, b, c = float(value[j, i]), flux * dx[j, i], flux * dy[j, i]
            bend = scale * (bent[j, i] - 4.0 * a)
            w = weight[j, i]
            rest, pull = w * (data[j, i] - flux * a), w * bend
            own += pull * bend
            wanted += rest * bend
            shared[0] += pull * a
            shared[1] += pull * b
            shared[2] += pull * c
            right[0] += rest * a
            right[1] += rest * b
            right[2] += rest * c
    explained = covariance @ shared
    own -= float(explained @ shared)
    if own > 0.0:
        out[9], out[10] = (wanted - float(explained @ right)) / own, 1.0 / sqrt(own)


@compiled
def _segment(level: Floats, at: float, near: int) -> int:
    """Return the upper node of the stretch of ``level`` that holds ``at``, looked for from ``near`` on."""
    while near < level.size - 1 and level[near] < at:
        near += 1
    while near > 1 and level[near - 1] >= at:
        near -= 1
    return near


@compiled
def _between(level: Floats, variance: Floats, at: float, i: int) -> float:
    span = level[i] - level[i - 1]
    share = max((at - level[i - 1]) / span, 0.0) if span > 0.0 else 0.0
    return float(variance[i - 1] + share * (variance[i] - variance[i - 1]))


@compiled
def variances(brightness: Plane, level: Floats, variance: Floats, out: Plane) -> None:
    """Write the variance at each pixel's ``brightness`` (ny, nx) into ``out``; beyond the nodes, theirs."""
    start, slope = np.empty(_BUCKETS + 1, np.int16), np.zeros(level.size)
    for i in range(1, level.size):
        span = level[i] - level[i - 1]
        slope[i] = (variance[i] - variance[i - 1]) / span if span > 0.0 else 0.0
    # Noise jumps from node to node: where to look is read from a table, of the lower half of the nodes.
    scale, near = _BUCKETS / max(level[level.size // 2] - level[0], 1e-300), 1
    for b in range(start.size):
        near = _segment(level, level[0] + b / scale, near)
        start[b] = near
    for y in range(brightness.shape[0]):
        line, to = brightness[y], out[y]
        for x in range(line.size):
            at = min(max(float(line[x]), level[0]), level[-1])
            bucket = (at - level[0]) * scale
            # Also false for NaN.
            near = _segment(level, at, start[int(bucket)] if bucket < _BUCKETS else start[_BUCKETS])
            to[x] = variance[near - 1] + slope[near] * max(at - level[near - 1], 0.0)


@compiled
def _weigh(
    sky: Plane, extra: Plane, value: Plane, flux: float, level: Floats, variance: Floats, weight: Floats
) -> None:
    """Write the inverse variance of each pixel as a source of ``flux`` makes it."""
    near = 1
    for j in range(sky.shape[0]):
        for i in range(sky.shape[0]):
            expected = sky[j, i] + max(flux * value[j, i], 0.0)
            near = _segment(level, expected, near)
            weight[j, i] = 1.0 / (_between(level, variance, expected, near) + extra[j, i])


@compiled
def _linear_flux(data: Plane, value: Plane, weight: Floats) -> float:
    above, below = 0.0, 1e-300
    for j in range(data.shape[0]):
        for i in range(data.shape[0]):
            w = value[j, i] * weight[j, i]
            above += w * data[j, i]
            below += w * value[j, i]
    return above / below


@compiled
def _normal_equations(
    data: Plane,
    value: Plane,
    dx: Plane,
    dy: Plane,
    flux: float,
    weight: Floats,
    normal: Floats,
    right: Floats,
) -> float:
    """Write the 3×3 normal matrix and right-hand side; return χ²."""
    chi2 = 0.0
    aa, ab, ac, bb, bc, cc = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    ra, rb, rc = 0.0, 0.0, 0.0
    for j in range(data.shape[0]):
        for i in range(data.shape[0]):
            w = weight[j, i]
            a, b, c = float(value[j, i]), flux * dx[j, i], flux * dy[j, i]
            rest = data[j, i] - flux * a
            wa, wb, wr = w * a, w * b, w * rest
            chi2 += wr * rest
            aa += wa * a
            ab += wa * b
            ac += wa * c
            bb += wb * b
            bc += wb * c
            cc += w * c * c
            ra += a * wr
            rb += b * wr
            rc += c * wr
    normal[0, 0], normal[1, 1], normal[2, 2] = aa, bb, cc
    normal[0, 1], normal[0, 2], normal[1, 2] = ab, ac, bc
    normal[1, 0], normal[2, 0], normal[2, 1] = ab, ac, bc
    right[0], right[1], right[2] = ra, rb, rc
    return chi2


@compiled
def _solve(normal: Floats, right: Floats) -> float:
    """Put covariance and step in place of ``normal`` and ``right``; return the determinant."""
    a, b, c = normal[0, 0], normal[0, 1], normal[0, 2]
    d, e, f = normal[1, 1], normal[1, 2], normal[2, 2]
    determinant = a * (d * f - e * e) - b * (b * f - c * e) + c * (b * e - c * d)
    # Cauchy-Schwarz bounds it by the diagonal's product: relative to that, zero means singular.
    if not determinant > 1e-12 * a * d * f:
        return 0.0
    aa, ab, ac = (d * f - e * e) / determinant, (c * e - b * f) / determinant, (b * e - c * d) / determinant
    bb, bc, cc = (a * f - c * c) / determinant, (b * c - a * e) / determinant, (a * d - b * b) / determinant
    normal[0, 0], normal[0, 1], normal[0, 2] = aa, ab, ac
    normal[1, 0], normal[1, 1], normal[1, 2] = ab, bb, bc
    normal[2, 0], normal[2, 1], normal[2, 2] = ac, bc, cc
    p, q, r = right[0], right[1], right[2]
    right[0], right[1], right[2] = (
        aa * p + ab * q + ac * r,
        ab * p + bb * q + bc * r,
        ac * p + bc * q + cc * r,
    )
    return float(determinant)


@compiled
def _solve_flux(normal: Floats, right: Floats) -> float:
    """As ``_solve`` for the flux alone: positions do not move and have no error."""
    weight, step = normal[0, 0], right[0]
    normal[:], right[:] = 0.0, 0.0
    if weight > 0.0:
        normal[0, 0], right[0] = 1.0 / weight, step / weight
    return float(weight)
