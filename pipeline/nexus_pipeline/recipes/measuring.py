"""What catalogues of all levels have in common: the sky behind an image, its sources, and their columns.

Takes a ``Picture``: planes of one level's image in its own unit (U per pixel) and what makes nJy of them.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, Protocol

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.wfi import PIXEL_SCALE_ARCSEC
from nexus_pipeline.measure import (
    background,
    columns,
    correlation,
    detect,
    joining,
    kron_total,
    planes,
    shapes,
    sources,
    star_probability,
)
from nexus_pipeline.measure.between_pixels import Between, between
from nexus_pipeline.measure.deblend import Rule
from nexus_pipeline.measure.matched_filter import covered, significance
from nexus_pipeline.psf import fit
from nexus_pipeline.psf.fit_kernels import window_radius
from nexus_pipeline.psf.grid import PsfGrid

Plane = NDArray[np.float32]
Floats = NDArray[np.float64]
Told = Callable[[str], AbstractContextManager[Any]]

SOURCE_SIGMA: Final = 2.5
STAR_FWHM_ARCSEC: Final = 0.176
_FILTER_ARCSEC: Final = 0.44
_ROUGH_ROWS: Final = 4
"""One row in so many tells the first background: it is only to show where sources are."""
_BLANK_PIXELS: Final = 2048
"""Edge of the middle of an image whose blank pixels tell how noise goes together."""


class Evened(Protocol):
    """Makes stars at x, y of a flux look as the PSF says that is fitted to all of them.

    The first ``fitted`` of flux, x and y come from a fit with that PSF, the others are true. ``first`` is the
    pixel (x, y) of the whole image that the first of ``image`` is.
    """

    def __call__(
        self,
        image: Plane,
        x: Floats,
        y: Floats,
        flux: Floats,
        *,
        first: tuple[int, int] = (0, 0),
        fitted: int = 3,
    ) -> Plane: ...


@dataclass(frozen=True)
class Picture:
    """Planes (ny, nx) of an image: light (U), variances (U²), flags, nJy per U, and its coordinates.

    ``depth`` is how many times the typical variance pixels have for how many images they are of, None where
    all are of as many. ``ray_light`` is what a cosmic ray leaves in the pixels beside its own.
    ``shares_noise``: pixels were made of the same ones, as a mosaic's are; those of a detector know nothing
    of each other but for IPC.
    """

    rate: Plane
    var_poisson: Plane
    var_rnoise: Plane
    dq: NDArray[np.uint32]
    to_njy: Plane
    wcs: Any
    scale_arcsec: float
    ray_light: float = 0.0
    shares_noise: bool = False
    depth: Plane | None = None

    def cut(self, index: tuple[slice, slice]) -> "Picture":
        """Return the pixels that ``index`` picks (rows, columns); the coordinates stay the whole image's."""
        names = ("rate", "var_poisson", "var_rnoise", "dq", "to_njy")
        planes: dict[str, Any] = {name: getattr(self, name)[index] for name in names}
        return replace(self, **planes, depth=None if self.depth is None else self.depth[index])

    @cached_property
    def unusable(self) -> NDArray[np.bool_]:
        flagged: NDArray[np.bool_] = (self.dq & np.uint32(DQ.DO_NOT_USE)) != 0
        return flagged | ~np.isfinite(self.rate)

    @property
    def beside_jumps(self) -> NDArray[np.bool_]:
        """The pixels next to one with a jump, themselves without: where no source is to be looked for.

        They show half a per cent of the cosmic ray beside them (IPC): too little for a jump, enough for a
        source.
        """
        hit: NDArray[np.bool_] = (self.dq & np.uint32(DQ.JUMP_DET)) != 0
        grown: NDArray[np.bool_] = binary_dilation(hit) if hit.any() else hit
        return grown & ~hit


@dataclass(frozen=True)
class Sky:
    """The image without its background (U), the background, its variance, and the noise curve.

    ``covered`` are the pixels that sources were seen to cover; ``correlation`` is that of the others' noise.
    """

    image: Plane
    background: Plane
    variance: Plane
    extra_variance: Plane
    noise: fit.NoiseCurve
    covered: NDArray[np.bool_]
    correlation: correlation.Correlation


@dataclass(frozen=True)
class Measurement:
    """A catalogue's table and all that it was made of; ``labels`` (ny, nx) are the table's, 0 for none.

    ``skies`` are those that sources were found in and measured over; ``stamp``, ``between``, ``rule``,
    ``star`` and ``kron`` are what detection, deblending, shapes and Kron's correction took from the image
    as a whole.
    """

    table: Table
    found: detect.Detections
    skies: tuple[Sky, Sky]
    fits: fit.PsfFits
    measured: columns.Measured
    stamp: Plane
    between: Between
    rule: Rule
    star: shapes.Star
    kron: kron_total.KronTotal

    @property
    def labels(self) -> NDArray[np.uint32]:
        return self.found.labels.astype(np.uint32)


def matched_filter(picture: Picture, psf: PsfGrid) -> Plane:
    """Return the stamp of a star in the middle of ``picture``, small enough for a filter."""
    middle = (picture.rate.shape[0] - 1) // 2
    return psf.stamp(middle, middle, radius=round(_FILTER_ARCSEC / picture.scale_arcsec)).astype(np.float32)


def stars_between(psf: PsfGrid, stamp: Plane) -> Between:
    """Return what stars show between pixels of a map made with ``stamp``."""
    x, y = round(float(np.mean(psf.xs))), round(float(np.mean(psf.ys)))
    return between(lambda dx, dy, radius: psf.stamp(x + dx, y + dy, radius=radius), stamp)


def measure(
    picture: Picture, psf: PsfGrid, told: Told, *, threads: int, evened: Evened | None = None
) -> Measurement:
    """Return the sources of ``picture`` with what was found on the way; ``told`` times a step by its name.

    ``evened`` as in ``fitted``.
    """
    unusable, stamp = picture.unusable, matched_filter(picture, psf)
    with told("background"):
        sky = sky_behind(picture, unusable, stamp)
    with told("detection"):
        rule, inside = _rule(sky, stamp), stars_between(psf, stamp)
        found = detected(picture, sky, stamp, rule=rule, inside=inside)
    with told("psf_photometry"):
        x, y = found.x.astype(np.float64), found.y.astype(np.float64)
        better, fits = fitted(picture, sky, unusable, psf, x=x, y=y, evened=evened, threads=threads)
    with told("source_catalog"):
        star = whole_star(psf)
        kron = kron_total.learnt(star.light, stamp)
        every = with_probabilities(
            measured(picture, better, found, fits, psf=psf, star=star, kron=kron, threads=threads), psf
        )
        table = table_of(every, psf)
    return Measurement(table, found, (sky, better), fits, every, stamp, inside, rule, star, kron)


def detected(picture: Picture, sky: Sky, stamp: Plane, *, rule: Rule, inside: Between) -> detect.Detections:
    """Return what stands out of ``sky``."""
    usable = ~(picture.unusable | picture.beside_jumps)
    filtered = significance(sky.image, sky.variance, usable, stamp)
    filtered /= np.float32(np.sqrt(sky.correlation.over_weights(stamp.astype(np.float64))))
    return detect.detect(filtered, rule=rule, between=inside)


def _rule(sky: Sky, stamp: Plane) -> Rule:
    """Return the rule of deblending for photons that make a bright peak as noisy as they do here."""
    return rule_for(photon_slope(sky.noise), float(np.median(sky.variance[::16, ::16])), stamp)


def rule_for(slope: float, behind: float, stamp: Plane) -> Rule:
    """Return the rule of deblending for a sky of variance ``behind`` that grows with light by ``slope``."""
    peak = float(np.max(stamp)) / float(np.sqrt(np.sum(np.square(stamp, dtype=np.float64))))
    return replace(detect.DEBLENDING, photons=slope * peak / np.sqrt(behind))


def photon_slope(noise: fit.NoiseCurve) -> float:
    """Return by how much variance (U²) grows with light (U), never less than 0."""
    level, variance = noise.level, noise.variance
    return max(float(variance[-1] - variance[0]) / max(float(level[-1] - level[0]), 1e-30), 0.0)


def sky_behind(picture: Picture, unusable: NDArray[np.bool_], stamp: Plane) -> Sky:
    """Estimate the background twice: the second time without the sources seen in the first."""
    rate, depth = picture.rate, picture.depth
    own = planes.typical(picture.var_poisson, picture.var_rnoise, depth)
    curve = fit.NoiseCurve(*background.noise_curve(rate, own, unusable))
    first = background.estimate(rate, unusable, every=_ROUGH_ROWS)
    variance = curve.of_plane(first)
    if depth is not None:
        variance *= depth
    # Deep lows go with the peaks: were only noise of one sign left out, the sky would come out too dark.
    filtered = significance(rate - first, variance, ~unusable, stamp)
    hidden = covered(filtered, ~unusable, SOURCE_SIGMA)
    second = background.estimate(rate, unusable, sources=hidden)
    image, behind, extra = rate - second, curve.of_plane(second), _extra_variance(picture, curve)
    planes.add_both(behind, extra, depth)
    shared = correlation.independent()
    if picture.shares_noise:
        shared = correlation_of(image, behind, ~(unusable | hidden))
    return Sky(image, second, behind, extra, curve, hidden, shared)


def correlation_of(image: Plane, variance: Plane, blank: NDArray[np.bool_]) -> correlation.Correlation:
    """Return how the noise of the ``blank`` pixels in the middle of an image goes together."""
    ny, nx = (max((size - _BLANK_PIXELS) // 2, 0) for size in image.shape)
    middle = (slice(ny, image.shape[0] - ny), slice(nx, image.shape[1] - nx))
    noise = image[middle] / np.sqrt(variance[middle])
    return correlation.measured(noise.astype(np.float32), blank[middle])


def fitted(
    picture: Picture,
    sky: Sky,
    unusable: NDArray[np.bool_],
    psf: PsfGrid,
    *,
    x: Floats,
    y: Floats,
    free: bool = True,
    evened: Evened | None = None,
    threads: int = 2,
) -> tuple[Sky, fit.PsfFits]:
    """Return PSF fits near ``x``, ``y`` (at them unless ``free``), and the sky behind the stars' wings.

    Wings reach beyond any mask: the sky is estimated again once they are taken off. Where each place has a
    PSF of its own and ``psf`` is their mean, ``evened`` takes off what stars have beside it.
    """
    least = fit.faintest_light(sky.noise, sky.background)
    task = fit.Task(sky.background, sky.extra_variance, ~unusable, psf, sky.noise, least, free, threads)
    first, starless = fit.fit_and_take_off(sky.image, task, x, y, passes=2)
    starless += sky.background
    if evened is not None:
        light = np.where(first.converged, first.flux, 0.0)
        whole = evened(picture.rate, first.x, first.y, light, fitted=3 if free else 1)
        starless += whole - picture.rate
    behind = background.estimate(starless, unusable, sources=sky.covered)
    starless -= behind
    better = replace(sky, image=picture.rate - behind, background=behind)
    least = fit.faintest_light(sky.noise, behind)
    return better, fit.fit_again(starless, replace(task, background=behind, least=least), first)


def _extra_variance(picture: Picture, noise: fit.NoiseCurve) -> Plane:
    """Return what pixels hit by a cosmic ray have beyond the curve, and those beside them.

    The first have fewer resultants left; the others show a little of a charge that nobody measured, which
    would make faint stars too bright by 0.2 % in the mean.
    """
    hit = (picture.dq & np.uint32(DQ.JUMP_DET)) != 0
    extra = np.zeros(picture.rate.shape, dtype=np.float32)
    if hit.any():
        own = picture.var_poisson[hit] + picture.var_rnoise[hit]
        expected = np.interp(picture.rate[hit], noise.level, noise.variance)
        extra[hit] = np.maximum(own - expected, 0)
        extra[picture.beside_jumps] = picture.ray_light**2
    return extra


def field_of(picture: Picture, sky: Sky, labels: NDArray[np.int32]) -> sources.Field:
    """Return the image in nJy, its variance pixel by pixel, and how its noise goes together."""
    unusable = picture.unusable
    image = sky.image * picture.to_njy
    image[unusable] = 0
    return sources.Field(
        image,
        variance_of(picture, sky),
        unusable,
        labels,
        sky.correlation,
    )


def variance_of(picture: Picture, sky: Sky) -> Plane:
    """Return the variance of each pixel, its own light's and all (nJy²)."""
    return planes.variance(picture.rate, sky.noise.write, sky.extra_variance, picture.to_njy)


def measured(
    picture: Picture,
    sky: Sky,
    found: detect.Detections,
    fits: fit.PsfFits,
    *,
    psf: PsfGrid,
    star: shapes.Star,
    kron: kron_total.KronTotal,
    threads: int = 2,
) -> columns.Measured:
    """Return what is measured of the sources that have ``fits``: the first ones of ``found``.

    Only their probability of being stars is left open: it depends on all sources of an image.
    """
    field, scale, n = field_of(picture, sky, found.labels), picture.scale_arcsec, len(fits.x)
    inner, outer = (radius / scale for radius in columns.RING_ARCSEC)
    segments = joining.chosen(sources.segments(field, found.x, found.y), slice(n))
    extents = sources.extents(field, segments, threads=threads)
    return columns.Measured(
        segments=segments,
        extents=extents,
        kron_total=kron.factor(extents, segments),
        shapes=shapes_of(field, segments, star, scale_arcsec=scale, threads=threads),
        star_probability=np.full(n, np.nan),
        circles=sources.circles(
            field,
            fits.x,
            fits.y,
            radii=[radius / scale for radius in columns.RADII_ARCSEC],
            ring=(inner, outer),
            threads=threads,
        ),
        sharpness=sources.sharp_and_round(field, fits.x, fits.y, fwhm=STAR_FWHM_ARCSEC / scale),
        stars=in_njy(fits, picture.to_njy, error_factor=shared_error(field.correlation, psf)),
        image_flags=columns.flags_near(picture.dq, fits.x, fits.y),
        wcs=picture.wcs,
        scale_arcsec=scale,
    )


def with_probabilities(every: columns.Measured, psf: PsfGrid) -> columns.Measured:
    """Return the sources of an image with their probabilities of being stars."""
    stars = every.stars
    chance = star_probability.of_fits(stars.extent, stars.extent_err, stars.flux, core=core(psf))
    return replace(every, star_probability=chance)


def table_of(every: columns.Measured, psf: PsfGrid) -> Table:
    """Return the catalogue's table."""
    return columns.table(every, star_ratio=star_ratio(psf, every.scale_arcsec))


def shapes_of(
    field: sources.Field, segments: sources.Segments, star: shapes.Star, *, scale_arcsec: float, threads: int
) -> shapes.Shapes:
    """Return shapes on pixels finer than the detector's, none on those: they are too coarse for its PSF."""
    if scale_arcsec < PIXEL_SCALE_ARCSEC:
        return shapes.shapes(field, segments, star, threads=threads)
    return shapes.none(len(segments.x))


def shared_error(shared: correlation.Correlation, psf: PsfGrid) -> float:
    """Return what noise that pixels share makes of the error of a PSF fit."""
    x, y = round(float(np.mean(psf.xs))), round(float(np.mean(psf.ys)))
    stamp = psf.stamp(x, y, radius=window_radius(psf.oversample))
    return float(np.sqrt(shared.over_weights(stamp)))


def in_njy(fits: fit.PsfFits, to_njy: Plane, *, error_factor: float = 1.0) -> columns.Stars:
    """Return the fits in nJy, each with the factor of its pixel, the errors times ``error_factor``."""
    rows = np.clip(np.rint(fits.y).astype(int), 0, to_njy.shape[0] - 1)
    cols = np.clip(np.rint(fits.x).astype(int), 0, to_njy.shape[1] - 1)
    local = to_njy[rows, cols].astype(np.float64)
    return columns.Stars(
        flux=fits.flux * local,
        flux_err=fits.flux_err * local * error_factor,
        x=fits.x,
        y=fits.y,
        x_err=fits.x_err * error_factor,
        y_err=fits.y_err * error_factor,
        goodness=fits.chi2,
        extent=fits.extent,
        extent_err=fits.extent_err * error_factor,
        converged=fits.converged,
    )


def whole_star(psf: PsfGrid) -> shapes.Star:
    """Return a star in the middle of the grid as far out as the ePSF goes."""
    x, y = round(float(np.mean(psf.xs))), round(float(np.mean(psf.ys)))
    return shapes.Star(psf.stamp(x, y, radius=psf.radius - 1).astype(np.float32))


def core(psf: PsfGrid) -> float:
    """Return the variance (pixels²) of the Gaussian that is as sharp as the PSF."""
    x, y = round(float(np.mean(psf.xs))), round(float(np.mean(psf.ys)))
    stamp = psf.stamp(x, y, radius=window_radius(psf.oversample))
    # The sum of squares of a Gaussian of unit light is 1 / (4 π σ²).
    return float(stamp.sum() ** 2 / (4 * np.pi * (stamp**2).sum()))


def star_ratio(psf: PsfGrid, scale_arcsec: float) -> float:
    """Return a star's light within 0.4″ over that within 0.2″."""
    radius = round(1.1 / scale_arcsec)
    stamp = psf.stamp(round(float(np.mean(psf.xs))), round(float(np.mean(psf.ys))), radius=radius)
    small, large = (sources.circle_share(stamp, each / scale_arcsec) for each in (0.2, 0.4))
    return large / small
