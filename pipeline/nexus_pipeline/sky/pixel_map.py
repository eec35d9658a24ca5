"""pixel_map: where the pixels of an image lie on a mosaic's grid, at nodes a few pixels apart.

Takes a WCS and a grid; leaves x and y on the grid at the nodes, between which they are linear in both
directions. A WCS is smooth: it is asked every 64 pixels, a cubic spline gives the nodes, and what both leave
is measured at pixels in between and kept beside the map.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RectBivariateSpline

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.wfi import PIXEL_SCALE_ARCSEC
from nexus_pipeline.sky.sky_grid import SkyGrid
from nexus_pipeline.sky.tangent import directions_of

Floats = NDArray[np.float64]

STEP: Final = 8
"""Pixels between nodes: the mission's distortion bends less than 1e-4 of a pixel over them."""
MOST_ERROR_PIXELS: Final = 1e-3
_ASKED_EVERY: Final = (64, 16)
_LEAST_ASKED: Final = 6
_PROBES: Final = 1000
# A pixel's area over the nominal one; distortion changes it by 3 % over a detector.
_PLAUSIBLE_AREAS: Final = (0.5, 2.0)
# What lies farther from where the plane touches (cosine) is no part of a skycell.
_NEAR: Final = 0.9


@dataclass(frozen=True)
class PixelMap:
    """Positions on a grid, in its pixels, of an image's pixels ``first`` + ``STEP`` · node.

    ``x``, ``y`` are (n, m) at the nodes, rows first; ``shape`` is that of the image's part about them and
    ``first`` (y, x) its first pixel; ``error_pixels`` the most by which a probe lay elsewhere.
    """

    x: Floats
    y: Floats
    shape: tuple[int, int]
    error_pixels: float
    first: tuple[int, int] = (0, 0)

    @property
    def part(self) -> tuple[slice, slice]:
        """The part of the image that the map is of."""
        (y, x), (height, width) = self.first, self.shape
        return slice(y, y + height), slice(x, x + width)

    def on(self, grid: SkyGrid, finer: SkyGrid) -> "PixelMap":
        """Return the same map onto ``grid``, which is ``finer``, the one it is of, at another scale."""
        ratio = finer.scale_arcsec / grid.scale_arcsec
        return replace(self, x=(self.x + 0.5) * ratio - 0.5, y=(self.y + 0.5) * ratio - 0.5)

    def at(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return where positions in the image's part lie on the grid (n), linear between the nodes."""
        i = np.clip(np.floor(x / STEP).astype(np.int64), 0, self.x.shape[1] - 2)
        j = np.clip(np.floor(y / STEP).astype(np.int64), 0, self.x.shape[0] - 2)
        u, v = x / STEP - i, y / STEP - j

        def between(nodes: Floats) -> Floats:
            low = nodes[j, i] * (1 - u) + nodes[j, i + 1] * u
            return low * (1 - v) + (nodes[j + 1, i] * (1 - u) + nodes[j + 1, i + 1] * u) * v

        return between(self.x), between(self.y)


def pixel_map(wcs: Any, shape: tuple[int, int], grid: SkyGrid, *, name: str) -> PixelMap:
    """Return the map of an image of ``shape`` onto ``grid``.

    InputError, with the image's ``name``, for a WCS that gives no place, one far from the grid, pixels of
    another size than the instrument's, or jumps between pixels.
    """
    nodes_y, nodes_x = (np.arange(0, n - 1 + STEP, STEP, dtype=np.float64) for n in shape)
    for every in _ASKED_EVERY:
        asked_y, asked_x = (_asked(nodes[-1], every) for nodes in (nodes_y, nodes_x))
        x, y = _places(wcs, *np.meshgrid(asked_x, asked_y), grid, name=name)
        at_nodes = [RectBivariateSpline(asked_y, asked_x, plane)(nodes_y, nodes_x) for plane in (x, y)]
        made = PixelMap(at_nodes[0], at_nodes[1], shape, 0.0)
        error = _error(wcs, made, grid, name=name)
        if error <= MOST_ERROR_PIXELS:
            _refuse_wild(made, grid, name=name)
            return replace(made, error_pixels=error)
    raise InputError(f"{name}: its WCS is not smooth (between its pixels it jumps by {error:.2g} pixels)")


def cropped(whole: PixelMap, grid: SkyGrid) -> PixelMap | None:
    """Return the part of the map whose pixels may touch the grid; None if there is none."""
    touched = np.ones((whole.x.shape[0] - 1, whole.x.shape[1] - 1), np.bool_)
    for plane, size in ((whole.x, grid.nx), (whole.y, grid.ny)):
        corners = np.stack([plane[:-1, :-1], plane[1:, :-1], plane[:-1, 1:], plane[1:, 1:]])
        # Pixels reach beyond their node, and bend.
        touched &= (corners.max(axis=0) > -3.5) & (corners.min(axis=0) < size + 2.5)
    if not touched.any():
        return None
    (j0, j1), (i0, i1) = (_ends(touched.any(axis=axis)) for axis in (1, 0))
    shape = (min(j1 * STEP, whole.shape[0]) - j0 * STEP, min(i1 * STEP, whole.shape[1]) - i0 * STEP)
    nodes = np.s_[j0 : j1 + 1, i0 : i1 + 1]
    return PixelMap(
        whole.x[nodes].copy(), whole.y[nodes].copy(), shape, whole.error_pixels, (j0 * STEP, i0 * STEP)
    )


def _ends(flags: NDArray[np.bool_]) -> tuple[int, int]:
    which = np.flatnonzero(flags)
    return int(which[0]), int(which[-1]) + 1


def _asked(last: float, every: int) -> Floats:
    return np.linspace(0, last, max(int(np.ceil(last / every)) + 1, _LEAST_ASKED))


def _places(wcs: Any, x: Floats, y: Floats, grid: SkyGrid, *, name: str) -> tuple[Floats, Floats]:
    """Return where pixels (any shape) lie on ``grid``."""
    ra, dec = (np.asarray(each, np.float64) for each in wcs(x.ravel(), y.ravel(), with_bounding_box=False))
    if not (np.isfinite(ra).all() and np.isfinite(dec).all()):
        raise InputError(f"{name}: its WCS gives pixels no place on the sky")
    directions = directions_of(ra, dec)
    if (directions @ grid.plane.axes[0]).min() < _NEAR:
        raise InputError(
            f"{name}: its WCS puts it at RA {ra[0]:.4f}, Dec {dec[0]:+.4f}, far from the mosaic's "
            f"{grid.ra_deg:.4f}, {grid.dec_deg:+.4f}"
        )
    there = grid.pixels(directions)
    return there[:, 0].reshape(x.shape), there[:, 1].reshape(x.shape)


def _error(wcs: Any, made: PixelMap, grid: SkyGrid, *, name: str) -> float:
    """Return the longest way between where probes lie and where the map has them, in pixels of the grid."""
    rng = np.random.default_rng(_PROBES)
    y, x = (rng.uniform(0, n - 1, _PROBES) for n in made.shape)
    true_x, true_y = _places(wcs, x, y, grid, name=name)
    found_x, found_y = made.at(x, y)
    return float(np.hypot(found_x - true_x, found_y - true_y).max())


def _refuse_wild(made: PixelMap, grid: SkyGrid, *, name: str) -> None:
    across, down = (np.diff(plane, axis=1)[:-1] / STEP for plane in (made.x, made.y))
    along, up = (np.diff(plane, axis=0)[:, :-1] / STEP for plane in (made.x, made.y))
    areas = (across * up - down * along) * (grid.scale_arcsec / PIXEL_SCALE_ARCSEC) ** 2
    low, high = _PLAUSIBLE_AREAS
    least, most = sorted((abs(float(np.min(areas))), abs(float(np.max(areas)))))
    turned_over = np.min(areas) < 0 < np.max(areas)
    if turned_over or least < low or most > high:
        typical = PIXEL_SCALE_ARCSEC * float(np.sqrt(np.abs(np.median(areas))))
        raise InputError(
            f"{name}: its WCS has pixels of about {typical:.3g} arcsec; the instrument's are "
            f"{PIXEL_SCALE_ARCSEC}"
        )
