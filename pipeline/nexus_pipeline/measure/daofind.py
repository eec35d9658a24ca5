# ruff: noqa: PLR0917 - compiled code takes its arrays one by one
"""DAOFIND's sharpness and roundness (Stetson 1987), as photutils' DAOStarFinder defines them, compiled."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled

Plane = NDArray[np.float32]
Floats = NDArray[np.float64]

HALF: Final = 2
"""Pixels from the middle of the kernel to its edge: it is of the size that narrow stars get."""


def kernel(fwhm_pixels: float) -> Floats:
    """Return the Gaussian lowered to zero sum (5, 5), zero in the corners that count for nothing."""
    y, x = np.mgrid[-HALF : HALF + 1, -HALF : HALF + 1]
    mask = np.hypot(x, y) <= HALF
    gaussian = np.exp(-4 * np.log(2) * (x**2 + y**2) / fwhm_pixels**2) * mask
    n, total = np.count_nonzero(mask), gaussian.sum()
    return np.asarray((gaussian - total / n) / ((gaussian**2).sum() - total**2 / n) * mask, dtype=np.float64)


@compiled
def sharp_and_round(
    image: Plane, weights: Floats, x: NDArray[np.int64], y: NDArray[np.int64], out: Floats
) -> None:
    """Write sharpness and roundness1 (n, 2) at pixels ``x``, ``y``; NaN where the filter shows no star."""
    density = np.empty((2 * HALF + 1, 2 * HALF + 1))
    for k in range(x.size):
        out[k] = np.nan
        for j in range(-HALF, HALF + 1):
            for i in range(-HALF, HALF + 1):
                density[j + HALF, i + HALF] = _filtered(image, weights, y[k] + j, x[k] + i)
        peak = density[HALF, HALF]
        if not peak > 0.0:
            continue
        out[k, 0] = _stands_out(image, weights, y[k], x[k]) / peak
        two, four = 0.0, 0.0
        for j in range(-HALF, HALF + 1):
            for i in range(-HALF, HALF + 1):
                value = density[j + HALF, i + HALF]
                if i == 0 and j == 0:
                    continue
                # Quadrants about the middle, each with one half of an axis, alternate in sign.
                odd = (j <= 0 and i > 0) or (j >= 0 and i < 0)
                two += -value if odd else value
                four += abs(value)
        if four > 0.0:
            out[k, 1] = 2.0 * two / four


@compiled
def _filtered(image: Plane, weights: Floats, y: int, x: int) -> float:
    total = 0.0
    for j in range(-HALF, HALF + 1):
        for i in range(-HALF, HALF + 1):
            if 0 <= y + j < image.shape[0] and 0 <= x + i < image.shape[1]:
                total += weights[j + HALF, i + HALF] * image[y + j, x + i]
    return total


@compiled
def _stands_out(image: Plane, weights: Floats, y: int, x: int) -> float:
    """Return how far the pixel stands above the mean of those about it."""
    total, n = 0.0, 0
    for j in range(-HALF, HALF + 1):
        for i in range(-HALF, HALF + 1):
            if weights[j + HALF, i + HALF] != 0.0 and (i != 0 or j != 0):
                n += 1
                if 0 <= y + j < image.shape[0] and 0 <= x + i < image.shape[1]:
                    total += image[y + j, x + i]
    here = float(image[y, x]) if 0 <= y < image.shape[0] and 0 <= x < image.shape[1] else 0.0
    return here - total / n
