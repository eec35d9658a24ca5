# ruff: noqa: PLR0917 - compiled code takes its arrays one by one
"""Islands: pixels above a level that touch each other, compiled; kept as runs of pixels along rows.

Runs are numbered row by row; pixels touch along sides and corners.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled

Plane = NDArray[np.float32]
Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Islands:
    """Runs (row, first and last column, island of each) and what there is of each island.

    ``size`` in pixels, ``height`` and ``peak`` (flat index) of its highest pixel, ``n_peaks`` of pixels
    none of whose eight neighbours is higher.
    """

    row: Ints
    first: Ints
    last: Ints
    island: Ints
    size: Ints
    height: Plane
    peak: NDArray[np.int64]
    n_peaks: Ints


def islands(values: Plane, level: float) -> Islands:
    """Return the islands of ``values`` (ny, nx) above ``level``."""
    starts = np.zeros(values.shape[0] + 1, np.int64)
    _count_runs(values, np.float32(level), starts[1:])
    starts = np.cumsum(starts)
    row, first, last = (np.empty(starts[-1], np.int32) for _ in range(3))
    _fill_runs(values, np.float32(level), starts, row, first, last)
    island = np.empty(starts[-1], np.int32)
    n = _join(starts, first, last, island)
    size, n_peaks = np.zeros(n, np.int32), np.zeros(n, np.int32)
    height, peak = np.full(n, -np.inf, np.float32), np.zeros(n, np.int64)
    _measure(values, row, first, last, island, size, height, peak, n_peaks)
    return Islands(row, first, last, island, size, height, peak, n_peaks)


@compiled
def _count_runs(values: Plane, level: np.float32, counts: NDArray[np.int64]) -> None:
    for y in range(values.shape[0]):
        line = values[y]
        n = np.int32(line[0] > level)
        for x in range(1, line.size):
            n += np.int32(line[x] > level) & np.int32(line[x - 1] <= level)
        counts[y] = n


@compiled
def _fill_runs(
    values: Plane, level: np.float32, starts: NDArray[np.int64], row: Ints, first: Ints, last: Ints
) -> None:
    for y in range(values.shape[0]):
        x, k = 0, starts[y]
        line = values[y]
        while k < starts[y + 1]:
            while not line[x] > level:
                x += 1
            row[k], first[k] = y, x
            while x < line.size and line[x] > level:
                x += 1
            last[k] = x - 1
            k += 1


@compiled
def _join(starts: NDArray[np.int64], first: Ints, last: Ints, island: Ints) -> int:
    """Write the island of each run, numbered by their first runs; return how many there are."""
    parent = np.arange(first.size)
    for y in range(1, starts.size - 1):
        above, here = starts[y - 1], starts[y]
        while above < starts[y] and here < starts[y + 1]:
            if first[above] <= last[here] + 1 and first[here] <= last[above] + 1:
                one, other = root(parent, above), root(parent, here)
                parent[max(one, other)] = min(one, other)
            if last[above] < last[here]:
                above += 1
            else:
                here += 1
    n = 0
    for k in range(first.size):
        top = root(parent, k)
        if top == k:
            island[k] = n
            n += 1
        else:
            island[k] = island[top]
    return n


@compiled
def root(parent: NDArray[np.int64], at: int) -> int:
    """Return the root of ``at``, halving its path."""
    while parent[at] != at:
        parent[at] = parent[parent[at]]
        at = parent[at]
    return at


@compiled
def _measure(
    values: Plane,
    row: Ints,
    first: Ints,
    last: Ints,
    island: Ints,
    size: Ints,
    height: Plane,
    peak: NDArray[np.int64],
    n_peaks: Ints,
) -> None:
    for k in range(row.size):
        y, which = row[k], island[k]
        size[which] += last[k] - first[k] + 1
        for x in range(first[k], last[k] + 1):
            if values[y, x] > height[which]:
                height[which], peak[which] = values[y, x], np.int64(y) * values.shape[1] + x
            n_peaks[which] += is_peak(values, y, x)


@compiled
def is_peak(values: Plane, y: int, x: int) -> bool:
    """Say whether none of a pixel's neighbours is higher."""
    here = values[y, x]
    for j in range(max(y - 1, 0), min(y + 2, values.shape[0])):
        for i in range(max(x - 1, 0), min(x + 2, values.shape[1])):
            if values[j, i] > here:
                return False
    return True


@compiled
def list_pixels(
    bits: NDArray[np.uint32],
    row: Any,
    first: Any,
    last: Any,
    island: Any,
    pixels: NDArray[np.int64],
    key: Any,
) -> None:
    """Write flat indices, and keys that sort by island and then by falling value (> 0, as its bits say)."""
    n = 0
    for k in range(row.size):
        for x in range(first[k], last[k] + 1):
            pixels[n] = np.int64(row[k]) * bits.shape[1] + x
            key[n] = (np.uint64(island[k]) << np.uint64(32)) | np.uint64(
                np.uint32(0xFFFFFFFF) - bits[row[k], x]
            )
            n += 1


@compiled
def paint(labels: NDArray[np.int32], row: Any, first: Any, last: Any, number: Any) -> None:
    """Write each run's ``number`` into ``labels`` unless it is 0."""
    for k in range(row.size):
        if number[k] > 0:
            for x in range(first[k], last[k] + 1):
                labels[row[k], x] = number[k]


@compiled
def rename(labels: NDArray[np.int32], row: Any, first: Any, last: Any, names: Any) -> None:
    """Replace the numbers in ``labels``, along the runs, by their ``names``."""
    for k in range(row.size):
        for x in range(first[k], last[k] + 1):
            labels[row[k], x] = names[labels[row[k], x]]
