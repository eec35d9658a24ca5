# ruff: noqa: PLR0917 - compiled code takes its arrays one by one
"""Clipped levels of boxes, and the smooth surface through them, compiled."""

from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled
from nexus_pipeline.measure.circle_kernels import selected

Plane = NDArray[np.float32]
Floats = NDArray[np.float64]

_CLIP_SIGMA: Final = 3.0
_CLIPS: Final = 10
_BUCKETS: Final = 512
_SAMPLE: Final = 256


@compiled
def grown(sources: NDArray[np.bool_], margin: int, first: int, last: int, out: NDArray[np.bool_]) -> None:
    """Write rows ``first`` to ``last`` of ``sources`` grown by a cross of one pixel, ``margin`` times."""
    ny, nx = sources.shape
    top, bottom = max(first - margin, 0), min(last + margin, ny)
    here = np.zeros((bottom - top, nx + 2), np.uint8)
    there = np.zeros((bottom - top, nx + 2), np.uint8)
    for y in range(top, bottom):
        here[y - top, 1 : nx + 1] = sources[y]
    for _ in range(margin):
        for y in range(bottom - top):
            # What lies beyond the band is missing there, but never reaches the rows that are asked for.
            above, line, below = here[max(y - 1, 0)], here[y], here[min(y + 1, bottom - top - 1)]
            left, right, to = line[:nx], line[2:], there[y, 1 : nx + 1]
            above, line, below = above[1 : nx + 1], line[1 : nx + 1], below[1 : nx + 1]
            for x in range(nx):
                to[x] = left[x] | line[x] | right[x] | above[x] | below[x]
        here, there = there, here
    for y in range(first, last):
        out[y] = here[y - top, 1 : nx + 1] != 0


@compiled
def level_boxes(
    image: Plane,
    unusable: NDArray[np.bool_],
    covered: NDArray[np.bool_],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    mean: bool,
    every: int,
    first: int,
    last: int,
    level: Floats,
    share: Floats,
) -> None:
    """Write clipped mean (or median) and share of sky pixels of boxes of rows ``first`` to ``last``.

    Of a box ``every`` so many rows are looked at.
    """
    most = np.max(np.diff(rows)) * np.max(np.diff(columns))
    room, sorted_room = np.empty(most, np.float32), np.empty(most, np.float32)
    for j in range(first, last):
        for i in range(columns.size - 1):
            n = 0
            for y in range(rows[j], rows[j + 1], every):
                values, bad, hidden = image[y], unusable[y], covered[y]
                for x in range(columns[i], columns[i + 1]):
                    room[n] = values[x]
                    n += 0 if bad[x] or hidden[x] or not abs(values[x]) < np.inf else 1
            seen = (rows[j + 1] - rows[j] + every - 1) // every
            share[j, i] = n / (seen * (columns[i + 1] - columns[i]))
            level[j, i] = clipped(room[:n], sorted_room[:n], mean) if n > 0 else np.nan


@compiled
def clipped(values: Plane, room: Plane, mean: bool) -> float:
    """Return the mean or median of ``values`` within 3 σ of their median, over and over.

    ``room`` (as long) gets them in buckets of like value, so that a round looks only into those buckets
    where the limits and the median fall.
    """
    start = np.zeros(_BUCKETS + 1, np.int64)
    total, squares = np.zeros(_BUCKETS + 1), np.zeros(_BUCKETS + 1)
    zero, scale = _spacing(values)
    _into_buckets(values, zero, scale, room, start, total, squares)
    low, high, middle, average = -np.inf, np.inf, zero, 0.0
    n_low, sum_low, squares_low = 0, 0.0, 0.0
    n_high, sum_high, squares_high = values.size, total[-1], squares[-1]
    for _ in range(_CLIPS):
        n = n_high - n_low
        middle = _ranked(room, start, n_low + n // 2)
        if n % 2 == 0:
            middle = 0.5 * (middle + _ranked(room, start, n_low + n // 2 - 1))
        average = (sum_high - sum_low) / n
        limit = _CLIP_SIGMA * sqrt(max((squares_high - squares_low) / n - average * average, 0.0))
        # Values on a limit stay.
        low, high = max(low, middle - limit), min(high, np.nextafter(middle + limit, np.inf))
        n_low, sum_low, squares_low = _below(room, low, zero, scale, start, total, squares)
        n_high, sum_high, squares_high = _below(room, high, zero, scale, start, total, squares)
        if n_high == n_low or n_high - n_low == n:
            break
    return zero + average if mean else middle


@compiled
def _spacing(values: Plane) -> tuple[float, float]:
    """Return about the median of ``values``, and how many buckets there are to a unit: 3 quartiles' span."""
    step = max(values.size // _SAMPLE, 1)
    some = values[::step].copy()
    n = some.size
    low, zero, high = selected(some, n // 4), selected(some, n // 2), selected(some, 3 * n // 4)
    return zero, 0.5 * _BUCKETS / (3.0 * max(high - low, 1e-30))


@compiled
def _bucket(value: float, zero: float, scale: float) -> int:
    at = (value - zero) * scale + 0.5 * _BUCKETS
    return int(min(max(at, 0.0), _BUCKETS - 1.0))


@compiled
def _into_buckets(
    values: Plane,
    zero: float,
    scale: float,
    room: Plane,
    start: NDArray[np.int64],
    total: Floats,
    squares: Floats,
) -> None:
    """Write ``values`` into ``room`` by buckets; where each starts, and sums (less ``zero``) before it."""
    for k in range(values.size):
        start[_bucket(float(values[k]), zero, scale) + 1] += 1
    for b in range(_BUCKETS):
        start[b + 1] += start[b]
    free = start[:_BUCKETS].copy()
    for k in range(values.size):
        b = _bucket(float(values[k]), zero, scale)
        room[free[b]] = values[k]
        free[b] += 1
    for b in range(_BUCKETS):
        one, two = 0.0, 0.0
        for k in range(start[b], start[b + 1]):
            away = float(room[k]) - zero
            one += away
            two += away * away
        total[b + 1], squares[b + 1] = total[b] + one, squares[b] + two


@compiled
def _ranked(room: Plane, start: NDArray[np.int64], rank: int) -> float:
    """Return the value that would be at ``rank`` were ``room`` in order."""
    b = int(np.searchsorted(start, rank, side="right")) - 1
    return selected(room[start[b] : start[b + 1]], int(rank - start[b]))


@compiled
def _below(
    room: Plane,
    at: float,
    zero: float,
    scale: float,
    start: NDArray[np.int64],
    total: Floats,
    squares: Floats,
) -> tuple[int, float, float]:
    """Return number, sum and sum of squares (less ``zero``) of the values below ``at``."""
    b = _bucket(at, zero, scale)
    n, one, two = start[b], total[b], squares[b]
    for k in range(start[b], start[b + 1]):
        if room[k] < at:
            away = float(room[k]) - zero
            n += 1
            one += away
            two += away * away
    return n, one, two


@compiled
def count_good(image: Plane, variance: Plane, unusable: NDArray[np.bool_]) -> int:
    """Return how many pixels are usable, finite, and have a variance."""
    n = 0
    for y in range(image.shape[0]):
        values, spread, bad = image[y], variance[y], unusable[y]
        for x in range(values.size):
            n += _good(values[x], spread[x], bad[x])
    return n


@compiled
def _good(value: float, variance: float, bad: bool) -> bool:
    return not bad and abs(value) < np.inf and 0.0 < variance < np.inf


@compiled
def pick(
    image: Plane,
    variance: Plane,
    unusable: NDArray[np.bool_],
    step: int,
    bright: float,
    level: Plane,
    values: Plane,
) -> int:
    """Write value and variance of each ``step``-th good pixel and all above ``bright``; return how many."""
    n, due = 0, 0
    for y in range(image.shape[0]):
        line, spread, bad = image[y], variance[y], unusable[y]
        for x in range(line.size):
            if _good(line[x], spread[x], bad[x]):
                if due == 0 or line[x] > bright:
                    level[n], values[n] = line[x], spread[x]
                    n += 1
                due = due + 1 if due < step - 1 else 0
    return n


@compiled
def surface(
    padded: Floats,
    rows: NDArray[np.int64],
    across: Floats,
    columns: NDArray[np.int64],
    along: Floats,
    first: int,
    last: int,
    out: Plane,
) -> None:
    """Write rows ``first`` to ``last`` of the surface whose pixels weigh 4×4 nodes of ``padded``.

    ``rows`` and ``columns`` say the first node of each pixel's four, ``across`` and ``along`` (n, 4) their
    weights.
    """
    line = np.empty(padded.shape[1])
    for y in range(first, last):
        line[:] = 0.0
        for k in range(4):
            row, w = padded[rows[y] + k], across[y, k]
            for i in range(line.size):
                line[i] += w * row[i]
        for x in range(out.shape[1]):
            i, w4 = columns[x], along[x]
            out[y, x] = w4[0] * line[i] + w4[1] * line[i + 1] + w4[2] * line[i + 2] + w4[3] * line[i + 3]
