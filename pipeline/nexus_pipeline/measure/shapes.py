"""Shapes of galaxies as they would be without the PSF: adaptive moments behind a round Gaussian.

Takes a field (``sources``) and a star's stamp; leaves ellipticities g = (a - b) / (a + b) along the pixels' x
axis and at 45° from it towards y, whose mean over galaxies of all directions is the shear. As Hirata & Seljak
(2003, MNRAS 343, 459) do, the image is made one that a Gaussian PSF would have made; here by the ratio of
the modes, a little wider than the PSF so that no noise is blown up, and round. Adaptive moments are then
freed of the Gaussian as Bernstein & Jarvis (2002, AJ 123, 583, appendix C) say for a galaxy more or less
pointed than one itself.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, rfft2

from nexus_pipeline.bands import share_out
from nexus_pipeline.measure import extent_kernels, shape_kernels
from nexus_pipeline.measure.sources import Field, Segments

Plane = NDArray[np.float32]
Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]

LEAST_SIGNAL: Final = 10.0
"""Signal over noise of a segment's light below which no shape is told."""
LEAST_RESOLUTION: Final = 0.1
"""Share of a galaxy's size that is not the PSF's, below which nothing is left of its shape."""
_SIZES: Final = (48, 96, 192)
"""Pixels along the edge of stamps."""
_ROOM: Final = 5.0
"""Semi-axes (σ of the segment's light) between the middle of a stamp and its edge."""
_LOT: Final = 128
_WIDER: Final = np.arange(1.0, 3.0, 0.05)
_MOST_GAIN: Final = 1.3
"""How much a mode, and its noise, may grow when the PSF becomes a Gaussian."""
_LEAST_MODE: Final = 1e-3
_POINTED_AND_LONG: Final = (0.075, 0.080)
"""What Bernstein & Jarvis leave of a distortion e: e (1 + p / R² (a e² + b e⁴)), p how pointed it is.

R is its resolution. Fitted to Sérsic profiles of index 0.5 to 5 behind round Gaussians, to 0.4 %.
"""
_MOST_POINTED: Final = 1.5
_WEIGHTS: Final = np.geomspace(1.0, 100.0, 12)
"""Variances of weights for which noise is followed through."""


@dataclass(frozen=True)
class Shapes:
    """One entry each source (n,), NaN if none: ellipticity, its error along either axis, resolution."""

    g1: Floats
    g2: Floats
    err: Floats
    resolution: Floats


@dataclass(frozen=True)
class _Rounding:
    """Modes that make a round Gaussian of ``variance`` (pixels², along an axis) of a star on a stamp.

    ``gain`` is what they do to the noise of a shape in each of ``_WEIGHTS``.
    """

    variance: float
    modes: Complexes
    gain: Floats


@dataclass(frozen=True)
class Star:
    """What a star looks like in an image, ``light`` (odd, square); made round for each size of stamp once."""

    light: Plane
    _made: dict[int, _Rounding] = field(default_factory=dict, init=False, repr=False, compare=False)

    def rounding(self, size: int) -> _Rounding:
        if size not in self._made:
            self._made[size] = _rounding(self.light, size)
        return self._made[size]


def shapes(field: Field, found: Segments, star: Star, *, threads: int = 2) -> Shapes:
    """Return the shapes of labels 1…n."""
    out = np.full((len(found.x), 4), np.nan)
    major = found.semiaxes[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        wanted = (found.flux / found.flux_err >= LEAST_SIGNAL) & np.isfinite(found.x + found.y + major)
    for size in _SIZES:
        fits = wanted & (_ROOM * major <= size / 2)
        wanted &= ~fits
        chosen = np.flatnonzero(fits)
        if chosen.size:
            lots = np.array_split(chosen, -(-chosen.size // _LOT))
            work = partial(_measure, field, found, star=star.rounding(size), out=out)
            share_out(work, lots, threads=threads)
    spread = float(np.sqrt(field.correlation.over_weights(star.light.astype(np.float64))))
    return Shapes(out[:, 0], out[:, 1], out[:, 2] * spread, out[:, 3])


def none(n: int) -> Shapes:
    """Return the shapes of ``n`` sources of which nobody knows them."""
    return Shapes(*np.full((4, n), np.nan))


def _rounding(star: Plane, size: int) -> _Rounding:
    half = min(star.shape[0] // 2, size // 2 - 1)
    middle = star.shape[0] // 2
    stamp = np.zeros((size, size))
    stamp[size // 2 - half : size // 2 + half + 1, size // 2 - half : size // 2 + half + 1] = star[
        middle - half : middle + half + 1, middle - half : middle + half + 1
    ]
    modes = np.asarray(rfft2(np.roll(stamp / stamp.sum(), (-size // 2, -size // 2), axis=(0, 1))))
    seen = _adapted(stamp[None].astype(np.float32), np.array([[0.0, 0.0, 2.0, 0.0, 2.0]]))[0]
    power = np.maximum(np.abs(modes) ** 2, _LEAST_MODE**2)
    for wider in _WIDER:
        variance = float(wider * np.sqrt(seen[2] * seen[4] - seen[3] ** 2))
        ratio = _gaussian(variance, size) * np.conj(modes) / power
        if np.abs(ratio).max() < _MOST_GAIN:
            break
    return _Rounding(variance, ratio, _gain(ratio, size))


def _gain(ratio: Complexes, size: int) -> Floats:
    """Return the factor on the noise of the moment x² - y² in a Gaussian weight, for ``_WEIGHTS``."""
    ky, kx = 2 * np.pi * np.fft.fftfreq(size)[:, None], 2 * np.pi * np.fft.rfftfreq(size)[None, :]
    power = [((kx**2 - ky**2) * _gaussian(variance, size)) ** 2 for variance in _WEIGHTS]
    return np.sqrt([float(np.sum(each * np.abs(ratio) ** 2) / np.sum(each)) for each in power])


def _adapted(light: Plane, start: Floats) -> Floats:
    out = np.empty((len(light), 7))
    shape_kernels.adapted(light, start, out)
    return out


def _gaussian(variance: float, size: int) -> Floats:
    """Return the modes (size, size // 2 + 1) of a round Gaussian of unit light about the origin."""
    ky, kx = 2 * np.pi * np.fft.fftfreq(size)[:, None], 2 * np.pi * np.fft.rfftfreq(size)[None, :]
    return np.asarray(np.exp(-0.5 * variance * (kx**2 + ky**2)), dtype=np.float64)


def _measure(field: Field, found: Segments, lot: NDArray[np.int64], *, star: _Rounding, out: Floats) -> None:
    """Write g1, g2, error and resolution of the sources ``lot`` into ``out``."""
    size = len(star.modes)
    stamps = np.empty((len(lot), 2, size, size), np.float32)
    extent_kernels.stamps(
        field.image, field.variance, field.unusable, field.labels,
        (lot + 1).astype(np.int32), found.x[lot], found.y[lot], stamps,
    )  # fmt: skip
    offsets = [at[lot] - np.floor(at[lot] + 0.5) for at in (found.x, found.y)]
    start = np.column_stack([*offsets, found.xx[lot], found.xy[lot], found.yy[lot]])
    light = irfft2(rfft2(stamps[:, 0]) * star.modes.astype(np.complex64), s=(size, size))
    seen = _adapted(np.asarray(light, dtype=np.float32), start)
    noise = np.empty((len(lot), 2))
    shape_kernels.noise_of(stamps[:, 1], seen, noise)
    noise *= np.interp(0.5 * (seen[:, 2] + seen[:, 4]), _WEIGHTS, star.gain)[:, None] ** 2
    out[lot] = _corrected(seen, star.variance, noise)


def _corrected(seen: Floats, psf: float, noise: Floats) -> Floats:
    """Return g1, g2, error, resolution of galaxies ``seen`` (see ``adapted``) behind a round Gaussian PSF."""
    xx, xy, yy = seen[:, 2:5].T
    pointed = 0.5 * seen[:, 6] - 1
    with np.errstate(invalid="ignore", divide="ignore"):
        distortion = (xx - yy + 2j * xy) / (xx + yy)
        resolution = 1 - 2 * psf / (xx + yy) * (1 + pointed) / (1 - pointed)
        true = distortion / resolution
        good = (resolution > LEAST_RESOLUTION) & (np.abs(true) < 1)
        longer = np.abs(true) ** 2
        pull = np.clip(pointed / resolution**2, 0, _MOST_POINTED)
        true *= 1 - pull * (_POINTED_AND_LONG[0] * longer + _POINTED_AND_LONG[1] * longer**2)
        true = np.where(good, true, np.nan)
        g = true / (1 + np.sqrt(1 - np.abs(true) ** 2))
        # Adaptive weights double what noise does to a moment; half of a distortion is g.
        error = np.sqrt(noise.mean(axis=1)) / (seen[:, 5] * 0.5 * (xx + yy)) / resolution
    return np.column_stack([g.real, g.imag, np.where(good, error, np.nan), resolution])
