"""catalog: one L2 image to one L4 catalogue: background, detection, PSF and aperture photometry."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.wfi import PIXEL_SCALE_ARCSEC
from nexus_pipeline.measure import background, columns, correlation, detect, sources
from nexus_pipeline.measure.matched_filter import significance
from nexus_pipeline.products.model import Catalog, RateImage, StepRecord
from nexus_pipeline.psf import fit
from nexus_pipeline.psf.grid import PsfGrid
from nexus_pipeline.recipes.epsf import psf_of
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.runner import recorded
from nexus_pipeline.sky.distortion import relative_pixel_area

Plane = NDArray[np.float32]
Floats = NDArray[np.float64]
Listener = Callable[[StepRecord], None]

NJY_PER_MJY: Final = 1e15
_FILTER_RADIUS: Final = 4
_SOURCE_SIGMA: Final = 2.5
_STAR_FWHM_PIXELS: Final = 1.6
_SHARED_BY_A_RAY_DN: Final = 14.0
"""What the mean cosmic ray (4 500 electrons) shows in a pixel beside its own: half a per cent of it."""


@dataclass(frozen=True)
class Sky:
    """The image without its background (DN/s), the background, its variance, and the noise curve.

    ``covered`` are the pixels that sources were seen to cover.
    """

    image: Plane
    background: Plane
    variance: Plane
    extra_variance: Plane
    noise: fit.NoiseCurve
    covered: NDArray[np.bool_]


@dataclass(frozen=True)
class _Light:
    """What is measured: an image, its pixels that do not count, and what lies behind it."""

    image: RateImage
    unusable: NDArray[np.bool_]
    sky: Sky


def catalog(
    image: RateImage,
    store: ReferenceStore,
    *,
    ipc: bool | None = None,
    on_step: Listener | None = None,
    threads: int = 2,
) -> Catalog:
    """Return the sources of ``image``; InputError if it has no WCS or photometry yet.

    ``ipc`` as in ``epsf.psf_of``.
    """
    require_calibrated(image)
    meta = image.meta
    psf, files = psf_of(meta, store, ipc=ipc)
    records: list[StepRecord] = []
    table, segments = _measure(image, psf, partial(_told, records, on_step), threads=threads)
    provenance = replace(
        image.provenance,
        steps=(*image.provenance.steps, *records),
        references={**image.provenance.references, **files},
        context=store.context,
    )
    return Catalog(meta, table, provenance, image.photometry, segments=segments)


def require_calibrated(image: RateImage) -> None:
    """Raise InputError unless ``image`` has world coordinates and photometry."""
    if image.wcs is None or image.photometry is None:
        raise InputError("the image has no world coordinates or photometry: calibrate it first")


def unusable_pixels(image: RateImage) -> NDArray[np.bool_]:
    flagged: NDArray[np.bool_] = (image.dq & np.uint32(DQ.DO_NOT_USE)) != 0
    return flagged | ~np.isfinite(image.rate)


def beside_jumps(image: RateImage) -> NDArray[np.bool_]:
    """Return the pixels next to one with a jump, themselves without: where no source is to be looked for.

    They show half a per cent of the cosmic ray beside them (IPC): too little for a jump, enough for a
    source.
    """
    hit: NDArray[np.bool_] = (image.dq & np.uint32(DQ.JUMP_DET)) != 0
    grown: NDArray[np.bool_] = binary_dilation(hit)
    return grown & ~hit


def matched_filter(image: RateImage, psf: PsfGrid) -> Plane:
    """Return the stamp of a star in the middle of ``image``, small enough for a filter."""
    middle = (image.rate.shape[0] - 1) // 2
    return psf.stamp(middle, middle, radius=_FILTER_RADIUS).astype(np.float32)


def _measure(
    image: RateImage, psf: PsfGrid, told: Callable[[str], Any], *, threads: int
) -> tuple[Table, NDArray[np.uint32]]:
    """Return the sources and the map of their labels."""
    unusable, stamp = unusable_pixels(image), matched_filter(image, psf)
    with told("background"):
        sky = sky_behind(image, unusable, stamp)
    with told("detection"):
        found = detect.detect(significance(sky.image, sky.variance, ~(unusable | beside_jumps(image)), stamp))
    with told("psf_photometry"):
        sky, fits = fitted(
            image,
            sky,
            unusable,
            psf,
            x=found.x.astype(np.float64),
            y=found.y.astype(np.float64),
            threads=threads,
        )
    with told("source_catalog"):
        light = _Light(image, unusable, sky)
        return _table(light, found, fits, psf, threads=threads), found.labels.astype(np.uint32)


@contextmanager
def _told(records: list[StepRecord], on_step: Listener | None, name: str) -> Iterator[None]:
    with recorded(name) as measured:
        yield
    records.append(measured())
    if on_step is not None:
        on_step(records[-1])


def sky_behind(image: RateImage, unusable: NDArray[np.bool_], stamp: Plane) -> Sky:
    """Estimate the background twice: the second time without the sources seen in the first."""
    level, variance = background.noise_curve(image.rate, image.var_poisson + image.var_rnoise, unusable)
    curve = fit.NoiseCurve(level, variance)
    first = background.estimate(image.rate, unusable)
    behind = curve.of_plane(first)
    filtered = significance(image.rate - first, behind, ~unusable, stamp)
    # Deep lows go with the peaks: were only noise of one sign left out, the sky would come out too dark.
    covered = np.abs(filtered) > _SOURCE_SIGMA
    second = background.estimate(image.rate, unusable, sources=covered)
    extra = _extra_variance(image, level, variance)
    behind = curve.of_plane(second) + extra
    return Sky(image.rate - second, second, behind, extra, curve, covered)


def fitted(
    image: RateImage,
    sky: Sky,
    unusable: NDArray[np.bool_],
    psf: PsfGrid,
    *,
    x: Floats,
    y: Floats,
    free: bool = True,
    threads: int = 2,
) -> tuple[Sky, fit.PsfFits]:
    """Return PSF fits near ``x``, ``y`` (at them unless ``free``), and the sky behind the stars' wings.

    Wings reach beyond any mask: the sky is estimated again once they are taken off.
    """
    fit_on = partial(
        fit.fit_sources,
        usable=~unusable,
        extra_variance=sky.extra_variance,
        psf=psf,
        noise=sky.noise,
        x=x,
        y=y,
        free=free,
        threads=threads,
    )
    first = fit_on(sky.image, sky.background, passes=2)
    behind = background.estimate(
        fit.without(image.rate, psf, first, least=fit.faintest_light(sky.noise, sky.background)),
        unusable,
        sources=sky.covered,
    )
    better = replace(sky, image=image.rate - behind, background=behind)
    return better, fit_on(better.image, better.background, after=first, passes=1)


def _extra_variance(image: RateImage, level: Floats, variance: Floats) -> Plane:
    """Return what pixels hit by a cosmic ray have beyond the curve, and those beside them.

    The first have fewer resultants left; the others show a little of a charge that nobody measured, which
    would make faint stars too bright by 0.2 % in the mean.
    """
    hit = (image.dq & np.uint32(DQ.JUMP_DET)) != 0
    extra = np.zeros(image.rate.shape, dtype=np.float32)
    own = image.var_poisson[hit] + image.var_rnoise[hit]
    extra[hit] = np.maximum(own - np.interp(image.rate[hit], level, variance), 0)
    extra[beside_jumps(image)] = (_SHARED_BY_A_RAY_DN / image.meta.ma_table.exposure_time_s) ** 2
    return extra


def _table(
    light: _Light, found: detect.Detections, fits: fit.PsfFits, psf: PsfGrid, *, threads: int
) -> Table:
    image, sky, to_njy = light.image, light.sky, nanojanskys(light.image)
    variance = sky.noise.of_plane(image.rate) + sky.extra_variance
    field = sources.Field(
        np.where(light.unusable, 0, sky.image) * to_njy,
        variance * to_njy**2,
        light.unusable,
        found.labels,
        correlation.independent(),
    )
    segments = sources.segments(field, found.x, found.y)
    radii, ring = np.array(columns.RADII_ARCSEC) / PIXEL_SCALE_ARCSEC, columns.RING_ARCSEC
    measured = columns.Measured(
        segments=segments,
        extents=sources.extents(field, segments, threads=threads),
        circles=sources.circles(
            field, fits.x, fits.y, radii=radii.tolist(),
            ring=(ring[0] / PIXEL_SCALE_ARCSEC, ring[1] / PIXEL_SCALE_ARCSEC), threads=threads,
        ),
        sharpness=sources.sharp_and_round(field, fits.x, fits.y, fwhm=_STAR_FWHM_PIXELS),
        stars=in_njy(fits, to_njy),
        image_flags=columns.flags_near(image.dq, fits.x, fits.y),
        wcs=image.wcs,
        scale_arcsec=PIXEL_SCALE_ARCSEC,
    )  # fmt: skip
    return columns.table(measured, star_ratio=_star_ratio(psf))


def in_njy(fits: fit.PsfFits, to_njy: Plane) -> columns.Stars:
    """Return the fits in nJy: each with the factor of the pixel it lies in."""
    rows = np.clip(np.rint(fits.y).astype(int), 0, to_njy.shape[0] - 1)
    cols = np.clip(np.rint(fits.x).astype(int), 0, to_njy.shape[1] - 1)
    local = to_njy[rows, cols].astype(np.float64)
    return columns.Stars(
        flux=fits.flux * local,
        flux_err=fits.flux_err * local,
        x=fits.x,
        y=fits.y,
        x_err=fits.x_err,
        y_err=fits.y_err,
        goodness=fits.chi2,
        converged=fits.converged,
    )


def nanojanskys(image: RateImage) -> Plane:
    """Return nJy per DN/s of each pixel: its area comes from the image's own WCS."""
    assert image.photometry is not None  # noqa: S101 - checked at the door, for the type checker
    transform = image.wcs.get_transform("detector", "v2v3")
    nominal = image.photometry.conversion_megajanskys * image.photometry.pixel_area_sr * NJY_PER_MJY
    return relative_pixel_area(transform, image.rate.shape[0]) * np.float32(nominal)


def _star_ratio(psf: PsfGrid) -> float:
    """Return a star's light within 0.4″ over that within 0.2″."""
    stamp = psf.stamp(round(float(np.mean(psf.xs))), round(float(np.mean(psf.ys))), radius=10)
    small, large = (sources.circle_share(stamp, radius / PIXEL_SCALE_ARCSEC) for radius in (0.2, 0.4))
    return large / small
