"""psf_build: L2 images of one detector and filter, dithered, to the ePSF reference that their stars show."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.measure import bright_stars
from nexus_pipeline.measure.bright_stars import Flattened
from nexus_pipeline.products.model import RateImage, ScienceImage
from nexus_pipeline.psf import build, fit
from nexus_pipeline.psf.build import Built, Fitted, Sightings
from nexus_pipeline.psf.grid import PsfGrid
from nexus_pipeline.recipes.epsf import has_ipc
from nexus_pipeline.recipes.registration_catalog import fitted
from nexus_pipeline.references.kinds import EpsfReference
from nexus_pipeline.sky.tangent import directions_of, plane_about

Floats = NDArray[np.float64]
Pixels = NDArray[np.int64]
Image = RateImage | ScienceImage

RADIUS: Final = 10
STARS_A_PLACE: Final = 25
"""Fewer stars at each place of the grid than this are refused: a node needs stars at its phase."""
PEAK_SIGMA: Final = 40.0
"""The middle pixel over the sky's noise: a star of S/N 100 or so."""
_SAME_STAR_ARCSEC: Final = 0.25
_CORE_PIXELS: Final = 3.0
"""Whose light is compared with the wings': farther out a slip of the sky counts for more."""
_LEAST_SPREAD_PIXELS: Final = 0.1
"""Of a star's phases: images that differ less by it show each star at one phase."""
_ARCSEC: Final = np.deg2rad(1 / 3600)


@dataclass(frozen=True)
class Report:
    """What an ePSF was built from, and how well: see ``psf.build.Built``."""

    n_stars: int
    n_sightings: int
    built: Built


@dataclass(frozen=True)
class _Peaks:
    """Stars of one image: their highest pixels, and how many were left out as crowded."""

    flat: Flattened
    x: Pixels
    y: Pixels
    n_crowded: int
    n_saturated: int


def build_reference(
    images: Sequence[Image],
    *,
    n_places: int = 1,
    radius: int = RADIUS,
    oversample: int = 4,
    wings: PsfGrid | None = None,
    threads: int = 2,
) -> tuple[EpsfReference, Report]:
    """Return the ePSF at ``n_places``² places, out to ``radius`` pixels, and what it was built from.

    With ``wings``, an ePSF that goes farther, it is continued by that and has as much light in its core;
    without, a star's flux is what falls within the radius. The middle is the windowed centroid.
    InputError for images of several detectors or filters, without WCS, not dithered, and for too few stars:
    it says how many were saturated or crowded.
    """
    _require_alike(images)
    size = images[0].rate.shape[0]
    found = [_peaks(image, radius) for image in images]
    seen = _sightings(images, found, radius)
    _require_enough(seen, found, n_places)
    lines = np.linspace(0, size - 1, n_places) if n_places > 1 else np.array([(size - 1) / 2])
    built = build.build(seen, _refit(found, seen, threads), xs=lines, ys=lines, oversample=oversample)
    report = Report(int(np.max(seen.star)) + 1, len(seen.star), built)
    return _reference(images, report, wings), report


def _require_alike(images: Sequence[Image]) -> None:
    if len(images) < 2:
        raise InputError("an ePSF is built from two dithered images or more")
    kinds = {(image.meta.detector, image.meta.filter_name) for image in images}
    if len(kinds) > 1:
        told = ", ".join(sorted(" ".join(kind) for kind in kinds))
        raise InputError(f"an ePSF is that of one detector and filter; these images are of {told}")
    if any(image.wcs is None for image in images):
        raise InputError("the images have no world coordinates: calibrate them first")


def _peaks(image: Image, radius: int) -> _Peaks:
    """Return isolated, unsaturated stars whose whole window lies on the image."""
    unusable = (image.dq & np.uint32(DQ.DO_NOT_USE)) != 0
    saturated = (image.dq & np.uint32(DQ.SATURATED)) != 0
    flat = bright_stars.flatten(image.rate, image.var_poisson, image.var_rnoise, unusable)
    x, y = bright_stars.peaks(flat, saturated, least=PEAK_SIGMA * flat.sky_sigma)
    height = flat.image[y, x].astype(np.float64)
    alone = bright_stars.isolated(x, y, height, radius_pixels=1.5 * radius)
    ny, nx = image.rate.shape
    inside = (x >= radius) & (x < nx - radius) & (y >= radius) & (y < ny - radius)
    kept = alone & inside
    return _Peaks(flat, x[kept], y[kept], int((~alone).sum()), int(label(saturated)[1]))


def _sightings(images: Sequence[Image], found: Sequence[_Peaks], radius: int) -> Sightings:
    """Return the stars that two images or more show, each once in an image."""
    exposure = np.concatenate([np.full(each.x.size, k) for k, each in enumerate(found)])
    column, row = (np.concatenate([getattr(each, name) for each in found]) for name in ("x", "y"))
    if not column.size:
        raise InputError(_too_few(0, 0, found))
    near = np.concatenate([
        _directions(image, each.x.astype(np.float64), each.y.astype(np.float64))
        for image, each in zip(images, found, strict=True)
    ])  # fmt: skip
    star, kept = _identified(near, exposure)
    exposure, column, row = exposure[kept], column[kept], row[kept]
    plane = plane_about(near)
    places, slopes = np.empty((len(star), 2)), np.empty((len(star), 2, 2))
    light, variance = np.empty((2, len(star), 2 * radius + 1, 2 * radius + 1))
    for k, (image, peaks) in enumerate(zip(images, found, strict=True)):
        rows = np.flatnonzero(exposure == k)
        x, y = column[rows].astype(np.float64), row[rows].astype(np.float64)
        here, right, above = (
            plane.project(_directions(image, x + dx, y + dy)) for dx, dy in ((0, 0), (1, 0), (0, 1))
        )
        places[rows], slopes[rows] = here, np.stack([right - here, above - here], axis=2)
        for n in rows:
            light[n], variance[n] = _cut(peaks.flat, column[n], row[n], radius)
    return Sightings(light, variance, column, row, star, exposure, places, slopes)


def _directions(image: Image, x: Floats, y: Floats) -> Floats:
    ra, dec = image.wcs(x, y, with_bounding_box=False)
    return directions_of(np.atleast_1d(ra), np.atleast_1d(dec))


def _identified(directions: Floats, exposure: Pixels) -> tuple[Pixels, NDArray[np.bool_]]:
    """Return the number of each sighting's star, and which sightings are of stars seen well."""
    pairs = cKDTree(directions).query_pairs(_SAME_STAR_ARCSEC * _ARCSEC, output_type="ndarray")
    n = len(directions)
    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    _, star = connected_components(links, directed=False)
    times = np.bincount(star)
    seen = np.unique(np.column_stack([star, exposure]), axis=0)
    exposures = np.bincount(seen[:, 0], minlength=times.size)
    good = (exposures >= 2) & (exposures == times)
    kept = good[star]
    _, numbers = np.unique(star[kept], return_inverse=True)
    return numbers.astype(np.int64), kept


def _cut(flat: Flattened, column: int, row: int, radius: int) -> tuple[Floats, Floats]:
    window = np.s_[row - radius : row + radius + 1, column - radius : column + radius + 1]
    light = flat.image[window].astype(np.float64)
    variance = flat.floor + flat.slope * (np.maximum(light, 0) + flat.sky[window])
    return light, np.where(flat.usable[window], variance, np.inf)


def _require_enough(seen: Sightings, found: Sequence[_Peaks], n_places: int) -> None:
    n, wanted = np.unique(seen.star).size, STARS_A_PLACE * n_places**2
    if n < wanted:
        raise InputError(_too_few(n, wanted, found), stars=n)
    middle = seen.place - np.array([_of_star(seen.star, each) for each in seen.place.T]).T
    pixels = np.linalg.solve(seen.slope, middle[:, :, None])[:, :, 0]
    phases = (pixels - np.rint(pixels)).std(axis=0)
    if np.max(phases) < _LEAST_SPREAD_PIXELS:
        raise InputError("the images are not dithered: each star falls on the same phase of its pixel in all")


def _of_star(star: Pixels, values: Floats) -> Floats:
    return np.asarray((np.bincount(star, values) / np.bincount(star))[star])


def _too_few(n: int, wanted: int, found: Sequence[_Peaks]) -> str:
    saturated, crowded = max(each.n_saturated for each in found), max(each.n_crowded for each in found)
    needed = f" of the {wanted} that this grid needs" if wanted else ""
    return (
        f"too few stars for an ePSF: {n}{needed} are bright, alone and in two images or more; "
        f"in one image up to {saturated} saturate and {crowded} have neighbours"
    )


def _refit(found: Sequence[_Peaks], seen: Sightings, threads: int) -> build.Refit:
    def refit(psfs: Sequence[PsfGrid]) -> Fitted:
        flux, x, y = np.full((3, len(seen.star)), np.nan)
        for k, (peaks, psf) in enumerate(zip(found, psfs, strict=True)):
            rows = np.flatnonzero(seen.exposure == k)
            at = np.stack([seen.column[rows], seen.row[rows]]).astype(np.float64)
            made: fit.PsfFits = fitted(peaks.flat, psf, at, threads=threads)
            good = made.converged
            flux[rows[good]], x[rows[good]], y[rows[good]] = made.flux[good], made.x[good], made.y[good]
        return Fitted(flux, x, y)

    return refit


def _reference(images: Sequence[Image], report: Report, wings: PsfGrid | None) -> EpsfReference:
    psf, first = report.built.psf, min(image.meta.start_time for image in images)
    places = [(x, y) for y in psf.ys for x in psf.xs]
    reach = (psf if wings is None else wings).radius * psf.oversample
    at = np.arange(-reach, reach + 1) / psf.oversample
    dx, dy = np.meshgrid(at, at)
    stamps = [psf.values(x, y, dx=dx, dy=dy) for x, y in places]
    if wings is not None:
        far = [wings.values(x, y, dx=dx, dy=dy) for x, y in places]
        stamps = [_continued(*both, np.hypot(dx, dy), psf.radius) for both in zip(stamps, far, strict=True)]
    has = ("jitter", "diffusion", "pixel", *(["ipc"] if has_ipc(images[0].meta) else []))
    return EpsfReference(
        detector=images[0].meta.detector,
        filter_name=images[0].meta.filter_name,
        useafter=first.astimezone(UTC),
        psf=np.array(stamps, dtype=np.float32)[None, None],
        pixel_x=tuple(float(x) for x, _ in places),
        pixel_y=tuple(float(y) for _, y in places),
        oversample=psf.oversample,
        includes=has,
        total=float(psf.oversample**2),
        description=f"built from {report.n_stars} stars in {len(images)} images (Anderson & King 2000)",
    )


def _continued(core: Floats, far: Floats, away: Floats, radius: int) -> Floats:
    """Return ``core`` within ``radius`` pixels, its middle as bright as that of ``far``, which goes on."""
    share, middle = np.clip(radius - 0.5 - away, 0, 1), away < _CORE_PIXELS
    return np.asarray(core * (far[middle].sum() / core[middle].sum()) * share + far * (1 - share))
