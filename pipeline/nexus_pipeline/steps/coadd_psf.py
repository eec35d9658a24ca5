"""coadd_psf: what a star looks like on a mosaic, made of each exposure's PSF as the mosaic's pixels are.

Takes the ePSF, the place and the weight of each exposure; leaves a star's pixels anywhere on the mosaic:
exact, drizzled by the mosaic's own kernel, or fast, of many stars at once. What near stars share (which
exposures there are, their PSF and the shape of their drops) is kept by regions; the phases of a star in each
exposure's pixels, and the ends of exposures, are each star's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, floor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import share_out
from nexus_pipeline.errors import InputError
from nexus_pipeline.psf import kernels as psf_kernels
from nexus_pipeline.psf.fit_kernels import window_radius
from nexus_pipeline.psf.grid import PsfGrid
from nexus_pipeline.psf.kernels import LANES, MARGIN
from nexus_pipeline.sky.pixel_map import STEP
from nexus_pipeline.sky.smooth_map import SmoothMap
from nexus_pipeline.steps import coadd_psf_kernels as kernels
from nexus_pipeline.steps import drizzle_kernels
from nexus_pipeline.steps.coadd_psf_mean import Exposure, edge, half_sides, mean_psf
from nexus_pipeline.steps.resample import LEVEL, Drizzle, Kernel

Single = NDArray[np.float32]
Floats = NDArray[np.float64]
Key = tuple[int, int]

REGION_PIXELS: Final = 256
"""Of the mosaic: over it exposures' scales change by less than 1e-3, and their PSFs by about as much."""
_ALIKE: Final = np.full((1, 1), kernels.STEPS, np.uint8)
_CORNERS: Final = ((0, 1, 0, 1), (0, 0, 1, 1))
"""Of a region, along x and y."""
_SINGULAR: Final = 1e-9
_LOT: Final = 64
"""Stars whose windows stay near the processor while all exposures add to them."""
_SIDES: Final = 512
"""Parts of a pixel that the sides of drops are told in, so that many regions share a table."""
_NO_TABLE: Final = np.empty((0, 0, 0, 0), np.float32)


@dataclass(frozen=True)
class _Region:
    """What stars of one region of a mosaic share; arrays by exposure, as ``kernels.add_exposure`` wants them.

    ``tables`` are shares of drops with ``rounded`` sides.
    """

    which: NDArray[np.int64]
    slopes: Floats
    bounds: NDArray[np.int64]
    blocks: Single
    sides: Floats
    rounded: Floats
    tables: list[Single]


def in_steps(weights: Single, typical: float) -> NDArray[np.uint8]:
    """Return ``weights`` in 64ths of the ``typical`` one; what is more than four of it counts as that."""
    if typical <= 0:
        return np.zeros(weights.shape, np.uint8)
    return np.clip(np.rint(weights * np.float32(kernels.STEPS / typical)), 0, 255).astype(np.uint8)


class CoaddPsf:
    """The PSF of a mosaic of ``exposures`` drizzled by ``how``; InputError if there are none.

    ``mean`` is that of all of them, alike everywhere and in all phases; the rest is each place's own.
    """

    def __init__(self, exposures: Sequence[Exposure], how: Drizzle) -> None:
        if not exposures:
            raise InputError("a mosaic's PSF needs its exposures")
        self.exposures, self.how = tuple(exposures), how
        self.mean = mean_psf(self.exposures, how)
        self._steps = [_ALIKE if each.steps is None else each.steps for each in self.exposures]
        self._regions: dict[Key, _Region] = {}
        self._tables: dict[tuple[int, ...], Single] = {}

    def seen_from(self, x: float, y: float) -> tuple[int, ...]:
        """Return which exposures have pixels within a star's window at (x, y)."""
        return tuple(int(k) for k in np.flatnonzero(self._near(np.array([x]), np.array([y]), self._half)))

    def exact(self, x: float, y: float, *, radius: int) -> Floats:
        """Return a star of unit flux at (x, y), (2 · radius + 1)² about the pixel nearest to it.

        Each exposure's pixels are drizzled as the mosaic was, with its own weights; NaN where none has any.
        """
        size = 2 * radius + 1
        sums = np.zeros((size, size, drizzle_kernels.LANES), np.float32)
        context = np.zeros((size, size), np.uint32)
        corner = floor(x + 0.5) - radius, floor(y + 0.5) - radius
        for k in np.flatnonzero(self._near(np.array([x]), np.array([y]), radius)):
            _drizzle(self.exposures[k], (x, y), corner, radius, self.how, sums, context)
        weight = sums[:, :, drizzle_kernels.WEIGHT].astype(np.float64)
        light = sums[:, :, drizzle_kernels.DATA]
        out = np.full((size, size), np.nan)
        np.divide(light, weight, out=out, where=weight > 0)
        return out

    def fast(self, x: Floats, y: Floats, *, threads: int = 2) -> Single:
        """Return stars of unit flux at ``x``, ``y`` (n) in the windows of a fit (n, size, ``LANES``).

        The first ``size`` lanes are about the pixel nearest to the star; 0 where no exposure has a pixel.
        """
        cells = np.column_stack([x // REGION_PIXELS, y // REGION_PIXELS]).astype(np.int64)
        keys, which = np.unique(cells, axis=0, return_inverse=True)
        order = np.argsort(which, kind="stable")
        ends = np.searchsorted(which[order], np.arange(len(keys) + 1))
        self._prepare([(int(column), int(row)) for column, row in keys])
        x, y = x[order], y[order]
        places = [each.place.at(x, y) for each in self.exposures]
        made = np.zeros((x.size, 2 * self._half + 1, LANES), np.float32)

        def work(index: int) -> None:
            part = slice(ends[index], ends[index + 1])
            region = self._regions[int(keys[index, 0]), int(keys[index, 1])]
            for first in range(part.start, part.stop, _LOT):
                lot = slice(first, min(first + _LOT, part.stop))
                there = [(u[lot], v[lot]) for u, v in (places[k] for k in region.which)]
                made[lot] = self._drawn(region, x[lot], y[lot], there)

        share_out(work, range(len(keys)), threads=threads)
        out = np.empty_like(made)
        out[order] = made
        return out

    def _drawn(self, region: _Region, x: Floats, y: Floats, places: list[tuple[Floats, Floats]]) -> Single:
        """Return stars of a region at ``x``, ``y``, whose ``places`` in its exposures are known.

        Shares of drops are read from tables, and told again exactly for windows where that is too rough.
        """
        out, thin = self._added(region, x, y, places, exactly=False)
        if thin.any():
            again = [(u[thin], v[thin]) for u, v in places]
            out[thin] = self._added(region, x[thin], y[thin], again, exactly=True)[0]
        return out

    def _added(
        self, region: _Region, x: Floats, y: Floats, places: list[tuple[Floats, Floats]], *, exactly: bool
    ) -> tuple[Single, NDArray[np.bool_]]:
        """Return the stars, and of which pixels weigh too little for shares out of tables."""
        size = 2 * self._half + 1
        sums = kernels.room_for(x.size, size)
        out, thin = np.zeros((x.size, size, LANES), np.float32), np.zeros(x.size, np.bool_)
        for at, k in enumerate(region.which):
            table = _NO_TABLE if exactly else region.tables[at]
            sides = region.sides[at] if table.size == 0 else region.rounded[at]
            kernels.add_exposure(
                x, y, *places[at], region.blocks[at], region.slopes[at], sides, table, region.bounds[at],
                self.exposures[k].weight, self._steps[k], self._radius, sums, size,
            )  # fmt: skip
        kernels.mean_of(sums, out, thin)
        return out, thin

    def evened(
        self, image: Single, x: Floats, y: Floats, flux: Floats, *,
        first: tuple[int, int] = (0, 0), fitted: int = 3, threads: int = 2,
    ) -> Single:  # fmt: skip
        """Return ``image`` with stars of ``flux`` at ``x``, ``y`` (n) as if they had ``mean``'s PSF.

        The first ``fitted`` of flux, x and y are those of a fit with that PSF, which misses each star's own
        by its phases: that is reckoned with; the others are true. What stars have beside it is taken off
        within a fit's window; NaN places and fluxes are passed over. ``first`` is the pixel (x, y) of the
        mosaic that the first of ``image`` is.
        """
        known = np.isfinite(x) & np.isfinite(y) & np.isfinite(flux) & (flux != 0)
        x, y, flux = x[known], y[known], flux[known]
        missed = self._missed(x, y, fitted, threads=threads)
        x, y, flux = x - missed[:, 1], y - missed[:, 2], flux / (1 + missed[:, 0])
        out = image.copy()
        stars = self.fast(x, y, threads=threads)
        kernels.even_out(out, x - first[0], y - first[1], flux, stars, self.mean.phases)
        return out

    def _missed(self, x: Floats, y: Floats, fitted: int, *, threads: int) -> Floats:
        """Return by which share of flux, x and y a fit of ``mean`` misses stars at ``x``, ``y`` (n, 3).

        To first order; 0 for what is not ``fitted``, and where too little of a star is seen to tell.
        """
        missed = np.zeros((x.size, 3))
        if fitted:
            normal, right = np.empty((x.size, 3, 3)), np.empty((x.size, 3))
            stars = self.fast(x, y, threads=threads)
            kernels.normal_equations(x, y, stars, self.mean.phases, normal, right)
            some = normal[:, :fitted, :fitted]
            told = np.linalg.det(some) > _SINGULAR * normal[:, 0, 0] ** fitted
            missed[told, :fitted] = np.linalg.solve(some[told], right[told, :fitted, None])[:, :, 0]
        return missed

    @cached_property
    def _half(self) -> int:
        return window_radius(self.mean.oversample)

    @cached_property
    def _pixels(self) -> float:
        """The edge of an exposure's pixel in pixels of the mosaic."""
        return edge(self.exposures[0])

    @cached_property
    def _reach(self) -> float:
        """How far from a drop's middle pixels may have their middles that it touches."""
        return self.how.drop_size * self._pixels / 2**0.5 + 0.5

    @cached_property
    def _radius(self) -> int:
        corner = (self._half + 0.5) * 2**0.5 + self._reach
        return min(ceil(corner / self._pixels), (LANES - 1) // 2)

    def _near(self, x: Floats, y: Floats, reach: int) -> NDArray[np.bool_]:
        """Return whether each exposure may have pixels in windows of ``reach`` about places between these.

        (exposures, ...) for places (..., n).
        """
        away = (reach + self._reach) * 2**0.5 / self._pixels
        found = np.empty((len(self.exposures), *x.shape[:-1]), np.bool_)
        for k, each in enumerate(self.exposures):
            top, bottom, left, right = _bounds(each.place)
            u, v = each.place.at(x, y)
            across = (u.max(axis=-1) > left - away) & (u.min(axis=-1) < right + away)
            found[k] = across & (v.max(axis=-1) > top - away) & (v.min(axis=-1) < bottom + away)
        return found

    def _prepare(self, keys: Sequence[Key]) -> None:
        """Make the regions ``keys`` that there are not yet."""
        new = [key for key in keys if key not in self._regions]
        first = REGION_PIXELS * np.array(new, np.float64).reshape(-1, 2)
        middle = first + REGION_PIXELS / 2
        corners = [
            first[:, axis, None] + REGION_PIXELS * np.array(each) for axis, each in enumerate(_CORNERS)
        ]
        near = self._near(corners[0], corners[1], self._half)
        places = np.array([each.place.at(middle[:, 0], middle[:, 1]) for each in self.exposures])
        for at, key in enumerate(new):
            which = np.flatnonzero(near[:, at])
            self._regions[key] = self._made(which, (middle[at, 0], middle[at, 1]), places[which, :, at])

    def _made(self, which: NDArray[np.int64], middle: tuple[float, float], places: Floats) -> _Region:
        """Return the region about ``middle``, which lies at ``places`` (n, 2) in the exposures ``which``."""
        chosen = [self.exposures[k] for k in which]
        slopes = np.array([each.place.slopes(*middle).ravel() for each in chosen]).reshape(-1, 4)
        blocks = [_block(each.psf, u, v, self._radius) for each, (u, v) in zip(chosen, places, strict=True)]
        sides = np.array([half_sides(each, self.how) for each in slopes]).reshape(-1, 4)
        parts = np.rint(_SIDES * sides)
        return _Region(
            which=which,
            slopes=slopes,
            bounds=np.array([_bounds(each.place) for each in chosen], np.int64).reshape(-1, 4),
            blocks=np.array(blocks, np.float32),
            sides=sides,
            rounded=parts / _SIDES,
            tables=[self._table(tuple(int(part) for part in each)) for each in parts],
        )

    def _table(self, sides: tuple[int, ...]) -> Single:
        """Return the shares of drops with these half ``sides`` (in 512ths of a pixel); none if too large."""
        if sides not in self._tables:
            px, py, qx, qy = (side / _SIDES for side in sides)
            fits = 2 * max(abs(px) + abs(qx), abs(py) + abs(qy)) < kernels.ROOM - 1
            self._tables[sides] = kernels.shares(px, py, qx, qy) if fits else _NO_TABLE
        return self._tables[sides]


def _bounds(place: SmoothMap) -> tuple[int, int, int, int]:
    """Return the first and last rows and columns there are."""
    (top, left), (height, width) = place.first, place.shape
    return top, top + height, left, left + width


def _block(psf: PsfGrid, u: float, v: float, radius: int) -> Single:
    """Return the ePSF at (u, v) of a detector as windows of ``radius`` pixels are sampled from."""
    corners, weights = np.empty(4, np.int64), np.empty(4)
    psf_kernels.corners_at(float(u), float(v), psf.xs, psf.ys, corners, weights)
    rows = (2 * radius + 1 + 2 * MARGIN) * psf.oversample
    block = np.empty((rows, psf.oversample, LANES + 2 * MARGIN), np.float32)
    psf_kernels.cut(psf.phases, corners, weights, radius, block)
    return block


def _drizzle(  # noqa: PLR0917 - a star, a window and its sums
    exposure: Exposure, at: tuple[float, float], corner: tuple[int, int], radius: int, how: Drizzle,
    sums: Single, context: NDArray[np.uint32],
) -> None:  # fmt: skip
    """Add an exposure's star at a place of the mosaic to ``sums``, whose first pixel is ``corner``."""
    place = exposure.place
    u, v = (float(each[0]) for each in place.at(*(np.array([each]) for each in at)))
    away = ceil((radius + 2) * 2**0.5 / edge(exposure)) + 2
    top, bottom, left, right = _bounds(place)
    rows = np.arange(max(floor(v) - away, top), min(floor(v) + away + 1, bottom))
    columns = np.arange(max(floor(u) - away, left), min(floor(u) + away + 1, right))
    if not rows.size or not columns.size:
        return
    nodes_y, nodes_x = (each[0] + STEP * np.arange(-(-each.size // STEP) + 1) for each in (rows, columns))
    grid = np.meshgrid(nodes_x.astype(np.float64), nodes_y.astype(np.float64))
    there = place.on_mosaic(*(each.ravel() for each in grid), near=at)
    x, y = (each.reshape(grid[0].shape) - low for each, low in zip(there, corner, strict=True))
    dx, dy = np.meshgrid(columns - u, rows - v)
    light = exposure.psf.values(u, v, dx=dx, dy=dy)
    inside = np.ix_(rows - top, columns - left)
    weight = np.full(light.shape, exposure.weight)
    if exposure.steps is not None:
        weight *= exposure.steps[inside] / kernels.STEPS
    nothing = np.zeros(light.shape, np.float32)
    drizzle_kernels.add_image(
        x, y, (light / _areas(x, y, light.shape)).astype(np.float32), weight.astype(np.float32), nothing,
        nothing, nothing, 0.0, LEVEL, how.drop_size, how.kernel is Kernel.TURBO, 0, sums, context, 0,
    )  # fmt: skip


def _areas(x: Floats, y: Floats, shape: tuple[int, int]) -> Floats:
    """Return the areas of an exposure's pixels on the mosaic, told by the nodes about them."""
    along_x, along_y = (np.diff(each, axis=1)[:-1] / STEP for each in (x, y))
    up_x, up_y = (np.diff(each, axis=0)[:, :-1] / STEP for each in (x, y))
    cells = np.abs(along_x * up_y - along_y * up_x)
    whole = np.kron(cells, np.ones((STEP, STEP)))
    return np.asarray(whole[: shape[0], : shape[1]], dtype=np.float64)
