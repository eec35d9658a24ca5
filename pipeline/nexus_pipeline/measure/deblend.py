# ruff: noqa: PLR0913, PLR0917 - compiled code takes its arrays one by one
"""Hierarchical deblending of islands with many peaks, compiled: a tree of all levels at once.

Pixels come in falling order, as if a sea sank: one without a neighbour ashore founds a basin, one between
two shores is a saddle. There the basin with the lower peak is judged: it stays a source if it holds enough
light above the saddle, against that of the higher, and stands out of the noise (SExtractor's contrast, with
every pixel's value for a level instead of 32). If not, the higher takes its pixels over, and the sources that
stayed apart from it are judged again beside the higher.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled
from nexus_pipeline.measure.islands import root

Plane = NDArray[np.float32]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rule:
    """When a basin is a source of its own.

    ``contrast``: its light above the saddle, as a share of the higher basin's. ``prominence``: how far its
    peak stands above the saddle, in σ; a σ at a value v of the map is √(1 + ``photons`` · v).
    """

    contrast: float = 0.005
    prominence: float = 3.0
    photons: float = 0.0


@compiled
def flood(
    values: Plane,
    order: Ints,
    peaks: Ints,
    contrast: float,
    prominence: float,
    photons: float,
    labels: NDArray[np.int32],
) -> int:
    """Write into ``labels`` (ny, nx; 0 before) the basin of each pixel of ``order`` (flat, falling), from 1.

    ``peaks`` gets each basin's peak (flat index), -1 where it is part of another; returns how many there
    were. Numbers of basins that were taken over are replaced.
    """
    ny, nx = values.shape
    flat, owner = values.ravel(), labels.ravel()
    n = 0
    room = peaks.size
    basin, shore, elder = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
    light, size, above = np.zeros(room), np.zeros(room, np.int64), np.zeros(room)
    child, sibling = np.full(room, -1, np.int64), np.full(room, -1, np.int64)
    near = np.empty(8, np.int64)
    for k in range(order.size):
        at = order[k]
        n_near = _ashore(owner, at, ny, nx, near)
        if n_near == 0:
            basin[n] = shore[n] = elder[n] = n
            light[n], size[n], peaks[n] = flat[at], 1, at
            n += 1
            owner[at] = n
            continue
        best = near[0]
        for i in range(1, n_near):
            if flat[near[i]] > flat[best]:
                best = near[i]
        here = root(shore, owner[best] - 1)
        for i in range(n_near):
            other = root(shore, owner[near[i]] - 1)
            if other != here:
                here = _meet(
                    flat, peaks, basin, shore, elder, light, size, above, child, sibling,
                    here, other, float(flat[at]), contrast, prominence, photons,
                )  # fmt: skip
        mine = root(basin, owner[best] - 1)
        owner[at] = mine + 1
        light[mine] += flat[at]
        size[mine] += 1
    for k in range(order.size):
        owner[order[k]] = root(basin, owner[order[k]] - 1) + 1
    for k in range(n):
        if basin[k] != k:
            peaks[k] = -1
    return n


@compiled
def _ashore(owner: NDArray[np.int32], at: int, ny: int, nx: int, near: Ints) -> int:
    """Write the flat indices of the neighbours of ``at`` that have an owner; return how many there are."""
    y, x, n = at // nx, at % nx, 0
    for j in range(max(y - 1, 0), min(y + 2, ny)):
        for i in range(max(x - 1, 0), min(x + 2, nx)):
            if owner[j * nx + i] > 0:
                near[n] = j * nx + i
                n += 1
    return n


@compiled
def _meet(
    flat: Plane,
    peaks: Ints,
    basin: Ints,
    shore: Ints,
    elder: Ints,
    light: Floats,
    size: Ints,
    above: Floats,
    child: Ints,
    sibling: Ints,
    one: int,
    other: int,
    saddle: float,
    contrast: float,
    prominence: float,
    photons: float,
) -> int:
    """Join two shores at ``saddle`` after judging the one with the lower peak; return the shore of both."""
    high, low = elder[one], elder[other]
    if flat[peaks[low]] > flat[peaks[high]]:
        high, low = low, high
    shore[other] = one
    elder[one] = high
    over = light[high] - size[high] * saddle
    above[low] = light[low] - size[low] * saddle
    stands_out = flat[peaks[low]] - saddle >= prominence * sqrt(1.0 + photons * max(saddle, 0.0))
    if stands_out and above[low] >= contrast * over:
        sibling[low], child[high] = child[high], low
    else:
        _take_over(basin, light, size, above, child, sibling, high, low, contrast * over)
    return one


@compiled
def _take_over(
    basin: Ints,
    light: Floats,
    size: Ints,
    above: Floats,
    child: Ints,
    sibling: Ints,
    high: int,
    low: int,
    least: float,
) -> None:
    """Give ``low`` to ``high``, with those of its children that hold less than ``least``, and so on down."""
    basin[low] = high
    light[high] += light[low]
    size[high] += size[low]
    pending = child[low]
    while pending >= 0:
        at, pending = pending, sibling[pending]
        if above[at] >= least:
            sibling[at], child[high] = child[high], at
            continue
        basin[at] = high
        light[high] += light[at]
        size[high] += size[at]
        # Its own children wait in line before its siblings.
        last = child[at]
        if last >= 0:
            while sibling[last] >= 0:
                last = sibling[last]
            sibling[last] = pending
            pending = child[at]
