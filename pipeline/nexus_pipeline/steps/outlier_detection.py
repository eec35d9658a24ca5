"""outlier_detection: pixels that disagree with the median of all images at their place.

Takes pieces one after the other, lays each alone on a grid of the detector's pixel scale, and keeps those in
a file; leaves their median, and which pixels of a piece stand out from it by more than noise and the
median's own slopes allow. Memory holds one plane of sums and the median, however many images there are.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import over_rows, share_out
from nexus_pipeline.errors import InputError, StorageError
from nexus_pipeline.instrument.wfi import PIXEL_SCALE_ARCSEC
from nexus_pipeline.sky.pixel_map import PixelMap
from nexus_pipeline.sky.sky_grid import SkyGrid
from nexus_pipeline.steps import drizzle_kernels, outlier_kernels, resample
from nexus_pipeline.steps.flux import Piece

Single = NDArray[np.float32]
Floats = NDArray[np.float64]

BLOCK_PIXELS: Final = 50
"""Width of the blocks whose medians tell the sky."""
_EVERY: Final = 2
# A pixel less covered than this by pixels to be used is not judged by: romancal's ``maskpt``.
_LEAST_COVERED: Final = 0.7
# 320 kB of each image at once, for a mosaic of 2500 pixels across.
_BAND_ROWS: Final = 32


class Stack:
    """Images, each alone on ``grid``, in a file without a name (ny × nx single-precision numbers each)."""

    def __init__(self, grid: SkyGrid, handle: IO[Any]) -> None:
        self.grid, self.n = grid, 0
        self._handle = handle
        self._sums = np.zeros((grid.ny, grid.nx, drizzle_kernels.LANES), np.float32)
        self._context = np.zeros((grid.ny, grid.nx), np.uint32)

    def append(self, piece: Piece, place: PixelMap) -> Floats:
        """Lay ``piece`` on the grid by ``place``, keep it, and return its blocks' medians (b)."""
        plane = np.empty((self.grid.ny, self.grid.nx), np.float32)
        weight = piece.good.astype(np.float32)

        def work(first: int) -> None:
            rows = np.s_[first : first + resample.BAND_ROWS]
            self._sums[rows] = 0
            drizzle_kernels.add_image(
                place.x, place.y, piece.data, weight, piece.var_rnoise, piece.var_poisson, piece.var_flat,
                1.0, resample.LEVEL, 1.0, True, first, self._sums[rows], self._context[rows], 0,
            )  # fmt: skip
            outlier_kernels.mean_of(self._sums[rows], _LEAST_COVERED, plane[rows])

        share_out(work, range(0, self.grid.ny, resample.BAND_ROWS))
        try:
            plane.tofile(self._handle)
        except OSError as error:
            raise StorageError(
                f"no room for the images of a mosaic in {tempfile.gettempdir()}: {error}"
            ) from error
        self.n += 1
        return _blocks(plane)

    def median(self, levels: Floats) -> Single:
        """Return the median (ny, nx) of the images less their levels (n, 3), read a few rows at a time."""
        self._handle.flush()
        median = np.empty((self.grid.ny, self.grid.nx), np.float32)

        def work(first: int) -> None:
            rows = np.s_[first : first + _BAND_ROWS]
            outlier_kernels.median_of(self._rows(first), levels, first, median[rows])

        share_out(work, range(0, self.grid.ny, _BAND_ROWS))
        return median

    def _rows(self, first: int) -> Single:
        rows, size = min(_BAND_ROWS, self.grid.ny - first), 4 * self.grid.nx
        pieces = [
            os.pread(self._handle.fileno(), rows * size, (image * self.grid.ny + first) * size)
            for image in range(self.n)
        ]
        return np.frombuffer(b"".join(pieces), np.float32).reshape(self.n, rows, self.grid.nx)


@contextmanager
def stack(grid: SkyGrid) -> Iterator[Stack]:
    """Give an empty stack on ``grid`` at the detector's pixel scale; its file goes at the end."""
    with tempfile.TemporaryFile(prefix="nexus-mosaic-", buffering=0) as handle:
        yield Stack(grid.at_scale(PIXEL_SCALE_ARCSEC), handle)


def block_places(grid: SkyGrid) -> Floats:
    """Return the middles (b, 2) of the blocks of ``grid``, in its pixels."""
    y, x = (
        np.arange(-(-n // BLOCK_PIXELS)) * BLOCK_PIXELS + (BLOCK_PIXELS - 1) / 2 for n in (grid.ny, grid.nx)
    )
    across, down = np.meshgrid(x, y)
    return np.column_stack([across.ravel(), down.ravel()])


def _blocks(plane: Single) -> Floats:
    rows, columns = (-(-n // BLOCK_PIXELS) for n in plane.shape)
    medians = np.empty((rows, columns))
    share_out(
        lambda row: outlier_kernels.block_medians(
            plane, BLOCK_PIXELS, _EVERY, row * BLOCK_PIXELS, medians[row]
        ),
        range(rows),
    )
    return medians.ravel()


def detect(
    piece: Piece,
    place: PixelMap,
    median: Single,
    level: Floats,
    *,
    sigma: float = 5.0,
    sigma_beside: float = 4.0,
    slope: float = 1.2,
    slope_beside: float = 0.7,
    peak: float = 3.0,
    peak_beside: float = 1.75,
) -> NDArray[np.bool_]:
    """Return which pixels of ``piece`` are outliers: romancal's two thresholds, the second beside an outlier.

    ``peak`` is how far a star's core may stand above the median, over that one's rise above its lowest
    neighbour: on four images at any phase up to 2.7 in F062 and F106, 1.8 in F158, 1.2 in F213.
    ``place`` are its pixels on the grid of ``median``, ``level`` (3) what was taken off before that was made.
    """
    model = np.empty_like(piece.data)
    verdict = np.empty(piece.data.shape, np.uint8)
    rejected = np.zeros(piece.data.shape, np.bool_)
    sky = float(np.median(piece.var_poisson[piece.good])) if piece.good.any() else 0.0
    sigmas, slopes = np.array([sigma, sigma_beside]), np.array([slope, slope_beside])
    peaks = np.array([peak, peak_beside])
    n_rows = len(model)
    over_rows(
        lambda first, last: outlier_kernels.blot(median, place.x, place.y, first, model[first:last]), n_rows
    )
    over_rows(
        lambda first, last: outlier_kernels.judge(
            piece.data, piece.var_rnoise, piece.var_poisson, piece.var_flat, piece.good, model, level,
            place.x, place.y, sky, sigmas, slopes, peaks, first, last, verdict,
        ),
        n_rows,
    )  # fmt: skip
    over_rows(lambda first, last: outlier_kernels.beside_outliers(verdict, rejected, first, last), n_rows)
    return rejected


def check(sigma: float, sigma_beside: float) -> None:
    """Raise InputError for thresholds that would take noise for outliers."""
    if not 0 < sigma_beside <= sigma:
        raise InputError(
            f"outlier_detection.sigma must be sigma_beside or more, that above 0: {sigma}, {sigma_beside}"
        )
