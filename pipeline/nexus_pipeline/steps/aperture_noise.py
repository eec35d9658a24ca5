# ruff: noqa: PLR0913, PLR0917 - compiled code takes its arrays one by one
"""aperture_noise: what an aperture on a mosaic collects of noise that drops share between its pixels.

Takes the maps of a mosaic's images and each one's typical weight and variance; leaves, by the aperture's
radius, the noise of the sum over its pixels, and how much it is of what their variances alone would make. No
pixel is looked at: shares of drops are made again in windows about a few places and weighed as in the mosaic.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import floor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled, share_out
from nexus_pipeline.sky.pixel_map import STEP, PixelMap
from nexus_pipeline.sky.sky_grid import SkyGrid
from nexus_pipeline.steps.drizzle_kernels import cell, draw, window_size
from nexus_pipeline.steps.flux import Piece
from nexus_pipeline.steps.resample import Coadd, Drizzle, Kernel, weights

Floats = NDArray[np.float64]

RADII_ARCSEC: Final = tuple(round(0.1 * step, 1) for step in range(1, 11))
_PLACES: Final = 24
_TRIES: Final = 2000
_FINER: Final = 7
_SEED: Final = 1
_SAMPLED: Final = 5
_PLANES: Final = ("data", "var_rnoise", "var_poisson", "var_flat", "good")


@dataclass(frozen=True)
class Typical:
    """An image's typical weight, and the typical variance of its pixels (MJy²/sr²): mostly sky."""

    weight: float
    variance: float


@dataclass(frozen=True)
class ApertureNoise:
    """By ``radius_arcsec``: the noise of an aperture's flux (nJy) at a typical place, and ``correlation``.

    That is the noise of the sum over what the pixels' variances alone, added up, would make; ``spread`` is
    its standard deviation from place to place.
    """

    radius_arcsec: tuple[float, ...]
    noise_njy: tuple[float, ...]
    correlation: tuple[float, ...]
    spread: tuple[float, ...]


def typical(piece: Piece, how: Drizzle) -> Typical:
    """Return the medians of the pixels of ``piece`` that may be used; weight 0 where there are none."""
    few = np.s_[::_SAMPLED, ::_SAMPLED]
    good = piece.good[few]
    if not good.any():
        return Typical(0.0, 0.0)
    variance = (piece.var_rnoise[few] + piece.var_poisson[few] + piece.var_flat[few])[good]
    weight = weights(replace(piece, **{name: getattr(piece, name)[few] for name in _PLANES}), how.weighting)
    return Typical(float(np.median(weight[good])), float(np.median(variance)))


def predicted(
    grid: SkyGrid, coadd: Coadd, maps: Sequence[PixelMap], typical: Sequence[Typical], drizzle: Drizzle
) -> ApertureNoise | None:
    """Return the noise of apertures on ``coadd``; None where none of the largest lies wholly inside."""
    reach = int(np.ceil(RADII_ARCSEC[-1] / grid.scale_arcsec)) + 2
    places = _places(coadd, reach)
    if not len(places):
        return None
    summed, alone = np.empty((2, len(places), len(RADII_ARCSEC)))

    def work(index: int) -> None:
        summed[index], alone[index] = _noise_at(places[index], reach, grid, maps, typical, drizzle)

    share_out(work, range(len(places)))
    ratio = np.sqrt(summed / alone)
    to_njy = grid.pixel_areas_sr(grid.centre)[0] * 1e15
    columns = (np.median(np.sqrt(summed), axis=0) * to_njy, np.median(ratio, axis=0), ratio.std(axis=0))
    return ApertureNoise(RADII_ARCSEC, *(tuple(float(each) for each in column) for column in columns))


def _places(coadd: Coadd, reach: int) -> Floats:
    """Return places (n, 2), between pixels, about which all within ``reach`` pixels is covered."""
    rng, found = np.random.default_rng(_SEED), []
    height, width = coadd.weight.shape
    if min(height, width) <= 2 * reach + 1:
        return np.empty((0, 2))
    for _ in range(_TRIES):
        x, y = rng.uniform(reach, width - 1 - reach), rng.uniform(reach, height - 1 - reach)
        window = np.s_[int(y) - reach + 1 : int(y) + reach, int(x) - reach + 1 : int(x) + reach]
        if np.all(coadd.weight[window] > 0):
            found.append((x, y))
        if len(found) == _PLACES:
            break
    return np.array(found).reshape(-1, 2)


def _noise_at(
    place: Floats,
    reach: int,
    grid: SkyGrid,
    maps: Sequence[PixelMap],
    typical: Sequence[Typical],
    how: Drizzle,
) -> tuple[Floats, Floats]:
    """Return the variances of the sums in apertures about ``place``, and of as many pixels on their own."""
    corner = np.floor(place).astype(np.int64) - reach
    size = 2 * reach + 2
    inside = _apertures(place - corner, size, grid.scale_arcsec)
    weight, variance = np.zeros((2, size, size))
    summed = np.zeros(len(inside))
    near = [(_near(image, place, reach), image, each) for image, each in zip(maps, typical, strict=True)]
    for with_weights in (False, True):
        for part, image, each in near:
            if part is not None:
                _collect(
                    image.x, image.y, *part, each.weight, each.variance, how.drop_size,
                    how.kernel is Kernel.TURBO, corner, inside, weight, variance, with_weights, summed,
                )  # fmt: skip
    alone = np.divide(variance, weight**2, out=np.zeros_like(variance), where=weight > 0)
    return summed, (inside**2 * alone).sum(axis=(1, 2))


def _apertures(centre: Floats, size: int, scale_arcsec: float) -> Floats:
    """Return the share (n, size, size) of each pixel of a window that lies in the apertures."""
    fine = (np.arange(size * _FINER) + 0.5) / _FINER - 0.5
    square = (fine[:, None] - centre[1]) ** 2 + (fine[None, :] - centre[0]) ** 2
    shares = [square < (radius / scale_arcsec) ** 2 for radius in RADII_ARCSEC]
    return np.array([each.reshape(size, _FINER, size, _FINER).mean(axis=(1, 3)) for each in shares])


def _near(image: PixelMap, place: Floats, reach: int) -> tuple[int, int, int, int] | None:
    """Return the first and last cells, down and across, that may reach the window; None if none does."""
    far = reach + 4 * STEP
    close = (np.abs(image.x - place[0]) < far) & (np.abs(image.y - place[1]) < far)
    if not close.any():
        return None
    j, i = np.nonzero(close)
    rows, columns = image.x.shape
    return max(j.min() - 1, 0), min(j.max() + 1, rows - 1), max(i.min() - 1, 0), min(i.max() + 1, columns - 1)


@compiled
def _collect(
    nodes_x: Floats, nodes_y: Floats, j0: int, j1: int, i0: int, i1: int, w: float, variance_in: float,
    pixfrac: float, turbo: bool, corner: NDArray[np.int64], inside: Floats, weight: Floats, variance: Floats,
    with_weights: bool, summed: Floats,
) -> None:  # fmt: skip
    """Add an image's drops to the window's ``weight`` and ``variance``, or what they bring to ``summed``."""
    size, half = weight.shape[0], pixfrac / 2
    extent = window_size(nodes_x, nodes_y, half)
    window, slopes = np.zeros((extent, extent + 1)), np.empty(8)
    carried = np.empty(inside.shape[0])
    for j in range(j0, j1):
        for i in range(i0, i1):
            cell(nodes_x, nodes_y, j, i, slopes)
            for pixel in range(STEP * STEP):
                v, u = pixel // STEP, pixel % STEP
                px, py = half * (slopes[2] + slopes[6] * v), half * (slopes[3] + slopes[7] * v)
                qx, qy = half * (slopes[4] + slopes[6] * u), half * (slopes[5] + slopes[7] * u)
                x = slopes[0] + px / half * u + slopes[4] * v + 0.5 - corner[0]
                y = slopes[1] + py / half * u + slopes[5] * v + 0.5 - corner[1]
                if turbo:
                    px = qy = np.sqrt(abs(px * qy - py * qx))
                    py = qx = 0.0
                reach_x, reach_y = abs(px) + abs(qx), abs(py) + abs(qy)
                if x < -reach_x or y < -reach_y or x > size + reach_x or y > size + reach_y:
                    continue
                left, low = floor(x - reach_x), floor(y - reach_y)
                wide, high = floor(x + reach_x) - left + 1, floor(y + reach_y) - low + 1
                draw(x - left, y - low, px, py, qx, qy, window)
                scale = w / (4 * abs(px * qy - py * qx))
                if with_weights:
                    carried[:] = 0
                    _bring(window, wide, high, left, low, scale, inside, weight, carried)
                    summed += variance_in * carried * carried
                else:
                    _weigh(window, wide, high, left, low, scale, variance_in, weight, variance)
                window[:] = 0


@compiled
def _weigh(
    window: Floats, wide: int, high: int, left: int, low: int, scale: float, variance_in: float,
    weight: Floats, variance: Floats,
) -> None:  # fmt: skip
    for y in range(max(low, 0), min(low + high, weight.shape[0])):
        total = 0.0
        for a in range(wide):
            total += window[y - low, a]
            if 0 <= left + a < weight.shape[1]:
                share = scale * abs(total)
                weight[y, left + a] += share
                variance[y, left + a] += share * share * variance_in


@compiled
def _bring(
    window: Floats, wide: int, high: int, left: int, low: int, scale: float, inside: Floats,
    weight: Floats, carried: Floats,
) -> None:  # fmt: skip
    for y in range(max(low, 0), min(low + high, weight.shape[0])):
        total = 0.0
        for a in range(wide):
            total += window[y - low, a]
            if 0 <= left + a < weight.shape[1] and weight[y, left + a] > 0:
                carried += inside[:, y, left + a] * (scale * abs(total) / weight[y, left + a])
