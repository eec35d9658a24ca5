"""What is measured of the sources of several filters, in each of them: by PSF, in ellipses and in circles.

Takes the filters' images and the sources found in their mean; leaves the columns of a multi-band catalogue.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Final

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from nexus_pipeline.measure import band_columns, columns, detect, kron_total, sources, star_probability
from nexus_pipeline.measure.matched_image import matched
from nexus_pipeline.measure.shapes import Shapes
from nexus_pipeline.products.model import CoaddMeta
from nexus_pipeline.psf.grid import PsfGrid
from nexus_pipeline.psf.matching import kernel_between
from nexus_pipeline.recipes import measuring
from nexus_pipeline.recipes.measuring import Picture, Sky

Plane = NDArray[np.float32]
Floats = NDArray[np.float64]

_MATCHING_ARCSEC: Final = 1.1
"""How far a kernel reaches that brings one PSF to another."""
_FARTHEST_PIXELS: Final = 3.0
"""A fit that wandered farther from its peak tells nothing of where the source is."""


@dataclass(frozen=True)
class Band:
    """A filter's image: its planes, its PSF and the sky behind it; ``files`` are the references it took.

    ``evened`` as in ``measuring.fitted``.
    """

    meta: CoaddMeta
    picture: Picture
    psf: PsfGrid
    sky: Sky
    unusable: NDArray[np.bool_]
    files: Mapping[str, str]
    evened: measuring.Evened | None = None

    @property
    def name(self) -> str:
        return self.meta.filter_name.lower()


@dataclass(frozen=True)
class Seen:
    """The image that sources were found in, as a field (nJy) with its PSF and the filter it was seen with."""

    field: sources.Field
    psf: PsfGrid
    stamp: Plane


@dataclass(frozen=True)
class Shape:
    """What all filters share of the sources: segments, ellipses, total light beyond these, shapes."""

    segments: sources.Segments
    extents: sources.Extents
    kron_total: Floats
    shapes: Shapes


def fitted(
    bands: Sequence[Band], found: detect.Detections, *, threads: int
) -> tuple[list[Band], list[columns.Stars]]:
    """Return the bands with the sky behind their stars' wings, and PSF fits at one position for all filters.

    The position is the mean of those of all filters by their errors.
    """
    peak_x, peak_y = found.x.astype(np.float64), found.y.astype(np.float64)
    free = []
    for band in bands:
        _, fits = measuring.fitted(
            band.picture, band.sky, band.unusable, band.psf, x=peak_x, y=peak_y, evened=band.evened,
            threads=threads,
        )  # fmt: skip
        free.append(fits)
    x, x_err = _joint([(fits.x, fits.x_err, fits.converged) for fits in free], peak_x, _FARTHEST_PIXELS)
    y, y_err = _joint([(fits.y, fits.y_err, fits.converged) for fits in free], peak_y, _FARTHEST_PIXELS)
    better, stars = [], []
    for band, before in zip(bands, free, strict=True):
        sky, fits = measuring.fitted(
            band.picture, band.sky, band.unusable, band.psf, x=x, y=y, free=False, evened=band.evened,
            threads=threads,
        )  # fmt: skip
        fits = replace(fits, x_err=x_err, y_err=y_err, extent=before.extent, extent_err=before.extent_err)
        better.append(replace(band, sky=sky))
        factor = measuring.shared_error(sky.correlation, band.psf)
        stars.append(measuring.in_njy(fits, band.picture.to_njy, error_factor=factor))
    return better, stars


def _joint(
    found: Sequence[tuple[Floats, Floats, NDArray[np.bool_]]], start: Floats, farthest: float = np.inf
) -> tuple[Floats, Floats]:
    """Return the mean by inverse variance of what is not far from ``start``, and its error.

    Where nothing converged it is ``start``, with an error of NaN.
    """
    weight, moment = np.zeros_like(start), np.zeros_like(start)
    for at, error, converged in found:
        good = converged & np.isfinite(error) & (error > 0) & (np.abs(at - start) < farthest)
        share = np.divide(1.0, error**2, out=np.zeros_like(start), where=good)
        weight += share
        moment += share * np.where(good, at - start, 0.0)
    told = weight > 0
    mean = start + np.divide(moment, weight, out=np.zeros_like(start), where=told)
    return mean, np.divide(1.0, np.sqrt(weight), out=np.full_like(start, np.nan), where=told)


def table(
    bands: Sequence[Band],
    seen: Seen,
    found: detect.Detections,
    stars: Sequence[columns.Stars],
    *,
    threads: int,
) -> Table:
    """Return the catalogue: what all filters share, what each shows, and fluxes at the last one's PSF."""
    names, reference = [band.name for band in bands], bands[-1]
    if not len(found):
        single = (*columns.required_columns(), *columns.OUR_COLUMNS)
        return band_columns.table(band_columns.without_sources(names, reference.name, single), names)
    segments = sources.segments(seen.field, found.x, found.y)
    extents = sources.extents(seen.field, segments, threads=threads)
    star = measuring.whole_star(seen.psf)
    learnt = kron_total.learnt(star.light, seen.stamp)
    shapes = measuring.shapes_of(
        seen.field, segments, star, scale_arcsec=reference.picture.scale_arcsec, threads=threads
    )
    shape = Shape(segments, extents, learnt.factor(extents, segments), shapes)
    made = band_columns.of_source(_of_all(bands, seen, shape, stars, threads=threads))
    for band, fits in zip(bands, stars, strict=True):
        field = measuring.field_of(band.picture, band.sky, found.labels)
        made |= band_columns.of_band(
            _columns(band, field, shape, stars=fits, found=found, threads=threads), band.name
        )
        if band is not reference:
            alike = matched(field, _kernel(band, reference))
            same = _columns(band, alike, shape, stars=fits, found=found, threads=threads)
            made |= band_columns.of_matched(same, band.name, reference.name)
    return band_columns.table(made, names)


def _kernel(band: Band, reference: Band) -> Floats:
    """Return the kernel that brings the image of ``band`` to the PSF of ``reference``."""
    radius = round(_MATCHING_ARCSEC / band.picture.scale_arcsec)
    return np.asarray(kernel_between(band.psf, reference.psf, x=0.0, y=0.0, radius=radius).kernel)


def _columns(
    band: Band,
    field: sources.Field,
    shape: Shape,
    *,
    stars: columns.Stars,
    found: detect.Detections,
    threads: int,
) -> columns.Columns:
    """Return the columns of one image, measured where the sources are in all."""
    own = sources.segments(field, found.x, found.y)
    segments = replace(shape.segments, flux=own.flux, flux_err=own.flux_err)
    extents = sources.extents_within(field, shape.segments, shape.extents, threads=threads)
    measured = _measured(
        band, field, replace(shape, segments=segments, extents=extents), stars, threads=threads
    )
    ratio = measuring.star_ratio(band.psf, band.picture.scale_arcsec)
    return columns.values(measured, star_ratio=ratio)


def _of_all(
    bands: Sequence[Band], seen: Seen, shape: Shape, stars: Sequence[columns.Stars], *, threads: int
) -> columns.Columns:
    """Return the columns of the detection image; flags are those of any filter."""
    extent, error = _joint([(one.extent, one.extent_err, one.converged) for one in stars], _zeros(stars))
    whole = replace(
        stars[-1],
        extent=extent,
        extent_err=error,
        converged=np.any([one.converged for one in stars], axis=0),
    )
    measured = _measured(bands[-1], seen.field, shape, whole, threads=threads)
    brightest = reduce(np.fmax, [one.flux for one in stars])
    probable = star_probability.of_fits(extent, error, brightest, core=measuring.core(seen.psf))
    flags = [columns.flags_near(band.picture.dq, whole.x, whole.y) for band in bands]
    together = replace(measured, star_probability=probable, image_flags=reduce(np.bitwise_or, flags))
    return columns.values(together, star_ratio=1.0)


def _zeros(stars: Sequence[columns.Stars]) -> Floats:
    return np.zeros(len(stars[0].x))


def _measured(
    band: Band, field: sources.Field, shape: Shape, stars: columns.Stars, *, threads: int
) -> columns.Measured:
    scale = band.picture.scale_arcsec
    inner, outer = (radius / scale for radius in columns.RING_ARCSEC)
    radii = [radius / scale for radius in columns.RADII_ARCSEC]
    return columns.Measured(
        segments=shape.segments,
        extents=shape.extents,
        kron_total=shape.kron_total,
        shapes=shape.shapes,
        star_probability=np.full(len(stars.x), np.nan),
        circles=sources.circles(field, stars.x, stars.y, radii=radii, ring=(inner, outer), threads=threads),
        sharpness=sources.sharp_and_round(field, stars.x, stars.y, fwhm=measuring.STAR_FWHM_ARCSEC / scale),
        stars=stars,
        image_flags=columns.flags_near(band.picture.dq, stars.x, stars.y),
        wcs=band.picture.wcs,
        scale_arcsec=scale,
    )
