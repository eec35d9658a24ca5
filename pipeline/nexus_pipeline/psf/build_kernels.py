# ruff: noqa: PLR0917 - compiled code takes its arrays one by one
"""The compiled part of ``psf.build``: what a model says of stars' pixels; what they leave at its nodes."""

from math import floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled
from nexus_pipeline.psf import kernels

Floats = NDArray[np.float64]
Pixels = NDArray[np.int64]
Plane = NDArray[Any]


@compiled
def sampled(
    coefficients: Plane, oversample: int, xs: Floats, ys: Floats, x: Floats, y: Floats, columns: Pixels,
    rows: Pixels, out: Floats,
) -> None:  # fmt: skip
    """Write value and slopes by x and y (n, 3, size, size) of stars at ``x``, ``y`` about their middles."""
    corners, weights = np.empty(4, np.int64), np.empty(4)
    size = coefficients.shape[1]
    for n in range(x.size):
        kernels.corners_at(x[n], y[n], xs, ys, corners, weights)
        blended = kernels.blend(coefficients, corners, weights, size)
        kernels.sample(
            blended, oversample, x[n] - columns[n], y[n] - rows[n], out[n, 0], out[n, 1], out[n, 2]
        )


@compiled
def gather(
    residual: Floats, weight: Floats, oversample: int, xs: Floats, ys: Floats, x: Floats, y: Floats,
    columns: Pixels, rows: Pixels, total: Floats, weights: Floats,
) -> None:  # fmt: skip
    """Add ``residual`` (n, size, size) by ``weight`` to the nodes (n_places, nodes, nodes) it depends on."""
    corners, shares = np.empty(4, np.int64), np.empty(4)
    along_x, along_y, slopes = np.empty(4), np.empty(4), np.empty(4)
    size, nodes = residual.shape[1], total.shape[1]
    half, middle = size // 2, (nodes - 1) // 2
    for n in range(x.size):
        kernels.corners_at(x[n], y[n], xs, ys, corners, shares)
        u = middle + (columns[n] - half - x[n]) * oversample
        v = middle + (rows[n] - half - y[n]) * oversample
        left, low = floor(u), floor(v)
        kernels.basis(u - left, along_x, slopes)
        kernels.basis(v - low, along_y, slopes)
        for j in range(size):
            row = low + j * oversample - 1
            for i in range(size):
                column = left + i * oversample - 1
                w = weight[n, j, i]
                if w == 0.0 or row < 0 or column < 0 or row + 3 >= nodes or column + 3 >= nodes:
                    continue
                for corner in range(4):
                    if shares[corner] == 0.0:
                        continue
                    for b in range(4):
                        for a in range(4):
                            share = w * shares[corner] * along_y[b] * along_x[a]
                            weights[corners[corner], row + b, column + a] += share
                            total[corners[corner], row + b, column + a] += share * residual[n, j, i]
