"""The mean PSF of a mosaic: of all its exposures and phases, alike everywhere.

Takes each exposure's ePSF, place and weight; leaves an ePSF of the mosaic's pixels, on nodes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import spline_filter
from scipy.signal import fftconvolve

from nexus_pipeline.psf.grid import PsfGrid
from nexus_pipeline.sky.smooth_map import SmoothMap
from nexus_pipeline.steps import drizzle_kernels
from nexus_pipeline.steps.resample import Drizzle, Kernel

Floats = NDArray[np.float64]

_MOST_MEANT: Final = 8
"""Exposures that the mean PSF is made of: of more, every so many."""


@dataclass(frozen=True)
class Exposure:
    """One image of a mosaic: its ePSF, where it lies, and the typical weight of its pixels.

    ``steps`` are the weights of each pixel of the part that ``place`` is of, as ``in_steps`` tells them; None
    if nobody knows better than that all are alike.
    """

    psf: PsfGrid
    place: SmoothMap
    weight: float
    steps: NDArray[np.uint8] | None = None


def mean_psf(exposures: Sequence[Exposure], how: Drizzle) -> PsfGrid:
    """Return the PSF of all exposures by their weights, in the middle of each, the mean of all phases."""
    some = exposures[:: -(-len(exposures) // _MOST_MEANT)]
    edges = [edge(each) for each in some]
    nodes = max(round(some[0].psf.oversample / edges[0]), 1)
    half = nodes * floor(min(each.psf.radius * wide for each, wide in zip(some, edges, strict=True)))
    stamps = [_on_mosaic(each, how, half, nodes) for each in some]
    stamp = np.average(stamps, axis=0, weights=[each.weight for each in some])
    coefficients = spline_filter(stamp, mode="mirror").astype(np.float32)
    nowhere = np.zeros(1)
    return PsfGrid(coefficients[None], nowhere, nowhere, nodes, some[0].psf.includes)


def _on_mosaic(exposure: Exposure, how: Drizzle, half: int, nodes: int) -> Floats:
    """Return an exposure's ePSF on the mosaic's plane, drops and pixels laid over it, ``nodes`` a pixel."""
    psf, place = exposure.psf, exposure.place
    slopes = place.slopes(*place.middle)
    y, x = np.mgrid[-half : half + 1, -half : half + 1] / nodes
    back = np.linalg.inv(slopes)
    du, dv = back[0, 0] * x + back[0, 1] * y, back[1, 0] * x + back[1, 1] * y
    u, v = (float(each[0]) for each in place.at(*(np.array([each]) for each in place.middle)))
    light = psf.values(u, v, dx=du, dy=dv)
    spread = _spread(slopes, how, nodes)
    return np.asarray(fftconvolve(light, spread, mode="same") / abs(np.linalg.det(slopes)))


def _spread(slopes: Floats, how: Drizzle, nodes: int) -> Floats:
    """Return how a drop and the mosaic's pixel spread light, ``nodes`` a pixel, of sum 1."""
    sides = np.array(half_sides(slopes.ravel(), how))
    reach = ceil(float(np.abs(sides).sum()) + 0.5)
    made = np.zeros((2 * reach * nodes + 1,) * 2)
    pixels = np.arange(2 * reach + 1)
    for q in range(nodes):
        for p in range(nodes):
            window = np.zeros((2 * reach + 3, 2 * reach + 4))
            at_x, at_y = reach + 0.5 + p / nodes, reach + 0.5 + q / nodes
            drizzle_kernels.draw(at_x, at_y, sides[0], sides[1], sides[2], sides[3], window)
            share = np.abs(np.cumsum(window, axis=1))
            # A pixel lies p nodes less from the drop than from the pixel that the drop's middle is in.
            rows, columns = (pixels[(pixels > 0) | (shift == 0)] for shift in (q, p))
            made[np.ix_(rows * nodes - q, columns * nodes - p)] = share[np.ix_(rows, columns)]
    return np.asarray(made / made.sum())


def edge(exposure: Exposure) -> float:
    """Return the edge of an exposure's pixel in the mosaic's, in the middle of what they share."""
    return float(np.sqrt(abs(np.linalg.det(exposure.place.slopes(*exposure.place.middle)))))


def half_sides(slopes: Floats, how: Drizzle) -> tuple[float, float, float, float]:
    """Return half the sides p (x, y) and q (x, y) of a drop: the pixel's own, or a square's of its area."""
    px, qx, py, qy = (how.drop_size / 2 * float(each) for each in slopes)
    if how.kernel is Kernel.TURBO:
        side = float(np.sqrt(abs(px * qy - py * qx)))
        return side, 0.0, 0.0, side
    return px, py, qx, qy
