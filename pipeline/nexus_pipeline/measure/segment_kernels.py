# ruff: noqa: PLR0917 - compiled code takes its arrays one by one
"""Sums over the pixels of each label, compiled: one pass over the map."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled

Plane = NDArray[np.float32]

SUMS: Final = ("n", "f", "fx", "fy", "fxx", "fxy", "fyy", "v", "vx", "vy", "vxx", "vyy")
"""Pixels, light and variance with their moments about the peak pixel."""


@compiled
def sums(
    image: Plane,
    variance: Plane,
    unusable: NDArray[np.bool_],
    labels: NDArray[np.int32],
    peak_x: NDArray[np.int64],
    peak_y: NDArray[np.int64],
    out: NDArray[np.float64],
    box: NDArray[np.int32],
) -> None:
    """Write ``SUMS`` (n, 12) and boxes (n, 4; x and y, first and last) of labels from 1.

    Unusable pixels belong to the box and to the number only.
    """
    box[:, 0] = box[:, 2] = 2**30
    box[:, 1] = box[:, 3] = -1
    for y in range(labels.shape[0]):
        line = labels[y]
        for x in range(line.size):
            if line[x] > 0:
                k = line[x] - 1
                box[k, 0], box[k, 1] = min(box[k, 0], x), max(box[k, 1], x)
                box[k, 2], box[k, 3] = min(box[k, 2], y), max(box[k, 3], y)
                out[k, 0] += 1.0
                if unusable[y, x]:
                    continue
                f, v = float(image[y, x]), float(variance[y, x])
                dx, dy = float(x - peak_x[k]), float(y - peak_y[k])
                out[k, 1] += f
                out[k, 2] += f * dx
                out[k, 3] += f * dy
                out[k, 4] += f * dx * dx
                out[k, 5] += f * dx * dy
                out[k, 6] += f * dy * dy
                out[k, 7] += v
                out[k, 8] += v * dx
                out[k, 9] += v * dy
                out[k, 10] += v * dx * dx
                out[k, 11] += v * dy * dy
