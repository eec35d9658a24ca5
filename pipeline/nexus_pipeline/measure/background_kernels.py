# ruff: noqa: PLR0917 - compiled code takes its arrays one by one
"""Clipped levels of boxes, and the smooth surface through them, compiled."""

from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled
from nexus_pipeline.measure.circle_kernels import middle_of

Plane = NDArray[np.float32]
Floats = NDArray[np.float64]

_CLIP_SIGMA: Final = 3.0
_CLIPS: Final = 10


@compiled
def level_boxes(
    image: Plane,
    mask: NDArray[np.bool_],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    mean: bool,
    first: int,
    last: int,
    level: Floats,
    share: Floats,
) -> None:
    """Write clipped mean (or median) and share of usable pixels of boxes of rows ``first`` to ``last``."""
    room = np.empty(np.max(np.diff(rows)) * np.max(np.diff(columns)), np.float32)
    for j in range(first, last):
        for i in range(columns.size - 1):
            n = 0
            for y in range(rows[j], rows[j + 1]):
                values, hidden = image[y], mask[y]
                for x in range(columns[i], columns[i + 1]):
                    room[n] = values[x]
                    n += 0 if hidden[x] or not abs(values[x]) < np.inf else 1
            share[j, i] = n / ((rows[j + 1] - rows[j]) * (columns[i + 1] - columns[i]))
            level[j, i] = _clipped(room[:n], mean) if n > 0 else np.nan


@compiled
def _clipped(values: Plane, mean: bool) -> float:
    """Return the mean or median of ``values`` within 3 σ of their median, over and over; they get moved."""
    n = values.size
    middle, average = 0.0, 0.0
    for _ in range(_CLIPS):
        middle = middle_of(values[:n])
        total, squares = 0.0, 0.0
        for k in range(n):
            away = float(values[k]) - middle
            total += away
            squares += away * away
        average = total / n
        limit = _CLIP_SIGMA * sqrt(max(squares / n - average * average, 0.0))
        kept = 0
        for k in range(n):
            if abs(float(values[k]) - middle) <= limit:
                values[kept] = values[k]
                kept += 1
        if kept == 0 or kept == n:  # noqa: PLR1714 - compiled
            break
        n = kept
    return middle + average if mean else middle


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
