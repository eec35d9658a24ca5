"""Sérsic galaxies on a detector, drawn in Fourier space with the ePSF of their neighbourhood.

Takes sources with their pixel positions; adds their light to an image (total flux = the source's).
GalSim gives the profiles' transforms, once per Sérsic index (in steps of 0.05); the ePSF's transform is
made once per region and stamp size, not per galaxy.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import galsim
import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import correlate1d
from scipy.special import gammaincinv

from nexus_pipeline.psf.grid import PsfGrid
from nexus_pipeline.simulate.galaxy_kernels import TABLE_END, fill_spectrum

Floats = NDArray[np.float64]

INDEX_STEP: Final = 0.05
REGION_PIXELS: Final = 512
"""One PSF serves a square of this size; the ePSF changes by less than 0.1 % of its peak within."""
STAMP_SIZES: Final = (64, 96, 128, 192, 256, 384, 512, 768, 1024)
_TABLE_NODES: Final = 8192
_NEGLIGIBLE_POWER: Final = 3e-4


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


def add_galaxies(
    image: NDArray[np.float32], galaxies: Galaxies, psf: PsfGrid, *, missing: Floats, threads: int = 2
) -> None:
    """Add the galaxies to ``image`` in place; ``missing`` (n,) is the share of light a stamp may lose."""
    jobs, oversample = list(_jobs(galaxies, missing)), needed_oversample(psf)
    with ThreadPoolExecutor(max_workers=threads) as pool:
        # In order, whoever finishes first: sums of floats must not depend on the threads.
        for batch in _batches(jobs, 4 * threads):
            for stamps in pool.map(lambda job: _draw(job, galaxies, psf, oversample), batch):
                for k, stamp in stamps:
                    _add(image, stamp, round(float(galaxies.x[k])), round(float(galaxies.y[k])))


def stamp_sizes(galaxies: Galaxies, missing: Floats) -> NDArray[np.int64]:
    """Return the edge in pixels of each galaxy's stamp: room for all but ``missing``, and for the PSF."""
    index = _binned(galaxies.sersic_n)
    scale = gammaincinv(2 * index, 1 - missing) / gammaincinv(2 * index, 0.5)
    long_axis = np.linalg.norm(galaxies.shape, ord=2, axis=(1, 2))
    wanted = 2 * (long_axis * scale**index + 16)
    sizes = np.asarray(STAMP_SIZES)
    return np.asarray(sizes[np.minimum(np.searchsorted(sizes, wanted), sizes.size - 1)])


Job = tuple[int, tuple[float, float], list[int]]


def _jobs(galaxies: Galaxies, missing: Floats) -> Iterator[Job]:
    """Yield (stamp size, middle of the region, members): they share one transform of the PSF."""
    if not len(galaxies):
        return
    sizes = stamp_sizes(galaxies, missing)
    columns = np.floor(galaxies.x / REGION_PIXELS).astype(int)
    rows = np.floor(galaxies.y / REGION_PIXELS).astype(int)
    keys, which = np.unique(np.stack([sizes, rows, columns]), axis=1, return_inverse=True)
    for k, (size, row, column) in enumerate(keys.T):
        middle = ((column + 0.5) * REGION_PIXELS, (row + 0.5) * REGION_PIXELS)
        yield int(size), middle, np.flatnonzero(which.ravel() == k).tolist()


def _batches(jobs: list[Job], length: int) -> Iterator[list[Job]]:
    yield from (jobs[k : k + length] for k in range(0, len(jobs), length))


def needed_oversample(psf: PsfGrid) -> int:
    """Return 2 where two samples a pixel hold all the optics pass (beyond 1.2 µm), else the ePSF's own."""
    transform = np.abs(_psf_transform(psf, (psf.xs.mean(), psf.ys.mean()), 512, psf.oversample))
    cut = 512 // psf.oversample
    beyond = max(transform[cut : 512 - cut].max(), transform[:, cut:].max())
    return 2 if psf.oversample % 2 == 0 and beyond < _NEGLIGIBLE_POWER * transform[0, 0] else psf.oversample


def _draw(
    job: Job, galaxies: Galaxies, psf: PsfGrid, oversample: int
) -> list[tuple[int, NDArray[np.float32]]]:
    size, middle, members = job
    transform = _psf_transform(psf, middle, size * oversample, oversample)
    return [(k, _stamp(galaxies, k, transform, oversample=oversample)) for k in members]


def _psf_transform(
    psf: PsfGrid, middle: tuple[float, float], n: int, oversample: int
) -> NDArray[np.complex64]:
    """Return rfft2 of the ePSF at ``middle``, its centre at the origin of an n² grid."""
    samples = psf.at(*middle)
    for axis in (0, 1):
        samples = correlate1d(samples, np.array([1, 4, 1]) / 6, axis=axis, mode="mirror")
    step, centre = psf.oversample // oversample, (samples.shape[0] - 1) // 2
    half = min(centre // step, n // 2 - 1)
    field = np.zeros((n, n), dtype=np.float32)
    span = slice(centre - half * step, centre + half * step + 1, step)
    field[: 2 * half + 1, : 2 * half + 1] = samples[span, span]
    field *= oversample**2 / field.sum()
    return np.asarray(fft.rfft2(np.roll(field, (-half, -half), axis=(0, 1)), overwrite_x=True))


def _stamp(
    galaxies: Galaxies, k: int, transform: NDArray[np.complex64], *, oversample: int
) -> NDArray[np.float32]:
    """Return the galaxy's flux per pixel on a square, its nearest pixel in the middle [size/2, size/2]."""
    n = transform.shape[0]
    size = n // oversample
    spectrum = np.empty_like(transform)
    x = float(galaxies.x[k]) - round(float(galaxies.x[k])) + size // 2
    y = float(galaxies.y[k]) - round(float(galaxies.y[k])) + size // 2
    table = _profile(float(_binned(galaxies.sersic_n[k : k + 1])[0]))
    fill_spectrum(spectrum, transform, galaxies.shape[k], x, y, float(galaxies.flux[k]), oversample, table)
    fine = fft.irfft2(spectrum, s=(n, n), overwrite_x=True)
    return np.asarray(fine[::oversample, ::oversample], dtype=np.float32)


def _binned(index: Floats) -> Floats:
    return np.asarray(np.clip(np.round(index / INDEX_STEP) * INDEX_STEP, 0.3, 6.2))


@lru_cache(maxsize=256)
def _profile(index: float) -> Floats:
    """Return the transform of a Sérsic profile of unit radius and flux at k = (i · step)²."""
    profile = galsim.Sersic(n=index, half_light_radius=1.0)
    nodes = np.linspace(0, np.sqrt(TABLE_END), _TABLE_NODES) ** 2
    return np.array([profile.kValue(float(k), 0.0).real for k in nodes])


def _add(image: NDArray[np.float32], stamp: NDArray[np.float32], column: int, row: int) -> None:
    """Add ``stamp`` to ``image`` in place with its middle on (column, row)."""
    half = stamp.shape[0] // 2
    low_y, low_x = row - half, column - half
    y0, y1 = max(low_y, 0), min(low_y + stamp.shape[0], image.shape[0])
    x0, x1 = max(low_x, 0), min(low_x + stamp.shape[1], image.shape[1])
    if y0 < y1 and x0 < x1:
        image[y0:y1, x0:x1] += stamp[y0 - low_y : y1 - low_y, x0 - low_x : x1 - low_x]
