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
PHASES: Final = 16
"""Places of a drop within a pixel, along an edge, between which its shares are linear."""
ROOM: Final = 8
"""Pixels beyond a window's edges that are written and not looked at; the most that a drop reaches over."""
_NOTHING: Final = 1e-9
_THIN: Final = 0.3
"""Where pixels weigh less than this share of a window's heaviest, shares are to be exact: see ``mean_of``."""
_PAIR: Final = np.uint64(2 * ROOM)
_LIGHT: Final[Plane] = np.tile(np.array([1.0, 0.0], np.float32), ROOM)
_WEIGHT: Final[Plane] = np.tile(np.array([0.0, 1.0], np.float32), ROOM)


def room_for(n: int, size: int) -> Plane:
    """Return empty sums of ``n`` windows of ``size`` pixels, a row each: light and weight side by side."""
    return np.zeros((n, 2 * (size + 2 * ROOM) ** 2), np.float32)


@compiled
def shares(px: float, py: float, qx: float, qy: float) -> Plane:
    """Return the shares of a drop with half sides p and q in the pixels about it (y, x, rows, 2 · ``ROOM``).

    Where the drop's box begins within a pixel goes from 0 to 1 in ``PHASES`` steps, along y and x. Each is
    there twice, for light and for weight.
    """
    reach_x, reach_y = abs(px) + abs(qx), abs(py) + abs(qy)
    wide, high = floor(2 * reach_x) + 2, floor(2 * reach_y) + 2
    out = np.zeros((PHASES + 1, PHASES + 1, high, 2 * ROOM), np.float32)
    window, area = np.zeros((high + 1, wide + 2)), 4 * abs(px * qy - py * qx)
    for j in range(PHASES + 1):
        for i in range(PHASES + 1):
            window[:] = 0.0
            draw(i / PHASES + reach_x, j / PHASES + reach_y, px, py, qx, qy, window)
            for b in range(high):
                total = 0.0
                for a in range(wide):
                    total += window[b, a]
                    share = abs(total) / area
                    out[j, i, b, 2 * a] = out[j, i, b, 2 * a + 1] = share if share > _NOTHING else 0.0
    return out


@compiled
def _spread(
    table: Plane, rows: int, x: float, y: float, sums: Plane, side: int, own: float, bright: float
) -> None:
    """Add ``own`` times the shares of a drop whose box begins at (x, y) to ``sums``, light times ``bright``.

    ``table`` is one row of all ``shares``, over ``rows`` of pixels. Indices are unsigned: such as might
    be negative keep a loop from being vectorised.
    """
    column, row = floor(x), floor(y)
    i, j = int((x - column) * PHASES), int((y - row) * PHASES)
    fx, fy = (x - column) * PHASES - i, (y - row) * PHASES - j
    w0, w1 = np.float32(own * (1 - fx) * (1 - fy)), np.float32(own * fx * (1 - fy))
    w2, w3 = np.float32(own * (1 - fx) * fy), np.float32(own * fx * fy)
    each, line = np.float32(bright), 2 * ROOM * rows
    one = np.uint64((j * (PHASES + 1) + i) * line)
    two, down = one + np.uint64(line), np.uint64((PHASES + 1) * line)
    three, four = one + down, two + down
    to, step = np.uint64(2 * (row * side + column)), np.uint64(2 * side)
    for _ in range(rows):
        for lane in range(_PAIR):
            a = np.uint64(lane)
            sums[to + a] += (each * _LIGHT[a] + _WEIGHT[a]) * (
                (w0 * table[one + a] + w1 * table[two + a]) + (w2 * table[three + a] + w3 * table[four + a])
            )
        one, two, three, four = one + _PAIR, two + _PAIR, three + _PAIR, four + _PAIR
        to += step


@compiled
def _draw(
    sides: Floats, x: float, y: float, window: Floats, sums: Plane, side: int, own: float, bright: float
) -> None:
    """As ``_spread``, exactly: ``sides`` are half those of the drop."""
    px, py, qx, qy = sides[0], sides[1], sides[2], sides[3]
    reach_x, reach_y = abs(px) + abs(qx), abs(py) + abs(qy)
    column, row = floor(x), floor(y)
    wide, high = ceil(x + 2 * reach_x) - column, ceil(y + 2 * reach_y) - row
    draw(x - column + reach_x, y - row + reach_y, px, py, qx, qy, window)
    over_area = 1 / (4 * abs(px * qy - py * qx))
    for b in range(high):
        total = 0.0
        for a in range(wide):
            total += window[b, a]
            window[b, a] = 0.0
            share = abs(total) * over_area
            if share > _NOTHING and 0 <= row + b < side and 0 <= column + a < side:
                to = 2 * ((row + b) * side + column + a)
                sums[to] += own * share * bright
                sums[to + 1] += own * share
        window[b, wide] = 0.0


@compiled
def _add_star(
    value: Plane, column: int, row: int, u: float, v: float, slopes: Floats, sides: Floats, table: Plane,
    rows: int, bounds: NDArray[np.int64], weight: float, plane: NDArray[np.uint8], x: float, y: float,
    window: Floats, sums: Plane, size: int,
) -> None:  # fmt: skip
    """Add an exposure's star at (x, y) of a window to its ``sums``.

    ``value`` (2 · radius + 1, LANES) is its light in pixels about (``column``, ``row``), itself at (u, v).
    Shares are read from ``table``, or drawn if that is empty.
    """
    radius, side = value.shape[0] // 2, size + 2 * ROOM
    reach_x, reach_y = abs(sides[0]) + abs(sides[2]), abs(sides[1]) + abs(sides[3])
    over_pixel = 1 / abs(slopes[0] * slopes[3] - slopes[1] * slopes[2])
    known, drawn = plane.size > 1, table.size == 0
    for j in range(max(-radius, bounds[0] - row), min(radius + 1, bounds[1] - row)):
        for i in range(max(-radius, bounds[2] - column), min(radius + 1, bounds[3] - column)):
            du, dv = column + i - u, row + j - v
            # In the frame where pixel k is from k to k + 1.
            cx, cy = x + 0.5 + slopes[0] * du + slopes[1] * dv, y + 0.5 + slopes[2] * du + slopes[3] * dv
            if cx + reach_x <= 0 or cy + reach_y <= 0 or cx - reach_x >= size or cy - reach_y >= size:
                continue
            own, bright = weight, value[j + radius, i + radius] * over_pixel
            if known:
                own *= plane[row + j - bounds[0], column + i - bounds[2]] / STEPS
                if own == 0.0:
                    continue
            left, low = cx - reach_x + ROOM, cy - reach_y + ROOM
            if drawn:
                _draw(sides, left, low, window, sums, side, own, bright)
            else:
                _spread(table, rows, left, low, sums, side, own, bright)


@compiled
def add_exposure(
    x: Floats, y: Floats, u: Floats, v: Floats, block: Plane, slopes: Floats, sides: Floats, table: Plane,
    bounds: NDArray[np.int64], weight: float, plane: NDArray[np.uint8], radius: int, sums: Plane, size: int,
) -> None:  # fmt: skip
    """Add an exposure's stars of unit flux at (``x``, ``y``) to ``sums`` (see ``room_for``).

    Windows are about the pixels nearest to the stars. ``u``, ``v`` (n) are their places in the exposure,
    ``block`` what ``kernels.cut`` gives for ``radius``, ``slopes`` (4) those of the mosaic's x and y along
    its own, ``sides`` (4) half the sides p and q of a drop, ``table`` its ``shares`` or empty for exact ones,
    ``bounds`` its rows and columns, ``plane`` the weights of its pixels in ``STEPS`` of the typical
    ``weight``; one value stands for: all alike.
    """
    half, side, flat, rows = size // 2, 2 * radius + 1, table.ravel(), table.shape[2]
    extent = 2 * ceil(np.max(np.abs(sides)) * 2) + 4
    window, value = np.zeros((extent, extent + 1)), np.empty((side, LANES), np.float32)
    for n in range(x.size):
        column, row = floor(u[n] + 0.5), floor(v[n] + 0.5)
        kernels.sample_values(block, u[n] - column, v[n] - row, value)
        at_x, at_y = x[n] - floor(x[n] + 0.5) + half, y[n] - floor(y[n] + 0.5) + half
        _add_star(
            value, column, row, u[n], v[n], slopes, sides, flat, rows, bounds, weight, plane, at_x, at_y,
            window, sums[n], size,
        )  # fmt: skip


@compiled
def mean_of(sums: Plane, out: Plane, thin: NDArray[np.bool_]) -> None:
    """Write light over weight (n, size, ``LANES``), 0 where nothing weighs, and which windows are ``thin``.

    In those some pixels have hardly any weight. There a small mistake in the shares that two drops have in a
    pixel makes much of a difference.
    """
    size = out.shape[1]
    side = size + 2 * ROOM
    for n in range(out.shape[0]):
        heavy, least = np.float32(0.0), np.float32(np.inf)
        for j in range(size):
            for i in range(size):
                at = 2 * ((j + ROOM) * side + i + ROOM)
                own = sums[n, at + 1]
                heavy, least = max(heavy, own), min(least, own)
                out[n, j, i] = sums[n, at] / own if own > 0.0 else np.float32(0.0)
        thin[n] = least < np.float32(_THIN) * heavy


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
