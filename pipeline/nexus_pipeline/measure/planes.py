"""Sums and products of whole planes, made by bands of rows: what is in between stays near the processor.

Planes are (ny, nx); ``depth`` is how many times the typical variance pixels have, None where that is one.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import over_rows

Plane = NDArray[np.float32]


def typical(one: Plane, other: Plane, depth: Plane | None) -> Plane:
    """Return the sum of two variances as pixels of the typical depth would have it."""
    out = np.empty(one.shape, np.float32)

    def work(first: int, last: int) -> None:
        rows = slice(first, last)
        np.add(one[rows], other[rows], out=out[rows])
        if depth is not None:
            out[rows] /= depth[rows]

    over_rows(work, len(out))
    return out


def add_both(variance: Plane, extra: Plane, depth: Plane | None) -> None:
    """Write into ``extra`` what pixels have beside the typical ``variance``, and all they have into that."""

    def work(first: int, last: int) -> None:
        rows = slice(first, last)
        if depth is not None:
            extra[rows] += variance[rows] * (depth[rows] - 1)
        variance[rows] += extra[rows]

    over_rows(work, len(variance))


def variance(brightness: Plane, write: Callable[[Plane, Plane], None], extra: Plane, to_njy: Plane) -> Plane:
    """Return the variance (nJy²) that ``write`` tells of a ``brightness``, with what is ``extra``."""
    out = np.empty(brightness.shape, np.float32)

    def work(first: int, last: int) -> None:
        part, factor = out[first:last], to_njy[first:last]
        write(brightness[first:last], part)
        part += extra[first:last]
        # Twice by it, and not by its square: that would be one more plane to make.
        part *= factor
        part *= factor

    over_rows(work, len(out))
    return out
