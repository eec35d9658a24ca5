"""resample: pieces of images drizzled onto one grid: one pass of geometry for all that a mosaic is made of.

Takes pieces in MJy/sr one after the other; leaves means weighed by what the reads or the sky leave of noise,
their variances by source, the weights, the exposure time and the context. A source's own photons never
weigh: the mean of its pixels would then be biased low.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import share_out
from nexus_pipeline.errors import InputError
from nexus_pipeline.sky.sky_grid import SkyGrid
from nexus_pipeline.steps import drizzle_kernels as kernels
from nexus_pipeline.steps.flux import Piece

Single = NDArray[np.float32]
Floats = NDArray[np.float64]

LEVEL: Final = np.zeros(3)
BITS: Final = 32
BAND_ROWS: Final = 128
"""Of the mosaic: drops on the border of two bands are made twice."""
_POINT: Final = 1e-3
_THIN: Final = 4
_BRIGHT_SIGMA: Final = 5.0
_FIRST_GROUP, _GROWTH, _MOST_GROUPS = 4, 1.25, 60


class Weighting(StrEnum):
    """By the inverse variance of the reads, of reads and sky, or by exposure time: romancal's names."""

    IVM = "ivm"
    IVM_SKY = "ivm-sky"
    EXPTIME = "exptime"


class Kernel(StrEnum):
    """What a drop is: the pixel's own shape, a square along the mosaic's axes, or a point."""

    SQUARE = "square"
    TURBO = "turbo"
    POINT = "point"


@dataclass(frozen=True)
class Drizzle:
    """How pixels become drops: ``pixfrac`` of their edge long."""

    kernel: Kernel = Kernel.SQUARE
    pixfrac: float = 1.0
    weighting: Weighting = Weighting.IVM

    @property
    def drop_size(self) -> float:
        return _POINT if self.kernel is Kernel.POINT else max(self.pixfrac, _POINT)


@dataclass(frozen=True)
class Coadd:
    """A mosaic's planes (ny, nx), MJy/sr and its square, and ``context`` (n, ny, nx), a bit for each piece.

    ``time_s``: how long each pixel was exposed, on average over its area.
    """

    data: Single
    err: Single
    weight: Single
    var_rnoise: Single
    var_poisson: Single
    var_flat: Single
    context: NDArray[np.uint32]
    time_s: Single


class Sums:
    """What pieces have left on a grid so far; ``n_pieces`` are to come."""

    def __init__(self, grid: SkyGrid, n_pieces: int) -> None:
        self.grid, self.done = grid, 0
        self.lanes = np.zeros((grid.ny, grid.nx, kernels.LANES), np.float32)
        self.context = np.zeros((-(-n_pieces // BITS), grid.ny, grid.nx), np.uint32)


def drizzle(*, kernel: str = "square", pixfrac: float = 1.0, weight_type: str = "ivm") -> Drizzle:
    """Return how to drizzle; InputError for a kernel or weighting there is not, and drops that are none."""
    for given, known in ((kernel, Kernel), (weight_type, Weighting)):
        if given not in set(known):
            raise InputError(f"resample knows no {given!r}; there are {', '.join(known)}")
    if not 0 <= pixfrac <= 1:
        raise InputError(f"resample.pixfrac must be from 0 to 1, not {pixfrac}")
    return Drizzle(Kernel(kernel), pixfrac, Weighting(weight_type))


def add(sums: Sums, piece: Piece, how: Drizzle, *, level: Floats = LEVEL) -> None:
    """Write ``piece`` into ``sums``, less ``level``: MJy/sr, and its slopes along the mosaic's x and y."""
    plane, bit = divmod(sums.done, BITS)
    weight, context = weights(piece, how.weighting), sums.context[plane]

    def work(first: int) -> None:
        rows = np.s_[first : first + BAND_ROWS]
        kernels.add_image(
            piece.place.x, piece.place.y, piece.data, weight, piece.var_rnoise, piece.var_poisson,
            piece.var_flat, piece.exposure_time_s, level, how.drop_size, how.kernel is Kernel.TURBO,
            first, sums.lanes[rows], context[rows], bit,
        )  # fmt: skip

    share_out(work, range(0, sums.grid.ny, BAND_ROWS))
    sums.done += 1


def weights(piece: Piece, weighting: Weighting) -> Single:
    """Return the weight of each pixel of ``piece``: 0 where it is not to be used."""
    if weighting is Weighting.EXPTIME:
        return piece.good.astype(np.float32) * np.float32(piece.exposure_time_s)
    variance = read_noise_of_sky(piece)
    if weighting is Weighting.IVM_SKY and piece.good.any():
        # The median pixel shows sky: its photons' noise is that of all of them.
        variance = variance + np.float32(np.median(piece.var_poisson[piece.good]))
    return np.divide(1, variance, out=np.zeros_like(variance), where=piece.good)


def read_noise_of_sky(piece: Piece) -> Single:
    """Return the variance of each pixel's reads as it would be with no more than the sky in it.

    A ramp fit leaves more of it in bright pixels, whose reads it weighs otherwise: were they to weigh less
    for that, the means over a star's core would be 4 to 7 % low. What makes one pixel noisier than another
    of the same brightness (fewer reads, a noisy amplifier) stays.
    """
    variance = piece.var_rnoise
    thin = piece.good[::_THIN, ::_THIN]
    seen = piece.data[::_THIN, ::_THIN][thin]
    if not seen.size:
        return variance
    sky = np.median(seen)
    sigma = 1.4826 * np.median(np.abs(seen - sky))
    bright = np.flatnonzero(piece.good & (piece.data > sky + _BRIGHT_SIGMA * sigma))
    if not bright.size:
        return variance
    level, typical = _by_brightness(piece.data.ravel()[bright], variance.ravel()[bright])
    behind = np.median(variance[::_THIN, ::_THIN][thin])
    expected = np.interp(piece.data.ravel()[bright], [sky, *level], [behind, *typical])
    out = variance.copy()
    out.ravel()[bright] *= (behind / expected).astype(np.float32)
    return out


def _by_brightness(data: Single, variance: Single) -> tuple[Floats, Floats]:
    """Return median brightness, rising, and variance of groups of like pixels, the brightest in fewest."""
    sizes = np.ceil(_FIRST_GROUP * _GROWTH ** np.arange(_MOST_GROUPS)).astype(np.int64)
    ends = np.cumsum(sizes)
    groups = np.split(np.argsort(-data), ends[ends < data.size])[::-1]
    medians = [(np.median(data[group]), np.median(variance[group])) for group in groups]
    level, typical = np.array(medians, dtype=np.float64).T
    return level, typical


def finish(sums: Sums) -> Coadd:
    """Return the mosaic that ``sums`` amount to."""
    shape = (sums.grid.ny, sums.grid.nx)
    data, err, weight, rnoise, poisson, flat = (np.empty(shape, np.float32) for _ in range(6))

    def work(first: int) -> None:
        rows = np.s_[first : first + BAND_ROWS]
        kernels.finish(sums.lanes[rows], *(each[rows] for each in (data, err, weight, rnoise, poisson, flat)))

    share_out(work, range(0, shape[0], BAND_ROWS))
    return Coadd(
        data, err, weight, rnoise, poisson, flat, sums.context, sums.lanes[:, :, kernels.TIME].copy()
    )
