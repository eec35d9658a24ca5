"""The ePSF of a mosaic's pixels, from that of a detector's: one for all of the mosaic.

The light of many dithers on a finer grid: the detector's ePSF, pixel response and all, widened by the
drop and the pixel that resampling spreads it over. Where exposures end, or are rolled, the true one differs.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from nexus_pipeline.errors import InputError
from nexus_pipeline.psf.grid import PsfGrid

Floats = NDArray[np.float64]


def mosaic_psf(psf: PsfGrid, *, finer: int, spread_pixels: tuple[float, ...] = ()) -> PsfGrid:
    """Return the ePSF of the middle of a detector, alike everywhere, for pixels ``finer`` times finer.

    ``spread_pixels`` are widths of boxes it is convolved with, in the mosaic's pixels. InputError for an ePSF
    without nodes on the mosaic's pixels.
    """
    if psf.oversample % finer:
        raise InputError(f"an ePSF sampled {psf.oversample} times a pixel has no nodes on a mosaic's pixels")
    middle = psf.at(float(psf.xs.mean()), float(psf.ys.mean())) / finer**2
    nowhere, nodes = np.zeros(1), psf.oversample // finer
    for width in spread_pixels:
        for axis in (0, 1):
            middle = correlate1d(middle, _box(width * nodes), axis=axis, mode="constant")
    return PsfGrid(middle[None].astype(np.float32), nowhere, nowhere, nodes, psf.includes)


def _box(width: float) -> Floats:
    """Return the mean over ``width`` nodes as weights of nodes: Simpson's, where that is an even number."""
    if width >= 2 and width % 2 == 0:
        simpson = np.full(int(width) + 1, 2.0)
        simpson[1::2], simpson[[0, -1]] = 4.0, 1.0
        return simpson / (3 * width)
    half = int(np.ceil(max(width - 1, 0) / 2))
    inside = np.clip(width / 2 + 0.5 - np.abs(np.arange(-half, half + 1)), 0, 1)
    return np.asarray(inside / inside.sum(), dtype=np.float64)
