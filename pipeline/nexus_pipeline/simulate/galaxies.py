"""Sérsic galaxies on a detector, drawn in Fourier space with the ePSF of their place.

Takes sources with their pixel positions; adds their light to an image. GalSim gives the profiles' transforms
at Sérsic indices 0.05 apart, once each; the ePSF's are made once per stamp size at each of its grid points.
Both are blended for each galaxy. What lies outside a stamp comes back in on its other side, so that no light
is lost; ``outside`` tells how much that is.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

import galsim
import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import correlate1d
from scipy.special import gammainc, gammaincinv

from nexus_pipeline.psf.grid import PsfGrid
from nexus_pipeline.psf.kernels import corners_at
from nexus_pipeline.simulate.galaxy_kernels import TABLE_END, add_stamps, fill_spectra

Floats = NDArray[np.float64]
Put = Callable[[NDArray[np.int64], NDArray[np.float32]], None]
"""Takes which galaxies were drawn, and their stamps."""

INDEX_STEP: Final = 0.05
STAMP_SIZES: Final = (64, 96, 128, 160, 192, 256, 320, 384, 512, 640, 768, 1024, 1536)
_PSF_ROOM: Final = 16
"""Pixels a stamp has beyond the profile's own for the PSF to spread into, on each side."""
_DETAIL_SIZE: Final = 192
"""Larger stamps hold a blurred galaxy only; what the blur takes away fits one of this size."""
_BLUR_PIXELS: Final = 4.0
_BATCH_PIXELS: Final = 1 << 21
_MOST_STAMPS: Final = 128
_INDEX_RANGE: Final = (0.3, 6.2)
_TABLE_NODES: Final = 8192
_NEGLIGIBLE_POWER: Final = 3e-4
_NEGLIGIBLE_MODE: Final = 1e-5


@dataclass(frozen=True)
class Galaxies:
    """Galaxies in pixels: position, flux, index, and the map (n, 2, 2) from the unit half-light circle."""

    x: Floats
    y: Floats
    flux: Floats
    sersic_n: Floats
    shape: Floats

    def __len__(self) -> int:
        return len(self.x)


class _Psfs(NamedTuple):
    """PSFs' modes (n_psfs, n_rows, n_columns) on a stamp, the rows' numbers and how far each row matters."""

    modes: NDArray[np.complex64]
    rows: NDArray[np.int64]
    reach: NDArray[np.int64]


class _Part(NamedTuple):
    """What of a galaxy's light is drawn: so much of the whole, so much of what a blur leaves of it."""

    whole: float
    blurred: float


_ALL: Final = _Part(1.0, 0.0)
_SMOOTH: Final = _Part(0.0, 1.0)
_DETAIL: Final = _Part(1.0, -1.0)


def add_galaxies(
    image: NDArray[np.float32],
    galaxies: Galaxies,
    psf: PsfGrid,
    *,
    sizes: NDArray[np.int64],
    threads: int = 2,
) -> None:
    """Add the galaxies to ``image`` in place, each on a stamp of its size (see ``stamp_sizes``)."""

    def put(lot: NDArray[np.int64], drawn: NDArray[np.float32]) -> None:
        add_stamps(image, drawn, np.rint(galaxies.x[lot]), np.rint(galaxies.y[lot]))

    _draw_all(galaxies, psf, sizes, put, threads=threads)


def stamps(
    galaxies: Galaxies, psf: PsfGrid, *, sizes: NDArray[np.int64], threads: int = 2
) -> list[NDArray[np.float32]]:
    """Return the galaxies apart, each on a stamp of its size: its nearest pixel at [size/2, size/2]."""
    made = [np.zeros((size, size), np.float32) for size in sizes.tolist()]

    def put(lot: NDArray[np.int64], drawn: NDArray[np.float32]) -> None:
        for k, light in zip(lot.tolist(), drawn, strict=True):
            room = (len(made[k]) - len(light)) // 2
            made[k][room : room + len(light), room : room + len(light)] += light

    _draw_all(galaxies, psf, sizes, put, threads=threads)
    return made


def _draw_all(galaxies: Galaxies, psf: PsfGrid, sizes: NDArray[np.int64], put: Put, *, threads: int) -> None:
    """Draw the galaxies, some at a time.

    On large stamps only what a blur leaves is drawn: few modes. The rest, which that takes away, lies about
    the middle and is drawn on a smaller one.
    """
    if not len(galaxies):
        return
    oversample = needed_oversample(psf)
    with ThreadPoolExecutor(max_workers=threads) as pool:
        for size in np.unique(np.minimum(sizes, _DETAIL_SIZE)):
            group = _Group(galaxies, psf, int(size), _detailed_modes(psf, int(size), oversample))
            _draw_group(put, group, np.flatnonzero(sizes == size), _ALL, pool=pool, threads=threads)
            if size == _DETAIL_SIZE:
                _draw_group(put, group, np.flatnonzero(sizes > size), _DETAIL, pool=pool, threads=threads)
        for size in np.unique(sizes[sizes > _DETAIL_SIZE]):
            group = _Group(galaxies, psf, int(size), _smooth_modes(psf, int(size), oversample))
            _draw_group(put, group, np.flatnonzero(sizes == size), _SMOOTH, pool=pool, threads=threads)


def stamp_sizes(galaxies: Galaxies, missing: Floats) -> NDArray[np.int64]:
    """Return the edge in pixels of each galaxy's stamp: room for all but ``missing``, and for the PSF."""
    index = np.clip(galaxies.sersic_n, *_INDEX_RANGE)
    scale = gammaincinv(2 * index, 1 - missing) / gammaincinv(2 * index, 0.5)
    wanted = 2 * (_long_axis(galaxies) * scale**index + _PSF_ROOM)
    sizes = np.asarray(STAMP_SIZES)
    return np.asarray(sizes[np.minimum(np.searchsorted(sizes, wanted), sizes.size - 1)])


def outside(galaxies: Galaxies, sizes: NDArray[np.int64]) -> Floats:
    """Return the most of each galaxy's light that may lie outside its stamp, as a share."""
    index = np.clip(galaxies.sersic_n, *_INDEX_RANGE)
    radius = (sizes / 2 - _PSF_ROOM) / np.maximum(_long_axis(galaxies), 1e-6)
    return np.asarray(1 - gammainc(2 * index, gammaincinv(2 * index, 0.5) * radius ** (1 / index)))


def needed_oversample(psf: PsfGrid) -> int:
    """Return 2 where two samples a pixel hold all the optics pass (beyond 1.2 µm), else the ePSF's own."""
    if psf.oversample <= 2:
        return psf.oversample
    samples = _samples(psf.at(psf.xs.mean(), psf.ys.mean()))
    transform = np.abs(_transform(samples, 512, psf.oversample, psf.oversample))
    cut = 512 // psf.oversample
    beyond = max(transform[cut : 512 - cut].max(), transform[:, cut:].max())
    return 2 if psf.oversample % 2 == 0 and beyond < _NEGLIGIBLE_POWER * transform[0, 0] else psf.oversample


def _long_axis(galaxies: Galaxies) -> Floats:
    """Return the half-light radius along the long axis, pixels."""
    return np.asarray(np.linalg.norm(galaxies.shape, ord=2, axis=(1, 2)))


@dataclass(frozen=True)
class _Group:
    """Galaxies drawn on stamps of one size with one set of PSFs."""

    galaxies: Galaxies
    psf: PsfGrid
    size: int
    psfs: _Psfs


def _draw_group(
    put: Put,
    group: _Group,
    members: NDArray[np.int64],
    part: _Part,
    *,
    pool: ThreadPoolExecutor,
    threads: int,
) -> None:
    """Hand ``part`` of the members' light to ``put``: a few stamps at once, two lots a thread."""
    step = max(1, min(_BATCH_PIXELS // group.size**2, _MOST_STAMPS))
    lots = [members[k : k + step] for k in range(0, members.size, step)]
    # In order, whoever finishes first: sums of floats must not depend on the threads.
    for first in range(0, len(lots), 2 * threads):
        now = lots[first : first + 2 * threads]
        for lot, drawn in zip(now, pool.map(lambda lot: _draw(group, lot, part), now), strict=True):
            put(lot, drawn)


def _draw(group: _Group, lot: NDArray[np.int64], part: _Part) -> NDArray[np.float32]:
    """Return the flux per pixel of some galaxies, their nearest pixels at [size/2, size/2] of squares."""
    galaxies, size, psf = group.galaxies, group.size, group.psf
    x, y = galaxies.x[lot], galaxies.y[lot]
    corners, weights = np.empty((lot.size, 4), np.int64), np.empty((lot.size, 4))
    for i in range(lot.size):
        corners_at(x[i], y[i], psf.xs, psf.ys, corners[i], weights[i])
    spectra = np.zeros((lot.size, size, size // 2 + 1), dtype=np.complex64)
    at_x, at_y = x - np.rint(x) + size // 2, y - np.rint(y) + size // 2
    fill_spectra(
        spectra, *group.psfs, corners, weights, galaxies.shape[lot], at_x, at_y, galaxies.flux[lot],
        _profiles(galaxies.sersic_n[lot]), *part, _BLUR_PIXELS,
    )  # fmt: skip
    return np.asarray(fft.irfft2(spectra, s=(size, size), overwrite_x=True), dtype=np.float32)


def _detailed_modes(psf: PsfGrid, size: int, oversample: int) -> _Psfs:
    """Return all modes that the ePSF's stamps pass on, on a stamp of ``size``."""
    n = size * oversample
    modes = np.empty((len(psf.coefficients), n, n // 2 + 1), dtype=np.complex64)
    reach = np.zeros(n, dtype=np.int64)
    for k, stamp in enumerate(psf.coefficients):
        modes[k] = _transform(_samples(stamp), n, psf.oversample, oversample)
        matters = np.abs(modes[k].real) + np.abs(modes[k].imag) > _NEGLIGIBLE_MODE
        last = np.where(matters.any(axis=1), matters.shape[1] - np.argmax(matters[:, ::-1], axis=1), 0)
        reach = np.maximum(reach, np.minimum(last, n // 2))
    rows = np.arange(n)
    return _Psfs(modes, np.where(rows <= n // 2, rows, rows - n), reach)


def _smooth_modes(psf: PsfGrid, size: int, oversample: int) -> _Psfs:
    """Return the modes that are left after the blur, to 10⁻⁵, on a stamp of ``size``."""
    most = int(np.ceil(4.8 / _BLUR_PIXELS * size / (2 * np.pi)))
    rows, step = np.arange(-most, most + 1), psf.oversample // oversample
    modes = np.empty((len(psf.coefficients), rows.size, most + 1), dtype=np.complex64)
    for k, stamp in enumerate(psf.coefficients):
        samples = _samples(stamp)
        middle = (samples.shape[0] - 1) // 2
        samples = samples[middle % step :: step, middle % step :: step]
        offset = (np.arange(samples.shape[0]) - middle // step) / oversample
        wave = np.exp(-2j * np.pi / size * np.outer(rows, offset)).astype(np.complex64)
        modes[k] = wave @ (samples / samples.sum()).astype(np.complex64) @ wave[most:].T
    reach = np.floor(np.sqrt(np.maximum(most**2 - rows**2, 0))).astype(np.int64) + 1
    return _Psfs(modes, rows, reach)


def _samples(coefficients: Floats) -> Floats:
    """Return what a spline's ``coefficients`` are at its nodes."""
    for axis in (0, 1):
        coefficients = correlate1d(coefficients, np.array([1, 4, 1]) / 6, axis=axis, mode="mirror")
    return coefficients


def _transform(samples: Floats, n: int, sampled: int, oversample: int) -> NDArray[np.complex64]:
    """Return rfft2 on n² points of an ePSF (unit sum, ``sampled`` nodes a pixel) about the origin."""
    step, centre = sampled // oversample, (samples.shape[0] - 1) // 2
    half = min(centre // step, n // 2 - 1)
    field = np.zeros((n, n), dtype=np.float32)
    span = slice(centre - half * step, centre + half * step + 1, step)
    field[: 2 * half + 1, : 2 * half + 1] = samples[span, span]
    field /= field.sum()
    return np.asarray(fft.rfft2(np.roll(field, (-half, -half), axis=(0, 1)), overwrite_x=True))


def _profiles(index: Floats) -> NDArray[np.float32]:
    """Return the transforms (n, nodes) of profiles of any index, between those of the next two steps."""
    at = np.round(np.clip(index, *_INDEX_RANGE) / INDEX_STEP, 9)
    below = np.floor(at)
    above = at - below
    out = np.empty((index.size, _TABLE_NODES), dtype=np.float32)
    for k in range(index.size):
        out[k] = _profile(int(below[k]))
        if above[k] > 0:
            out[k] = (1 - above[k]) * _profile(int(below[k])) + above[k] * _profile(int(below[k]) + 1)
    return out


@lru_cache(maxsize=256)
def _profile(step: int) -> Floats:
    """Return the transform of a Sérsic profile (index 0.05 · step, unit radius and flux) at its nodes."""
    profile = galsim.Sersic(n=min(max(step * INDEX_STEP, 0.3), 6.2), half_light_radius=1.0)
    nodes = np.linspace(0, np.sqrt(TABLE_END), _TABLE_NODES) ** 2
    return np.array([profile.kValue(float(k), 0.0).real for k in nodes])
