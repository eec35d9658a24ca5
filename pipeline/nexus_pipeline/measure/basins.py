"""Compiled flooding of a map from its peaks down: which pixel belongs to which peak.

Topological persistence: pixels come in falling order; one without a neighbour founds a basin, one
between two basins joins them if the lower peak hardly stands out above it.
"""

from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

compiled: Final[Any] = numba.njit(nogil=True, cache=True, error_model="numpy")


@compiled  # type: ignore[untyped-decorator]
def _root(parent: NDArray[np.int64], at: int) -> int:
    while parent[at] != at:
        parent[at] = parent[parent[at]]
        at = parent[at]
    return at


@compiled  # type: ignore[untyped-decorator]
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
    for k in range(order.size):
        at = order[k]
        y, x = at // nx, at % nx
        best, best_value = -1, -np.inf
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                if 0 <= y + dy < ny and 0 <= x + dx < nx:
                    near = at + dy * nx + dx
                    if peak_of[near] >= 0 and flat[near] > best_value:
                        best, best_value = near, flat[near]
        if best < 0:
            peak_of[at] = at
            continue
        peak_of[at] = peak_of[best]
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                if 0 <= y + dy < ny and 0 <= x + dx < nx:
                    near = at + dy * nx + dx
                    if peak_of[near] < 0:
                        continue
                    one, other = _root(parent, peak_of[at]), _root(parent, peak_of[near])
                    if one == other:
                        continue
                    low, high = (one, other) if flat[one] < flat[other] else (other, one)
                    if flat[low] - flat[at] < max(share * flat[low], least):
                        parent[low] = high
    for k in range(order.size):
        peak_of[order[k]] = _root(parent, peak_of[order[k]])
    return peak_of.reshape(ny, nx)
