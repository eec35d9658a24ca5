"""The image that sources of several filters are found in: their mean, weighted by inverse variance.

A weighted mean, and not a chi-square of the filters: its noise is Gaussian, so that a threshold means what it
means in one filter (completeness Φ(S/N - threshold), false sources as in pure noise), and lows do not count
as light. It is the best there is for sources of a level spectrum; one seen in a single of n equally deep
filters shows 1/√n of its significance there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.measure import detect, sources
from nexus_pipeline.measure.matched_filter import covered, significance
from nexus_pipeline.psf.grid import PsfGrid
from nexus_pipeline.recipes import measuring
from nexus_pipeline.recipes.band_photometry import Band, Seen

Plane = NDArray[np.float32]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Mean:
    """Planes of the mean of all filters: light (nJy), variance of the sky, variance with the light's own."""

    image: Plane
    behind: Plane
    variance: Plane


def detection_of(bands: Sequence[Band]) -> tuple[Seen, detect.Detections]:
    """Return the detection image of ``bands`` as a field with its labels, and the sources in it."""
    unusable = np.all([band.unusable for band in bands], axis=0)
    weights = np.array([_typical_weight(band) for band in bands])
    psf = _mixed([band.psf for band in bands], weights)
    picture = bands[-1].picture
    stamp = measuring.matched_filter(picture, psf)
    mean = _mean(bands)
    usable = ~unusable
    for band in bands:
        usable &= ~band.picture.beside_jumps
    filtered = significance(mean.image, mean.behind, usable, stamp)
    hidden = covered(filtered, usable, measuring.SOURCE_SIGMA)
    shared = measuring.correlation_of(mean.image, mean.behind, ~(unusable | hidden))
    filtered /= np.float32(np.sqrt(shared.over_weights(stamp.astype(np.float64))))
    behind = float(np.median(mean.behind[::16, ::16][usable[::16, ::16]]))
    rule = measuring.rule_for(_photons(bands, weights), behind, stamp)
    found = detect.detect(filtered, rule=rule, between=measuring.stars_between(psf, stamp))
    field = sources.Field(mean.image, mean.variance, unusable, found.labels, shared)
    return Seen(field, psf, stamp), found


def _mean(bands: Sequence[Band]) -> _Mean:
    shape = bands[0].picture.rate.shape
    total, light, own = (np.zeros(shape, np.float32) for _ in range(3))
    for band in bands:
        scale = band.picture.to_njy
        behind = band.sky.variance * scale**2
        good = ~band.unusable & (behind > 0)
        weight = np.divide(np.float32(1), behind, out=np.zeros(shape, np.float32), where=good)
        total += weight
        light += weight * np.where(good, band.sky.image * scale, np.float32(0))
        own += weight**2 * measuring.variance_of(band.picture, band.sky)
    seen = total > 0
    inverse = np.divide(np.float32(1), total, out=np.zeros(shape, np.float32), where=seen)
    return _Mean(light * inverse, np.where(seen, inverse, np.float32(1)), own * inverse**2)


def _typical_weight(band: Band) -> float:
    """Return the inverse variance (nJy^-2) of a pixel of the sky."""
    thin = (slice(None, None, 16),) * 2
    behind = (band.sky.variance[thin] * band.picture.to_njy[thin] ** 2)[~band.unusable[thin]]
    return float(1 / np.median(behind)) if behind.size else 0.0


def _mixed(psfs: Sequence[PsfGrid], weights: Floats) -> PsfGrid:
    """Return the PSF of a source of a level spectrum in the mean of the filters."""
    size = min(psf.coefficients.shape[1] for psf in psfs)
    total = np.zeros((1, size, size))
    for psf, weight in zip(psfs, weights / weights.sum(), strict=True):
        cut = (psf.coefficients.shape[1] - size) // 2
        inside = slice(cut, cut + size)
        total += weight * psf.coefficients[:1, inside, inside]
    return replace(psfs[-1], coefficients=total.astype(np.float32))


def _photons(bands: Sequence[Band], weights: Floats) -> float:
    """Return by how much the variance of the mean (nJy²) grows with its light (nJy)."""
    slopes = [
        measuring.photon_slope(band.sky.noise) * float(np.median(band.picture.to_njy[::64, ::64]))
        for band in bands
    ]
    return float((weights**2 * slopes).sum() / weights.sum() ** 2)
