"""Detection: matched filter, threshold, and basins about the peaks.

Takes a background-subtracted image (DN/s), the noise behind it and a PSF stamp; leaves a map of labels
(one per source, 0 elsewhere) and the peaks.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import oaconvolve

from nexus_pipeline.measure.basins import flood

Plane = NDArray[np.float32]

PEAK_SIGMA: Final = 5.0
"""A source's peak in the filtered image; about one false one in 4088² pixels of white noise."""
FLOOR_SIGMA: Final = 3.0
"""How far down a source's pixels reach."""
MIN_PROMINENCE: Final = 0.05
"""A peak stays a source of its own if it stands this share of its height, and 3 σ, above the saddle."""
_PROMINENCE_SIGMA: Final = 3.0


@dataclass(frozen=True)
class Detections:
    """Labels (ny, nx) from 1 in the order of the arrays, peak pixels, and peak significance (σ)."""

    labels: NDArray[np.int32]
    x: NDArray[np.int64]
    y: NDArray[np.int64]
    significance: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.x)


def significance(image: Plane, variance: Plane, usable: NDArray[np.bool_], stamp: Plane) -> Plane:
    """Return, for a star at each pixel, its best-fit flux over the error: the matched filter of ``stamp``.

    Unusable pixels weigh nothing. ``variance`` is the background's alone (DN²/s²).
    """
    weight = np.where(usable, 1 / variance, 0).astype(np.float32)
    above = oaconvolve(np.where(usable, image, 0) * weight, stamp[::-1, ::-1], mode="same")
    below = oaconvolve(weight, stamp[::-1, ::-1] ** 2, mode="same")
    floor = 1e-3 * float(np.median(below))
    return np.asarray(np.where(below > floor, above / np.sqrt(np.maximum(below, floor)), 0), dtype=np.float32)


def detect(filtered: Plane) -> Detections:
    """Return the sources of a map of significance: peaks of at least 5 σ and the pixels about them."""
    above = np.flatnonzero(filtered.ravel() > FLOOR_SIGMA)
    order = above[np.argsort(filtered.ravel()[above], kind="stable")[::-1]]
    basin = flood(filtered, order, MIN_PROMINENCE, _PROMINENCE_SIGMA)
    return _numbered(filtered, basin)


def _numbered(filtered: Plane, basin: NDArray[np.int64]) -> Detections:
    """Keep basins whose peak is high enough; ``basin`` holds the flat index of each pixel's peak, or -1."""
    flat = filtered.ravel()
    peaks = np.unique(basin[basin >= 0])
    peaks = peaks[flat[peaks] >= PEAK_SIGMA]
    table = np.zeros(flat.size + 1, dtype=np.int32)
    table[peaks] = np.arange(1, peaks.size + 1)
    labels = table[basin.ravel()].reshape(filtered.shape)
    y, x = np.divmod(peaks, filtered.shape[1])
    return Detections(labels, x, y, flat[peaks].astype(np.float64))
