"""Bright, unsaturated, isolated stars of an L2 image: all that registration needs, and cheap.

Takes planes of a rate image (DN/s); leaves the peaks' pixels and what a PSF fit of them wants: the image
without its sky, the sky, and the noise as a straight line of brightness. One pass over the pixels each.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.spatial import cKDTree

from nexus_pipeline.bands import compiled

Plane = NDArray[np.float32]
Floats = NDArray[np.float64]
Pixels = NDArray[np.int64]


BOX_PIXELS: Final = 128
_STRIDE: Final = 4
"""Sky and noise are told by every fourth pixel of every fourth row: a thousand in a box."""
_MARGIN: Final = 5
_BRIGHT_QUANTILE: Final = 0.995
_RIVAL_SHARE: Final = 0.1


@dataclass(frozen=True)
class Flattened:
    """Image less sky, sky (DN/s), usable pixels; a pixel's variance is ``floor`` + ``slope`` · brightness."""

    image: Plane
    sky: Plane
    usable: NDArray[np.bool_]
    floor: float
    slope: float

    @property
    def sky_sigma(self) -> float:
        """The noise of an empty pixel, DN/s."""
        return float(np.sqrt(self.floor + self.slope * float(np.median(self.sky[::64, ::64]))))


def flatten(rate: Plane, var_poisson: Plane, var_rnoise: Plane, unusable: NDArray[np.bool_]) -> Flattened:
    """Return ``rate`` without its sky: the median of boxes of 128 pixels, linear between their middles."""
    thin = (slice(None, None, _STRIDE),) * 2
    good = ~unusable[thin] & np.isfinite(rate[thin]) & np.isfinite(var_poisson[thin] + var_rnoise[thin])
    grid = _box_medians(rate[thin], good)
    floor, slope = _noise_line(rate[thin][good], var_poisson[thin][good], var_rnoise[thin][good])
    image, sky = np.empty_like(rate), np.empty_like(rate)
    usable = np.empty(rate.shape, dtype=np.bool_)
    _subtract(rate, unusable, grid, image, sky, usable)
    return Flattened(image, sky, usable, floor, slope)


def _box_medians(rate: Plane, good: NDArray[np.bool_]) -> Floats:
    ny, nx = (max(1, round(size * _STRIDE / BOX_PIXELS)) for size in rate.shape)
    rows = np.linspace(0, rate.shape[0], ny + 1).astype(int)
    columns = np.linspace(0, rate.shape[1], nx + 1).astype(int)
    grid = np.full((ny, nx), np.median(rate[good]) if good.any() else 0.0)
    for j in range(ny):
        for i in range(nx):
            box = slice(rows[j], rows[j + 1]), slice(columns[i], columns[i + 1])
            inside = rate[box][good[box]]
            if 2 * inside.size > good[box].size:
                grid[j, i] = np.median(inside)
    return np.asarray(median_filter(grid, size=3, mode="nearest"), dtype=np.float64)


def _noise_line(rate: Plane, var_poisson: Plane, var_rnoise: Plane) -> tuple[float, float]:
    """Return variance at no light and per light (DN/s); photons alone make it grow."""
    if rate.size == 0:
        return 1.0, 0.0
    bright = (rate >= np.quantile(rate, _BRIGHT_QUANTILE)) & (rate > 0)
    slope = float(np.median(var_poisson[bright] / rate[bright])) if bright.any() else 0.0
    total = float(np.median(var_poisson + var_rnoise))
    return max(total - slope * max(float(np.median(rate)), 0.0), 0.05 * total, 1e-12), slope


def peaks(flat: Flattened, saturated: NDArray[np.bool_], *, least: float) -> tuple[Pixels, Pixels]:
    """Return x, y of pixels that stand out: highest of 5×5, ``least`` (DN/s) or more, none of them bad."""
    found = np.empty((flat.image.size // 25 + 1, 2), dtype=np.int64)
    n = _peaks(flat.image, flat.usable, saturated, np.float32(least), found)
    return found[:n, 0].copy(), found[:n, 1].copy()


def isolated(x: Pixels, y: Pixels, height: Floats, *, radius_pixels: float) -> NDArray[np.bool_]:
    """Say which peaks have no other of a tenth of their height or more within ``radius_pixels``."""
    alone = np.ones(len(x), dtype=np.bool_)
    if len(x) > 1:
        one, other = cKDTree(np.column_stack([x, y])).query_pairs(radius_pixels, output_type="ndarray").T
        alone[one[height[other] >= _RIVAL_SHARE * height[one]]] = False
        alone[other[height[one] >= _RIVAL_SHARE * height[other]]] = False
    return alone


@compiled
def _subtract(  # noqa: PLR0917 - compiled code takes its arrays one by one
    rate: Plane,
    unusable: NDArray[np.bool_],
    grid: Floats,
    image: Plane,
    sky: Plane,
    usable: NDArray[np.bool_],
) -> None:
    """Write ``image``, ``sky`` and ``usable``; the grid's nodes are the middles of equal boxes."""
    ny, nx = rate.shape
    row = np.empty(grid.shape[1])
    for y in range(ny):
        v = min(max((y + 0.5) * grid.shape[0] / ny - 0.5, 0.0), grid.shape[0] - 1.0)
        j = min(int(v), max(grid.shape[0] - 2, 0))
        k = min(j + 1, grid.shape[0] - 1)
        for i in range(grid.shape[1]):
            row[i] = grid[j, i] + (v - j) * (grid[k, i] - grid[j, i])
        for x in range(nx):
            u = min(max((x + 0.5) * grid.shape[1] / nx - 0.5, 0.0), grid.shape[1] - 1.0)
            i = min(int(u), max(grid.shape[1] - 2, 0))
            level = row[i] + (u - i) * (row[min(i + 1, grid.shape[1] - 1)] - row[i])
            sky[y, x] = level
            fine = not unusable[y, x] and np.isfinite(rate[y, x])
            usable[y, x] = fine
            image[y, x] = rate[y, x] - level if fine else 0.0


@compiled
def _peaks(  # noqa: PLR0917
    image: Plane,
    usable: NDArray[np.bool_],
    saturated: NDArray[np.bool_],
    least: np.float32,
    found: NDArray[np.int64],
) -> int:
    n = 0
    for y in range(_MARGIN, image.shape[0] - _MARGIN):
        for x in range(_MARGIN, image.shape[1] - _MARGIN):
            if image[y, x] < least or n >= found.shape[0]:
                continue
            highest = True
            for j in range(y - 2, y + 3):
                for i in range(x - 2, x + 3):
                    # Of equal pixels the first counts.
                    before = j < y or (j == y and i < x)
                    higher = image[j, i] > image[y, x] or (before and image[j, i] == image[y, x])
                    if higher or not usable[j, i] or saturated[j, i]:
                        highest = False
            if highest:
                found[n, 0], found[n, 1] = x, y
                n += 1
    return n
