"""An ePSF from dithered stars, after Anderson & King (2000, PASP 112, 1360), with a jitter term.

Takes cut-outs of stars that several exposures saw at different phases of a pixel; leaves ePSF stamps on a
grid of places, and how much wider each exposure's stars are than the mean. Round after round stars are fitted
with the ePSF so far; their places and fluxes become the mean of what all exposures say, which no phase's
error survives; and what then is left of their pixels goes to the nodes of the ePSF that it depends on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import shift, spline_filter
from scipy.special import erf

from nexus_pipeline.psf import build_kernels as kernels
from nexus_pipeline.psf.grid import PsfGrid

Floats = NDArray[np.float64]
Pixels = NDArray[np.int64]

ROUNDS: Final = 20
_JITTER_FROM: Final = 4
_FIRST_SIGMA: Final = 0.5
"""Of the Gaussian that the first ePSF is, pixels."""
_CLIP_SIGMA: Final = 5.0
_MODEL_ERROR: Final = 0.01
"""Of a pixel's light: brighter stars tell no more."""
_CORE_PIXELS: Final = 4
_MOST_FAR: Final = 0.15
"""Share of a star's core that may be far off the model."""
_CENTRE_SIGMA: Final = 1.0
"""Of the window (pixels) whose centroid is the ePSF's middle by definition."""


@dataclass(frozen=True)
class Sightings:
    """Stars as exposures saw them, an entry for each time (n).

    ``light`` (n, size, size) has no sky, ``variance`` is infinite where a pixel does not count; the windows
    are about (``column``, ``row``) of the detector. ``star`` and ``exposure`` say whose they are, from 0 on.
    A star ``d`` pixels from its window's middle lies at ``place`` + ``slope`` · d, (n, 2) and (n, 2, 2), on a
    plane that all exposures share.
    """

    light: Floats
    variance: Floats
    column: Pixels
    row: Pixels
    star: Pixels
    exposure: Pixels
    place: Floats
    slope: Floats


@dataclass(frozen=True)
class Fitted:
    """Fluxes and places of sightings in their exposures' pixels (n); NaN for what did not converge."""

    flux: Floats
    x: Floats
    y: Floats


@dataclass(frozen=True)
class _Told:
    """Of one round: fits, the model's value and slopes, what is left in shares of a star, and weights."""

    fits: Fitted
    model: Floats
    left: Floats
    weight: Floats


Refit = Callable[[Sequence[PsfGrid]], Fitted]
"""Fits all sightings with the ePSF of each exposure."""


@dataclass(frozen=True)
class Built:
    """``psf``, and by exposure the variances xx, yy, xy (pixels²; n_exposures, 3) of its stars beyond it.

    ``chi2`` is the reduced χ² of what counted, ``peak_error`` the share by which noise moves the ePSF's peak.
    """

    psf: PsfGrid
    jitter: Floats
    chi2: float
    peak_error: float


def build(
    seen: Sightings, refit: Refit, *, xs: Floats, ys: Floats, oversample: int = 4, rounds: int = ROUNDS
) -> Built:
    """Return the ePSF of ``seen`` at the grid lines ``xs``, ``ys``, as far out as their windows go.

    It sums to 1 within its stamp, and its middle is the centroid within a window of one pixel.
    """
    grid = _first(xs, ys, oversample, seen.light.shape[1] // 2)
    n_exposures = int(np.max(seen.exposure)) + 1
    jitter = np.zeros((n_exposures, 3))
    chi2, peak_error = np.nan, np.nan
    for number in range(rounds):
        each = [_widened(grid, one) for one in jitter]
        fits = _shared(seen, refit(each))
        model = _models(seen, each, fits)
        weight = _weights(seen, fits.flux, model[:, 0])
        left = _left(seen, fits.flux, model[:, 0])
        chi2 = float(np.mean((weight * (left * fits.flux[:, None, None]) ** 2)[weight > 0]))
        told = _Told(fits, model, left, weight)
        if number >= _JITTER_FROM:
            jitter = jitter + _jitter(seen, each, told)
            jitter -= jitter.mean(axis=0)
        grid, peak_error = _improved(grid, seen, told)
    return Built(grid, jitter, chi2, peak_error)


def _first(xs: Floats, ys: Floats, oversample: int, reach: int) -> PsfGrid:
    """Return a Gaussian in pixels, alike everywhere."""
    at = np.arange(-reach * oversample, reach * oversample + 1) / oversample
    across = (erf((at + 0.5) / _FIRST_SIGMA / 2**0.5) - erf((at - 0.5) / _FIRST_SIGMA / 2**0.5)) / 2
    stamps = np.tile(np.outer(across, across), (xs.size * ys.size, 1, 1))
    return _grid(stamps, xs, ys, oversample)


def _grid(stamps: Floats, xs: Floats, ys: Floats, oversample: int) -> PsfGrid:
    coefficients = np.stack([spline_filter(stamp, mode="mirror") for stamp in stamps])
    return PsfGrid(coefficients.astype(np.float32), xs, ys, oversample)


def _bends(grid: PsfGrid) -> list[PsfGrid]:
    """Return the second derivatives xx, yy (halved) and xy: what a variance of one pixel² adds to a star."""
    c, square = grid.coefficients.astype(np.float64), grid.oversample**2
    xx, yy, xy = (np.zeros_like(c) for _ in range(3))
    xx[:, :, 1:-1] = (c[:, :, 2:] - 2 * c[:, :, 1:-1] + c[:, :, :-2]) * square / 2
    yy[:, 1:-1] = (c[:, 2:] - 2 * c[:, 1:-1] + c[:, :-2]) * square / 2
    inner = np.s_[:, 1:-1, 1:-1]
    xy[inner] = (c[:, 2:, 2:] - c[:, 2:, :-2] - c[:, :-2, 2:] + c[:, :-2, :-2]) * square / 4
    return [PsfGrid(each.astype(np.float32), grid.xs, grid.ys, grid.oversample) for each in (xx, yy, xy)]


def _widened(grid: PsfGrid, jitter: Floats) -> PsfGrid:
    if not jitter.any():
        return grid
    bends = _bends(grid)
    coefficients = grid.coefficients + sum(
        np.float32(one) * bend.coefficients for one, bend in zip(jitter, bends, strict=True)
    )
    return PsfGrid(coefficients, grid.xs, grid.ys, grid.oversample)


def _shared(seen: Sightings, fits: Fitted) -> Fitted:
    """Return the places and fluxes that all exposures together give each star."""
    known = np.isfinite(fits.flux + fits.x + fits.y) & (fits.flux > 0)
    away = np.column_stack([fits.x - seen.column, fits.y - seen.row])
    places = seen.place + np.einsum("nij,nj->ni", seen.slope, away)
    ratio = np.ones(len(away))
    for _ in range(3):
        # Exposures differ by where they point, their scale and how much they see.
        mean = _star_means(seen.star, places, known)
        for k in range(int(np.max(seen.exposure)) + 1):
            rows = known & (seen.exposure == k) & np.isfinite(mean[:, 0])
            terms = _affine(mean)
            apart = (places - mean)[rows]
            places[rows] -= terms[rows] @ np.linalg.lstsq(terms[rows], apart, rcond=None)[0]
            flux = _star_means(seen.star, (fits.flux / ratio)[:, None], known)[:, 0]
            ratio[seen.exposure == k] = np.median((fits.flux / flux)[rows])
    mean = _star_means(seen.star, places, known)
    flux = _star_means(seen.star, (fits.flux / ratio)[:, None], known)[:, 0]
    moved = np.linalg.solve(seen.slope, (mean - places)[:, :, None])[:, :, 0]
    return Fitted(np.where(known, flux * ratio, np.nan), fits.x + moved[:, 0], fits.y + moved[:, 1])


def _affine(places: Floats) -> Floats:
    middle = np.nanmean(places, axis=0)
    spread = np.nanstd(places, axis=0)
    return np.column_stack([np.ones(len(places)), (places - middle) / np.where(spread > 0, spread, 1)])


def _star_means(star: Pixels, values: Floats, known: NDArray[np.bool_]) -> Floats:
    """Return for each sighting the mean (n, m) of ``values`` over its star's known ones; NaN for none."""
    count = np.bincount(star[known], minlength=int(np.max(star)) + 1)
    sums = [np.bincount(star[known], each[known], minlength=count.size) for each in values.T]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.column_stack([each / count for each in sums])[star])


def _models(seen: Sightings, grids: Sequence[PsfGrid], fits: Fitted) -> Floats:
    """Return value and slopes (n, 3, size, size) of each sighting; NaN for those without a place."""
    out = np.full((len(seen.star), 3, *seen.light.shape[1:]), np.nan)
    for k, grid in enumerate(grids):
        rows = np.flatnonzero((seen.exposure == k) & np.isfinite(fits.flux + fits.x + fits.y))
        made = np.empty((rows.size, *out.shape[1:]))
        kernels.sampled(
            grid.coefficients, grid.oversample, grid.xs, grid.ys, fits.x[rows], fits.y[rows],
            seen.column[rows], seen.row[rows], made,
        )  # fmt: skip
        out[rows] = made
    return out


def _left(seen: Sightings, flux: Floats, model: Floats) -> Floats:
    """Return what the model leaves of each pixel, in shares of the star; 0 where it is not known."""
    left = seen.light / flux[:, None, None] - model
    return np.where(np.isfinite(left), left, 0.0)


def _weights(seen: Sightings, flux: Floats, model: Floats) -> Floats:
    """Return the inverse variance of each pixel's light; 0 for what does not count or is far off.

    Where too much of a core is far off it is no star, and nothing of it counts.
    """
    total = flux[:, None, None]
    error = _MODEL_ERROR * total * np.abs(model)
    weight = 1 / (seen.variance + error**2)
    far = np.abs(seen.light - total * model) > _CLIP_SIGMA * np.sqrt(seen.variance + (5 * error) ** 2)
    star = far[_core(far)].mean(axis=(1, 2)) < _MOST_FAR
    return np.where(np.isfinite(weight) & ~far & star[:, None, None], weight, 0.0)


def _core(windows: NDArray[Any]) -> tuple[slice, slice, slice]:
    half = windows.shape[1] // 2
    inner = min(_CORE_PIXELS, half)
    return np.s_[:, half - inner : half + inner + 1, half - inner : half + inner + 1]


def _jitter(seen: Sightings, grids: Sequence[PsfGrid], told: _Told) -> Floats:
    """Return the variances (n_exposures, 3) that are to be added to each exposure's.

    A star's flux and place are fitted beside them: what looks like those is not jitter.
    """
    core = _core(told.left)
    bends = [_models(seen, [_bends(grid)[c] for grid in grids], told.fits)[:, 0] for c in range(3)]
    columns = np.stack([each[core] for each in (*bends, *told.model.swapaxes(0, 1))], axis=1)
    columns = np.where(np.isfinite(columns), columns, 0.0)
    left, w = told.left[core], (told.weight * (told.fits.flux**2)[:, None, None])[core]
    w = np.where(np.isfinite(w), w, 0.0)
    normal = np.einsum("napq,nbpq,npq->nab", columns, columns, w)
    right = np.einsum("napq,npq,npq->na", columns, left, w)
    found = np.zeros((len(grids), 3))
    for k in range(len(grids)):
        rows = (seen.exposure == k) & (np.linalg.cond(normal) < 1e12)
        # The star's own columns are eliminated, then all stars of the exposure are added up.
        a, b, c = normal[rows, :3, :3], normal[rows, :3, 3:], normal[rows, 3:, 3:]
        back = np.linalg.solve(c, np.concatenate([b.swapaxes(1, 2), right[rows, 3:, None]], axis=2))
        whole = (a - b @ back[:, :, :3]).sum(axis=0)
        rest = (right[rows, :3] - (b @ back[:, :, 3:])[:, :, 0]).sum(axis=0)
        found[k] = np.linalg.solve(whole, rest)
    return found


def _improved(grid: PsfGrid, seen: Sightings, told: _Told) -> tuple[PsfGrid, float]:
    """Return the ePSF with what is left added at its nodes, centred and of unit sum, and the peak's error."""
    fits = told.fits
    rows = np.flatnonzero(np.isfinite(fits.flux + fits.x + fits.y))
    total, weights = np.zeros((2, *grid.coefficients.shape))
    kernels.gather(
        told.left[rows], told.weight[rows] * (fits.flux[rows] ** 2)[:, None, None], grid.oversample,
        grid.xs, grid.ys, fits.x[rows], fits.y[rows], seen.column[rows], seen.row[rows], total, weights,
    )  # fmt: skip
    change = np.divide(total, weights, out=np.zeros_like(total), where=weights > 0)
    middle = (total.shape[1] - 1) // 2
    peak = grid.at(float(np.mean(grid.xs)), float(np.mean(grid.ys)))[middle, middle]
    error = float(1 / np.sqrt(np.mean(weights[:, middle, middle])) / peak)
    stamps = [_centred(each, grid.oversample) for each in grid.coefficients + change]
    return _grid(np.array(stamps), grid.xs, grid.ys, grid.oversample), error


def _centred(coefficients: Floats, oversample: int) -> Floats:
    """Return the stamp of ``coefficients``, its windowed centroid moved to the middle, of unit sum."""
    moved = np.zeros(2)
    for _ in range(3):
        stamp = shift(coefficients, moved, order=3, prefilter=False, mode="constant")
        moved = moved - _centroid(stamp, oversample)
    return np.asarray(stamp * (oversample**2 / stamp.sum()))


def _centroid(stamp: Floats, oversample: int) -> Floats:
    """Return y and x (nodes) of the centroid in a Gaussian window: twice its offset for a PSF as wide."""
    at = np.arange(stamp.shape[0]) - stamp.shape[0] // 2
    y, x = np.meshgrid(at, at, indexing="ij")
    window = stamp * np.exp(-(x**2 + y**2) / (2 * (_CENTRE_SIGMA * oversample) ** 2))
    return np.asarray(np.array([(window * y).sum(), (window * x).sum()]) / window.sum())
