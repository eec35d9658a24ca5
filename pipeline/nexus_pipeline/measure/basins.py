# ruff: noqa: PLR0917 - compiled code takes its arrays one by one
"""Compiled flooding of a map from its peaks down: which pixel belongs to which peak.

Topological persistence: pixels come in falling order; one without a neighbour founds a basin, one
between two basins joins them if the lower peak hardly stands out above it.
"""

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled


@compiled
def _root(parent: NDArray[np.int64], at: int) -> int:
    while parent[at] != at:
        parent[at] = parent[parent[at]]
        at = parent[at]
    return at


@compiled
def _neighbours(at: int, ny: int, nx: int, near: NDArray[np.int64]) -> int:
    """Write the flat indices of the up to eight neighbours of ``at``; return how many there are."""
    y, x, n = at // nx, at % nx, 0
    for j in range(max(y - 1, 0), min(y + 2, ny)):
        for i in range(max(x - 1, 0), min(x + 2, nx)):
            if j != y or i != x:
                near[n] = j * nx + i
                n += 1
    return n


@compiled
def flood(
    values: NDArray[np.float32], order: NDArray[np.int64], share: float, least: float
) -> NDArray[np.int64]:
    """Return each pixel's peak as a flat index, -1 where ``order`` (flat indices, falling) leaves it out.

    Two basins that meet become one if the lower peak is less than ``share`` of its height or ``least``
    above the meeting point. A pixel joins the neighbour with the highest value.
    """
    ny, nx = values.shape
    flat = values.ravel()
    # What a pixel was joined to, and to which peak a peak gave way: the two trees are apart.
    peak_of = np.full(flat.size, -1, np.int64)
    parent = np.arange(flat.size)
    near = np.empty(8, np.int64)
    for k in range(order.size):
        at = order[k]
        n = _neighbours(at, ny, nx, near)
        best = at
        for i in range(n):
            if peak_of[near[i]] >= 0 and (best == at or flat[near[i]] > flat[best]):
                best = near[i]
        peak_of[at] = at if best == at else peak_of[best]
        for i in range(n):
            if peak_of[near[i]] >= 0:
                _meet(flat, parent, peak_of[at], peak_of[near[i]], flat[at], share, least)
    for k in range(order.size):
        peak_of[order[k]] = _root(parent, peak_of[order[k]])
    return peak_of.reshape(ny, nx)


@compiled
def _meet(
    flat: NDArray[np.float32],
    parent: NDArray[np.int64],
    one: int,
    other: int,
    saddle: float,
    share: float,
    least: float,
) -> None:
    """Join the basins of two peaks in ``parent`` if the lower hardly stands out above ``saddle``."""
    one, other = _root(parent, one), _root(parent, other)
    if one != other:
        low, high = (one, other) if flat[one] < flat[other] else (other, one)
        if flat[low] - saddle < max(share * flat[low], least):
            parent[low] = high
