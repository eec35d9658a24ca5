"""From the light in Kron's ellipse to all of a source's light.

An ellipse of 2.5 first moments leaves out what lies beyond, and more of it the more of a source the noise
hides. How much is learnt from galaxies drawn with the image's own PSF and no noise, cut at the same level
over the noise and measured by the same code: a polynomial in what the measurement itself shows of a source.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations_with_replacement, product
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, rfft2
from scipy.optimize import nnls
from scipy.special import gammainc, gammaincinv

from nexus_pipeline.measure import correlation, segment_kernels, sources
from nexus_pipeline.measure.islands import islands, paint

Plane = NDArray[np.float32]
Floats = NDArray[np.float64]

_SIZE: Final = 192
_INDICES: Final = (0.5, 1.0, 1.5, 2.5, 4.0)
_RADII: Final = (0.5, 1.0, 1.7, 2.8, 4.5)
"""Half-light radii of the galaxies drawn, in those of the PSF."""
_AXIS_RATIOS: Final = (1.0, 0.5)
_DEPTHS: Final = (12.0, 25.0, 60.0, 200.0, 1000.0, 8000.0)
"""Significance of their peaks in the matched filter."""
_FLOOR_SIGMA: Final = 3.0
_GAUSSIANS: Final = np.geomspace(0.02, 12, 16)
_DEGREE: Final = 3
_MOST: Final = 0.7
"""In ln(total / Kron): beyond a factor of two nothing is claimed."""


@dataclass(frozen=True)
class KronTotal:
    """Coefficients of ln(total / Kron) and the range (4, 2) of what it was learnt on."""

    coefficients: Floats
    low: Floats
    high: Floats

    def factor(self, extents: sources.Extents, segments: sources.Segments) -> Floats:
        """Return what the Kron flux of each source is to be multiplied by; NaN without one."""
        shown = _shown(extents, segments)
        terms = _terms(np.clip(shown, self.low, self.high))
        return np.exp(np.clip(terms @ self.coefficients, 0, _MOST))


def learnt(stamp: Plane, kernel: Plane) -> KronTotal:
    """Return the correction for an image whose stars look like ``stamp`` (odd, square).

    ``kernel`` is the matched filter's.
    """
    psf, norm = _modes(stamp), np.sqrt(np.sum(kernel.astype(np.float64) ** 2))
    filtered, own = np.conj(_modes(kernel)) / norm, _half_light(stamp)
    found = []
    for profile in _profiles(own):
        modes = psf * profile
        found.append(_measured(irfft2(modes), irfft2(modes * filtered)))
    seen, wanted = (np.concatenate(each) for each in zip(*found, strict=True))
    coefficients = np.linalg.lstsq(_terms(seen), wanted, rcond=None)[0]
    return KronTotal(coefficients, seen.min(axis=0), seen.max(axis=0))


def _profiles(own: float) -> Iterator[Floats]:
    """Yield the modes of a star, and of galaxies of all kinds beside a PSF of half-light radius ``own``."""
    yield _profile(_gaussians(_INDICES[0]), 0.0, 1.0)
    for index, ratio, axis_ratio in product(_INDICES, _RADII, _AXIS_RATIOS):
        yield _profile(_gaussians(index), ratio * own, axis_ratio)


def _measured(light: Floats, filtered_light: Floats) -> tuple[Floats, Floats]:
    """Return (n, 4) what is shown of a galaxy of unit flux in the middle at depths, and ln(total / Kron)."""
    image, nothing = light.astype(np.float32), np.zeros(light.shape, np.bool_)
    silence, at = np.zeros_like(image), np.array([_SIZE // 2])
    filtered_light = filtered_light / np.max(filtered_light)
    sums, box = np.zeros((len(_DEPTHS), len(segment_kernels.SUMS))), np.empty((len(_DEPTHS), 4), np.int32)
    for k, depth in enumerate(_DEPTHS):
        labels = _middle_island((depth * filtered_light).astype(np.float32))
        segment_kernels.sums(image, silence, nothing, labels, at, at, sums[k : k + 1], box[k : k + 1])
    there = sums[:, 0] > 0
    at = np.repeat(at, np.count_nonzero(there))
    alone = correlation.independent()
    segments = sources.segments_of(sums[there], box[there], at, at, shared=alone)
    # No other sources: whose the pixels are does not matter to extents.
    field = sources.Field(image, silence, nothing, np.zeros(image.shape, np.int32), alone)
    extents = sources.extents(field, segments, threads=1)
    good = (extents.flux > 0) & np.isfinite(extents.half_light)
    return _shown(extents, segments)[good], -np.log(extents.flux[good])


def _middle_island(significance: Plane) -> NDArray[np.int32]:
    """Return 1 where pixels stand out together with the middle one, 0 elsewhere."""
    middle = _SIZE // 2
    found, labels = islands(significance, _FLOOR_SIGMA), np.zeros(significance.shape, np.int32)
    mine = found.island[(found.row == middle) & (found.first <= middle) & (found.last >= middle)]
    if mine.size:
        paint(labels, found.row, found.first, found.last, (found.island == mine[0]).astype(np.int32))
    return labels


def _shown(extents: sources.Extents, segments: sources.Segments) -> Floats:
    """Return (n, 4): ln of half-light radius, and over it of Kron's, the segment's, and a fifth's radius."""
    major, minor = segments.semiaxes
    kron = extents.radius * np.sqrt(major * minor)
    reach, half = np.sqrt(segments.area / np.pi), extents.half_light
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(np.column_stack([half, kron / half, reach / half, extents.inner / half]))


def _terms(shown: Floats) -> Floats:
    columns = np.column_stack([np.ones(len(shown)), shown]).T
    products = combinations_with_replacement(columns, _DEGREE)
    return np.column_stack([np.prod(each, axis=0) for each in products])


def _modes(stamp: Plane) -> NDArray[np.complex128]:
    """Return rfft2 of a ``stamp`` about the origin."""
    half = min(stamp.shape[0] // 2, _SIZE // 2 - 1)
    middle = stamp.shape[0] // 2
    field = np.zeros((_SIZE, _SIZE))
    field[: 2 * half + 1, : 2 * half + 1] = stamp[
        middle - half : middle + half + 1, middle - half : middle + half + 1
    ]
    return np.asarray(rfft2(np.roll(field, (-half, -half), axis=(0, 1))), dtype=np.complex128)


def _half_light(stamp: Plane) -> float:
    """Return the radius of the circle with half of a star's light, from its pixels."""
    middle = stamp.shape[0] // 2
    y, x = np.mgrid[-middle : middle + 1, -middle : middle + 1]
    order = np.argsort(np.hypot(x, y), axis=None)
    growth = np.cumsum(stamp.ravel()[order]) / stamp.sum()
    return float(np.hypot(x, y).ravel()[order][np.searchsorted(growth, 0.5)])


@cache
def _gaussians(index: float) -> Floats:
    """Return how much of a Sérsic profile's light (unit half-light radius) each of the Gaussians has."""
    b = float(gammaincinv(2 * index, 0.5))
    r = np.geomspace(0.005, 20, 200)
    inside = gammainc(2 * index, b * r ** (1 / index))
    growth = 1 - np.exp(-0.5 * (r[:, None] / _GAUSSIANS) ** 2)
    weights, _ = nnls(growth, np.asarray(inside, dtype=np.float64), maxiter=2000)
    return np.asarray(weights, dtype=np.float64)


def _profile(weights: Floats, radius: float, axis_ratio: float) -> Floats:
    """Return the modes of the profile in the middle of the field, its larger axis along x."""
    ky, kx = 2 * np.pi * np.fft.fftfreq(_SIZE), 2 * np.pi * np.fft.rfftfreq(_SIZE)
    along, across = (
        np.exp(-0.5 * (wave * radius * _GAUSSIANS[:, None]) ** 2 * stretch)
        for wave, stretch in ((kx, 1 / axis_ratio), (ky, axis_ratio))
    )
    # Every second mode has the other sign: the profile is in the middle and not about the origin.
    along[:, 1::2] *= -1
    across[:, 1::2] *= -1
    return np.asarray((across * weights[:, None]).T @ along, dtype=np.float64)
