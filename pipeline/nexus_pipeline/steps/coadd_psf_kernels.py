# ruff: noqa: PLR0913, PLR0917 - compiled code takes its arrays one by one
"""The compiled part of ``steps.coadd_psf``: stars of many exposures on a mosaic's pixels, about each place.

Drops are drawn as in the mosaic itself, all of an exposure alike: about one star its map is straight.
"""

from math import ceil, floor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled
from nexus_pipeline.psf import kernels
from nexus_pipeline.psf.kernels import LANES
from nexus_pipeline.steps.drizzle_kernels import draw

Plane = NDArray[np.float32]
Floats = NDArray[np.float64]

STEPS: Final = 64
"""Of the typical weight that pixels' own are told in."""
_NOTHING: Final = 1e-9


@compiled
def add_star(
    value: Plane, column: int, row: int, u: float, v: float, slopes: Floats, sides: Floats,
    bounds: NDArray[np.int64], weight: float, plane: NDArray[np.uint8], x: float, y: float, window: Floats,
    light: Floats, weights: Floats,
) -> None:  # fmt: skip
    """Add an exposure's star at (x, y) to ``light`` and ``weights``, and to them alone.

    ``value`` (2 · radius + 1, LANES) is its light in pixels about (``column``, ``row``), itself at (u, v).
    """
    radius, size = value.shape[0] // 2, light.shape[0]
    px, py, qx, qy = sides[0], sides[1], sides[2], sides[3]
    reach_x, reach_y = abs(px) + abs(qx), abs(py) + abs(qy)
    over_pixel = 1 / abs(slopes[0] * slopes[3] - slopes[1] * slopes[2])
    scale, known = weight / (4 * abs(px * qy - py * qx)), plane.size > 1
    for j in range(max(-radius, bounds[0] - row), min(radius + 1, bounds[1] - row)):
        for i in range(max(-radius, bounds[2] - column), min(radius + 1, bounds[3] - column)):
            du, dv = column + i - u, row + j - v
            # In the frame where pixel k is from k to k + 1.
            cx, cy = x + 0.5 + slopes[0] * du + slopes[1] * dv, y + 0.5 + slopes[2] * du + slopes[3] * dv
            if cx + reach_x <= 0 or cy + reach_y <= 0 or cx - reach_x >= size or cy - reach_y >= size:
                continue
            own = scale
            if known:
                own *= plane[row + j - bounds[0], column + i - bounds[2]] / STEPS
                if own == 0.0:
                    continue
            left, low = floor(cx - reach_x), floor(cy - reach_y)
            wide, high = ceil(cx + reach_x) - left, ceil(cy + reach_y) - low
            draw(cx - left, cy - low, px, py, qx, qy, window)
            bright = value[j + radius, i + radius] * over_pixel
            for b in range(high):
                total = 0.0
                for a in range(wide):
                    total += window[b, a]
                    window[b, a] = 0.0
                    share = abs(total) * own
                    if share > _NOTHING and 0 <= low + b < size and 0 <= left + a < size:
                        weights[low + b, left + a] += share
                        light[low + b, left + a] += share * bright
                window[b, wide] = 0.0


@compiled
def add_exposure(
    x: Floats, y: Floats, u: Floats, v: Floats, block: Plane, slopes: Floats, sides: Floats,
    bounds: NDArray[np.int64], weight: float, plane: NDArray[np.uint8], radius: int, light: Floats,
    weights: Floats,
) -> None:  # fmt: skip
    """Add an exposure's stars of unit flux at (``x``, ``y``) to ``light`` and ``weights`` (n, size, size).

    Their windows are about the pixels nearest to them. ``u``, ``v`` (n) are their places in the exposure,
    ``block`` what ``kernels.cut`` gives for ``radius``, ``slopes`` (4) those of the mosaic's x and y along
    its own, ``sides`` (4) half the sides p and q of a drop, ``bounds`` its rows and columns, ``plane`` the
    weights of its pixels in ``STEPS`` of the typical ``weight``; one value stands for: all alike.
    """
    half, side = light.shape[1] // 2, 2 * radius + 1
    extent = 2 * ceil(np.max(np.abs(sides)) * 2) + 4
    window = np.zeros((extent, extent + 1))
    value, dx, dy = (
        np.empty((side, LANES), np.float32), np.empty((side, LANES), np.float32),
        np.empty((side, LANES), np.float32),
    )  # fmt: skip
    for n in range(x.size):
        column, row = floor(u[n] + 0.5), floor(v[n] + 0.5)
        kernels.sample_window(block, u[n] - column, v[n] - row, value, dx, dy)
        at_x, at_y = x[n] - floor(x[n] + 0.5) + half, y[n] - floor(y[n] + 0.5) + half
        add_star(
            value, column, row, u[n], v[n], slopes, sides, bounds, weight, plane, at_x, at_y, window,
            light[n], weights[n],
        )  # fmt: skip


@compiled
def normal_equations(
    x: Floats, y: Floats, stars: Plane, phases: Plane, normal: Floats, right: Floats
) -> None:
    """Write those of fits of the smooth PSF ``phases`` to what ``stars`` have beside it (n, 3, 3), (n, 3).

    Unknown are the share of flux, x and y by which such a fit misses; all pixels weigh the same.
    """
    size = stars.shape[1]
    value, dx, dy, block = _smooth(phases, size)
    terms = np.empty(3)
    for n in range(x.size):
        kernels.sample_window(block, x[n] - floor(x[n] + 0.5), y[n] - floor(y[n] + 0.5), value, dx, dy)
        normal[n], right[n] = 0.0, 0.0
        for j in range(size):
            for i in range(size):
                if stars[n, j, i] == 0.0:
                    continue
                terms[0], terms[1], terms[2] = value[j, i], dx[j, i], dy[j, i]
                for a in range(3):
                    right[n, a] += terms[a] * (stars[n, j, i] - value[j, i])
                    for b in range(3):
                        normal[n, a, b] += terms[a] * terms[b]


@compiled
def even_out(image: Plane, x: Floats, y: Floats, flux: Floats, stars: Plane, phases: Plane) -> None:
    """Add to ``image`` what stars of the smooth PSF ``phases`` have beside ``stars`` (n, size, LANES).

    Both are of ``flux`` and lie at (``x``, ``y``); pixels where no star is known stay as they are.
    """
    size = stars.shape[1]
    half = size // 2
    value, dx, dy, block = _smooth(phases, size)
    for n in range(x.size):
        column, row = floor(x[n] + 0.5), floor(y[n] + 0.5)
        kernels.sample_window(block, x[n] - column, y[n] - row, value, dx, dy)
        for j in range(max(0, half - row), min(size, half - row + image.shape[0])):
            for i in range(max(0, half - column), min(size, half - column + image.shape[1])):
                if stars[n, j, i] != 0.0:
                    image[row + j - half, column + i - half] += flux[n] * (value[j, i] - stars[n, j, i])


@compiled
def _smooth(phases: Plane, size: int) -> tuple[Plane, Plane, Plane, Plane]:
    """Return room for a window's value and slopes, and what the one PSF of ``phases`` is sampled from."""
    oversample = phases.shape[2]
    block = np.empty(
        ((size + 2 * kernels.MARGIN) * oversample, oversample, LANES + 2 * kernels.MARGIN), np.float32
    )
    kernels.cut(phases, np.zeros(4, np.int64), np.array([1.0, 0.0, 0.0, 0.0]), size // 2, block)
    return (
        np.empty((size, LANES), np.float32), np.empty((size, LANES), np.float32),
        np.empty((size, LANES), np.float32), block,
    )  # fmt: skip
