"""Kernels that turn one PSF into another, so that a circle holds the same share of a star in both images.

Takes stamps of two PSFs at one sampling, whatever that is; leaves the kernel to convolve images of the first
with. In modes it is the quotient of the two, held back where the first has no power left: Tikhonov's
regularisation by a Laplacian (Boucaud et al. 2016), which leaves the sum of a star's light alone. Where
pixels are too coarse for the PSF, several phases of it are matched at once, by least squares.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, next_fast_len, rfft2

from nexus_pipeline.errors import InputError
from nexus_pipeline.psf import kernels
from nexus_pipeline.psf.grid import PsfGrid

Floats = NDArray[np.float64]
Modes = NDArray[np.complex128]

PENALTY: Final = 1e-6
"""On the squared Laplacian of the kernel, beside the squared modes of a PSF of unit sum."""
MOST_GAIN: Final = 1.2
"""A wider PSF asks for no more of any mode than there is, but for what aberrations differ by."""
_EQUAL: Final = 1e-6
_PHASES: Final = (-1 / 3, 0.0, 1 / 3)


@dataclass(frozen=True)
class MatchingKernel:
    """``kernel`` (odd, square), and what it leaves.

    ``residual`` is the largest difference of any sample between the first PSF convolved with it and the
    second, over the second's peak; ``gain`` what the most amplified mode of an image is multiplied by.
    """

    kernel: Floats
    residual: float
    gain: float
    penalty: float


def matching_kernel(
    a: Floats, b: Floats, *, radius: int | None = None, penalty: float | None = None
) -> MatchingKernel:
    """Return the kernel that turns PSF ``a`` into ``b``: stamps (size, size), or (n, size, size) of n phases.

    It is cut at ``radius`` samples, by default as large as the stamps: then it sums to about the ratio of
    theirs, else to less by what the second PSF has farther out. Equal PSFs give a kernel of one sample.
    InputError for stamps that do not go together, and for a ``b`` sharper than ``a`` unless a ``penalty`` is
    stated: what is then not reached, ``residual`` says.
    """
    a, b = _stack(a), _stack(b)
    if a.shape != b.shape:
        raise InputError(f"PSFs of shapes {a.shape} and {b.shape}: a kernel goes between equal stamps")
    reach = a.shape[1] // 2 if radius is None else min(radius, a.shape[1] // 2)
    if np.abs(a - b).max() <= _EQUAL * np.abs(b).max():
        return MatchingKernel(_one_sample(reach), 0.0, 1.0, 0.0)
    chosen = PENALTY if penalty is None else penalty
    kernel = _cut(_quotient(a, b, chosen), reach)
    made = MatchingKernel(kernel, _residual(a, b, kernel), _gain(kernel), chosen)
    if penalty is None and made.gain > MOST_GAIN:
        raise InputError(
            f"the second PSF is sharper than the first: matching would amplify noise {made.gain:.1f}-fold. "
            "Match the other way round, or state a penalty",
            gain=made.gain,
        )
    return made


def kernel_between(
    a: PsfGrid, b: PsfGrid, *, x: float, y: float, radius: int, penalty: float | None = None
) -> MatchingKernel:
    """Return the kernel (2·``radius`` + 1)² from ``a``'s images to ``b``'s, on their pixels, about (x, y).

    Nine phases of a star in its pixel are matched together. InputError as ``matching_kernel`` raises it.
    """
    reach = min(a.radius, b.radius) - 1
    one, other = (_phases(each, x, y, reach) for each in (a, b))
    return matching_kernel(one, other, radius=radius, penalty=penalty)


def _phases(psf: PsfGrid, x: float, y: float, reach: int) -> Floats:
    coefficients, made = psf.at(x, y), []
    for dy in _PHASES:
        for dx in _PHASES:
            value, *slopes = (np.empty((2 * reach + 1,) * 2) for _ in range(3))
            kernels.sample(coefficients, psf.oversample, dx, dy, value, *slopes)
            made.append(value)
    return np.array(made)


def _stack(stamps: Floats) -> Floats:
    """Return ``stamps`` with an axis for phases; InputError for what can be no PSF."""
    made = np.asarray(stamps, dtype=np.float64)
    made = made[None] if made.ndim == 2 else made
    if made.ndim != 3 or made.shape[1] != made.shape[2] or made.shape[1] % 2 == 0:
        raise InputError(f"a PSF's stamp is square with an odd edge, not of shape {np.shape(stamps)}")
    if not np.isfinite(made).all() or not (made.sum(axis=(1, 2)) > 0).all():
        raise InputError("a PSF's stamp holds light and no NaN")
    return made


def _quotient(a: Floats, b: Floats, penalty: float) -> Floats:
    """Return the kernel on the whole field, its middle at (0, 0)."""
    n = next_fast_len(2 * a.shape[1], real=True)
    one, other = (rfft2(each, s=(n, n)) for each in (a, b))
    wave_y, wave_x = np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None, :]
    laplacian = 4 - 2 * np.cos(2 * np.pi * wave_x) - 2 * np.cos(2 * np.pi * wave_y)
    power = np.mean(np.abs(one) ** 2, axis=0)
    # The penalty is meant for PSFs of unit sum, of whatever sum these are.
    held = penalty * power[0, 0] * laplacian**2
    return np.asarray(irfft2(np.mean(np.conj(one) * other, axis=0) / (power + held), s=(n, n)))


def _cut(field: Floats, reach: int) -> Floats:
    at = np.arange(-reach, reach + 1)
    return field[np.ix_(at, at)]


def _one_sample(reach: int) -> Floats:
    kernel = np.zeros((2 * reach + 1,) * 2)
    kernel[reach, reach] = 1.0
    return kernel


def _residual(a: Floats, b: Floats, kernel: Floats) -> float:
    size, reach = a.shape[1], kernel.shape[0] // 2
    n = next_fast_len(size + 2 * reach, real=True)
    made = np.asarray(irfft2(rfft2(a, s=(n, n)) * rfft2(kernel, s=(n, n)), s=(n, n)))
    inside = np.s_[:, reach : reach + size, reach : reach + size]
    return float(np.max(np.abs(made[inside] - b)) / np.max(b))


def _gain(kernel: Floats) -> float:
    n = next_fast_len(2 * kernel.shape[0], real=True)
    return float(np.max(np.abs(rfft2(kernel, s=(n, n)))))
