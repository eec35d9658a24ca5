"""coadd_psf: what a star looks like on a mosaic, made of each exposure's PSF as the mosaic's pixels are.

Takes the ePSF, the place and the weight of each exposure; leaves a star's pixels anywhere on the mosaic:
exact, drizzled by the mosaic's own kernel, or fast, of many stars at once. What near stars share (which
exposures there are, their PSF and the shape of their drops) is kept by regions; the phases of a star in each
exposure's pixels, and the ends of exposures, are each star's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import spline_filter
from scipy.signal import fftconvolve

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
from nexus_pipeline.steps.resample import LEVEL, Drizzle, Kernel

Single = NDArray[np.float32]
Floats = NDArray[np.float64]
Key = tuple[int, int]

REGION_PIXELS: Final = 256
"""Of the mosaic: over it exposures' scales change by less than 1e-3, and their PSFs by about as much."""
_ALIKE: Final = np.full((1, 1), kernels.STEPS, np.uint8)
_SINGULAR: Final = 1e-9
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


@dataclass(frozen=True)
class _Region:
    """What stars of one region of a mosaic share; arrays by exposure, as ``kernels.stars`` wants them."""

    which: NDArray[np.int64]
    slopes: Floats
    bounds: NDArray[np.int64]
    blocks: Single
    sides: Floats


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
        self.mean = _mean(self.exposures, how)
        self._steps = [_ALIKE if each.steps is None else each.steps for each in self.exposures]
        self._regions: dict[Key, _Region] = {}

    def seen_from(self, x: float, y: float) -> tuple[int, ...]:
        """Return which exposures have pixels within a star's window at (x, y)."""
        return tuple(int(k) for k in self._near(np.array([x]), np.array([y]), self._half))

    def exact(self, x: float, y: float, *, radius: int) -> Floats:
        """Return a star of unit flux at (x, y), (2 · radius + 1)² about the pixel nearest to it.

        Each exposure's pixels are drizzled as the mosaic was, with its own weights; NaN where none has any.
        """
        size = 2 * radius + 1
        sums = np.zeros((size, size, drizzle_kernels.LANES), np.float32)
        context = np.zeros((size, size), np.uint32)
        corner = floor(x + 0.5) - radius, floor(y + 0.5) - radius
        for k in self._near(np.array([x]), np.array([y]), radius):
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
        out = np.zeros((x.size, 2 * self._half + 1, LANES), np.float32)
        places = [each.place.at(x, y) for each in self.exposures]
        cells = np.column_stack([x // REGION_PIXELS, y // REGION_PIXELS]).astype(np.int64)
        keys, which = np.unique(cells, axis=0, return_inverse=True)
        order = np.argsort(which, kind="stable")
        ends = np.searchsorted(which[order], np.arange(len(keys) + 1))

        def work(index: int) -> None:
            rows = order[ends[index] : ends[index + 1]]
            region = self._region((int(keys[index, 0]), int(keys[index, 1])))
            if region.which.size == 0:
                return
            light, weights = np.zeros((2, rows.size, *(2 * [2 * self._half + 1])))
            for at, k in enumerate(region.which):
                u, v = (each[rows] for each in places[k])
                kernels.add_exposure(
                    x[rows], y[rows], u, v, region.blocks[at], region.slopes[at], region.sides[at],
                    region.bounds[at], self.exposures[k].weight, self._steps[k], self._radius, light, weights,
                )  # fmt: skip
            seen = np.divide(light, weights, out=np.zeros_like(light), where=weights > 0)
            out[rows, :, : seen.shape[2]] = seen

        share_out(work, range(len(keys)), threads=threads)
        return out

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

    @property
    def _half(self) -> int:
        return window_radius(self.mean.oversample)

    @property
    def _pixels(self) -> float:
        """The edge of an exposure's pixel in pixels of the mosaic."""
        return _edge(self.exposures[0])

    @property
    def _reach(self) -> float:
        """How far from a drop's middle pixels may have their middles that it touches."""
        return self.how.drop_size * self._pixels / 2**0.5 + 0.5

    @property
    def _radius(self) -> int:
        corner = (self._half + 0.5) * 2**0.5 + self._reach
        return min(ceil(corner / self._pixels), (LANES - 1) // 2)

    def _near(self, x: Floats, y: Floats, reach: int) -> NDArray[np.int64]:
        """Return which exposures may have pixels in windows of ``reach`` about places between these (n)."""
        away = (reach + self._reach) * 2**0.5 / self._pixels
        found = []
        for k, each in enumerate(self.exposures):
            top, bottom, left, right = _bounds(each.place)
            u, v = each.place.at(x, y)
            across = np.max(u) > left - away and np.min(u) < right + away
            if across and np.max(v) > top - away and np.min(v) < bottom + away:
                found.append(k)
        return np.array(found, np.int64)

    def _region(self, key: Key) -> _Region:
        if key not in self._regions:
            self._regions[key] = self._made(key)
        return self._regions[key]

    def _made(self, key: Key) -> _Region:
        left, bottom = (REGION_PIXELS * each for each in key)
        ends = [np.array([start, start + REGION_PIXELS], np.float64) for start in (left, bottom)]
        corners = [each.ravel() for each in np.meshgrid(*ends)]
        which = self._near(corners[0], corners[1], self._half)
        middle = left + REGION_PIXELS / 2, bottom + REGION_PIXELS / 2
        chosen = [self.exposures[k] for k in which]
        slopes = np.array([each.place.slopes(*middle).ravel() for each in chosen]).reshape(-1, 4)
        blocks = [_block(each, middle, self._radius) for each in chosen]
        return _Region(
            which=which,
            slopes=slopes,
            bounds=np.array([_bounds(each.place) for each in chosen], np.int64).reshape(-1, 4),
            blocks=np.array(blocks, np.float32),
            sides=np.array([_half_sides(each, self.how) for each in slopes]).reshape(-1, 4),
        )


def _edge(exposure: Exposure) -> float:
    return float(np.sqrt(abs(np.linalg.det(exposure.place.slopes(*exposure.place.middle)))))


def _bounds(place: SmoothMap) -> tuple[int, int, int, int]:
    """Return the first and last rows and columns there are."""
    (top, left), (height, width) = place.first, place.shape
    return top, top + height, left, left + width


def _half_sides(slopes: Floats, how: Drizzle) -> tuple[float, float, float, float]:
    """Return half the sides p (x, y) and q (x, y) of a drop: the pixel's own, or a square's of its area."""
    px, qx, py, qy = (how.drop_size / 2 * float(each) for each in slopes)
    if how.kernel is Kernel.TURBO:
        side = float(np.sqrt(abs(px * qy - py * qx)))
        return side, 0.0, 0.0, side
    return px, py, qx, qy


def _block(exposure: Exposure, middle: tuple[float, float], radius: int) -> Single:
    """Return the ePSF about a place of the mosaic as windows of ``radius`` pixels are sampled from."""
    psf = exposure.psf
    u, v = exposure.place.at(*(np.array([each]) for each in middle))
    corners, weights = np.empty(4, np.int64), np.empty(4)
    psf_kernels.corners_at(float(u[0]), float(v[0]), psf.xs, psf.ys, corners, weights)
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
    away = ceil((radius + 2) * 2**0.5 / _edge(exposure)) + 2
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


def _mean(exposures: Sequence[Exposure], how: Drizzle) -> PsfGrid:
    """Return the PSF of all exposures by their weights, in the middle of each, the mean of all phases."""
    some = exposures[:: -(-len(exposures) // _MOST_MEANT)]
    edges = [_edge(each) for each in some]
    nodes = max(round(some[0].psf.oversample / edges[0]), 1)
    half = nodes * floor(min(each.psf.radius * edge for each, edge in zip(some, edges, strict=True)))
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
    sides = np.array(_half_sides(slopes.ravel(), how))
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
