# ruff: noqa: PLR0917 - compiled code takes its arrays one by one
"""The matched filter of a star over an image, compiled: sums of separable filters in one pass by rows.

Takes an image (U), its background's variance (U²) and a stamp of the PSF; leaves significance: for a star
in the middle of each pixel, its best-fit flux over the error of it.
"""

from functools import partial
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled, compiled_fused, share_out

Plane = NDArray[np.float32]

_BAND_ROWS: Final = 256
_THIN: Final = 8
_STAMP_ERROR: Final = 3e-2
"""What the separable terms may leave of the stamp (of its norm): a fit loses half the square, 5e-4."""
_WEIGHT_ERROR: Final = 1e-2
"""The same of its square, which only scales the result."""
_TAPS: Final = 4
_LEAST_WEIGHT: Final = 1e-3
"""Where fewer of the stamp's weights are on usable pixels nothing can be said."""


def significance(image: Plane, variance: Plane, usable: NDArray[np.bool_], stamp: Plane) -> Plane:
    """Return the matched filter of ``stamp`` (odd, square) over ``image`` in units of its own error.

    Unusable and infinite pixels weigh nothing. ``variance`` is the background's alone.
    """
    out = np.empty(image.shape, np.float32)
    star, square = terms(stamp, _STAMP_ERROR), terms(stamp.astype(np.float64) ** 2, _WEIGHT_ERROR)
    thin = (slice(None, None, 16),) * 2
    typical = variance[thin][usable[thin] & (variance[thin] > 0)]
    weight = float(np.median(1 / typical)) if typical.size else 1.0
    floor = np.float32(_LEAST_WEIGHT * weight * float(np.sum(np.square(stamp, dtype=np.float64))))
    work = partial(_filter_rows, image, variance, usable, *star, *square, floor, out)
    starts = range(0, image.shape[0], _BAND_ROWS)
    share_out(lambda first: work(first, min(first + _BAND_ROWS, image.shape[0])), starts)
    return out


def covered(filtered: Plane, usable: NDArray[np.bool_], sigma: float) -> NDArray[np.bool_]:
    """Say which pixels of a map of significance sources cover: beyond ``sigma``, the deep lows too.

    Where pixels share their noise its scatter is not 1: it is read from the lower half of the map. Were more
    left out, the noise of what remains would be that of pixels whose neighbours make up for them.
    """
    seen = filtered[::_THIN, ::_THIN][usable[::_THIN, ::_THIN]]
    if not seen.size:
        return np.abs(filtered) > sigma
    low, middle = np.percentile(seen, [15.87, 50.0])
    return np.asarray(np.abs(filtered) > sigma * max(float(middle - low), 1.0))


def terms(stamp: NDArray[np.floating], error: float) -> tuple[Plane, Plane]:
    """Return columns, rows (n, size) whose products sum to ``stamp`` but for ``error`` of its norm."""
    left, values, right = np.linalg.svd(stamp.astype(np.float64))
    rest = np.sqrt(np.cumsum(values[::-1] ** 2)[::-1])
    n = max(1, int(np.count_nonzero(rest > error * rest[0])))
    root = np.sqrt(values[:n])[:, None]
    return (left.T[:n] * root).astype(np.float32), (right[:n] * root).astype(np.float32)


@compiled
def _filter_rows(
    image: Plane,
    variance: Plane,
    usable: NDArray[np.bool_],
    star_columns: Plane,
    star_rows: Plane,
    square_columns: Plane,
    square_rows: Plane,
    floor: np.float32,
    out: Plane,
    first: int,
    last: int,
) -> None:
    """Write rows ``first`` to ``last`` of ``out``; rows filtered along x wait in rings, one a term."""
    ny, nx = image.shape
    size = star_rows.shape[1]
    half = size // 2
    light = np.zeros(nx + 2 * half, np.float32)
    weight = np.zeros(nx + 2 * half, np.float32)
    stars = np.zeros((star_rows.shape[0], size, nx), np.float32)
    squares = np.zeros((square_rows.shape[0], size, nx), np.float32)
    above, below = np.empty(nx, np.float32), np.empty(nx, np.float32)
    for y in range(first - half, last + half):
        if 0 <= y < ny:
            _weigh(image[y], variance[y], usable[y], half, light, weight)
        else:
            light[:], weight[:] = 0.0, 0.0
        _along(light, star_rows, stars[:, y % size])
        _along(weight, square_rows, squares[:, y % size])
        row = y - half
        if row >= first:
            _across(stars, star_columns, row - half, above)
            _across(squares, square_columns, row - half, below)
            for x in range(nx):
                out[row, x] = above[x] / np.float32(sqrt(max(below[x], floor)))
                if below[x] <= floor:
                    out[row, x] = 0.0


@compiled
def _weigh(
    image: Plane, variance: Plane, usable: NDArray[np.bool_], half: int, light: Plane, weight: Plane
) -> None:
    """Write weights and weighted light of one row between ``half`` zeros on either side."""
    for x in range(image.size):
        good = usable[x] and variance[x] > 0.0 and abs(image[x]) < np.float32(np.inf)
        w = np.float32(1.0) / variance[x] if good else np.float32(0.0)
        weight[x + half] = w
        light[x + half] = w * image[x] if good else np.float32(0.0)


@compiled
def _along(padded: Plane, rows: Plane, out: Plane) -> None:
    """Write ``padded`` filtered with each of ``rows`` into the rows of ``out``."""
    nx, size = out.shape[1], rows.shape[1]
    for term in range(rows.shape[0]):
        line, shares = out[term], rows[term]
        line[:] = 0.0
        for tap in range(0, size - _TAPS + 1, _TAPS):
            _add_four(
                padded[tap : tap + nx], padded[tap + 1 : tap + 1 + nx],
                padded[tap + 2 : tap + 2 + nx], padded[tap + 3 : tap + 3 + nx],
                shares[tap : tap + _TAPS], line,
            )  # fmt: skip
        for tap in range(size // _TAPS * _TAPS, size):
            _add_one(padded[tap : tap + nx], shares[tap], line)


@compiled
def _across(rings: Plane, columns: Plane, top: int, out: Plane) -> None:
    """Write the sum of the rings' rows from ``top`` on, weighed with ``columns``."""
    out[:] = 0.0
    size = rings.shape[1]
    for term in range(rings.shape[0]):
        ring, shares = rings[term], columns[term]
        for tap in range(0, size - _TAPS + 1, _TAPS):
            at = top + tap
            _add_four(
                ring[at % size], ring[(at + 1) % size], ring[(at + 2) % size], ring[(at + 3) % size],
                shares[tap : tap + _TAPS], out,
            )  # fmt: skip
        for tap in range(size // _TAPS * _TAPS, size):
            _add_one(ring[(top + tap) % size], shares[tap], out)


@compiled_fused
def _add_four(a: Plane, b: Plane, c: Plane, d: Plane, shares: Plane, out: Plane) -> None:
    """Add four rows at once: the sum is written once for all of them."""
    w, x, y, z = shares[0], shares[1], shares[2], shares[3]
    for i in range(out.size):
        out[i] += (w * a[i] + x * b[i]) + (y * c[i] + z * d[i])


@compiled_fused
def _add_one(line: Plane, share: np.float32, out: Plane) -> None:
    for i in range(out.size):
        out[i] += share * line[i]
