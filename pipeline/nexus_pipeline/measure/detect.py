"""Detection: islands of a significance map, taken apart where they have several peaks.

Takes the matched filter's significance (``matched_filter``); leaves a map of labels (one per source, 0
elsewhere) and the peaks.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.measure.between_pixels import Between
from nexus_pipeline.measure.deblend import Rule, flood
from nexus_pipeline.measure.islands import Islands, islands, list_pixels, paint, rename

Plane = NDArray[np.float32]
Floats = NDArray[np.float64]

PEAK_SIGMA: Final = 5.0
"""A source's significance; about one false one in 4088² pixels of white noise."""
FLOOR_SIGMA: Final = 3.0
"""How far down a source's pixels reach."""
_BETWEEN_PIXELS: Final = 0.65
"""A peak's highest pixel shows at least this share of it, wherever in the pixel it is, but for noise."""
DEBLENDING: Final = Rule()


@dataclass(frozen=True)
class Detections:
    """Labels (ny, nx) from 1 in the order of the arrays, peak pixels, and peak significance (σ)."""

    labels: NDArray[np.int32]
    x: NDArray[np.int64]
    y: NDArray[np.int64]
    significance: Floats

    def __len__(self) -> int:
        return len(self.x)


def detect(
    filtered: Plane,
    *,
    peak: float = PEAK_SIGMA,
    floor: float = FLOOR_SIGMA,
    rule: Rule = DEBLENDING,
    between: Between | None = None,
) -> Detections:
    """Return the sources of a map of significance: peaks of ``peak`` σ and the pixels down to ``floor``.

    ``between`` tells what stars show between pixels; without it parabolas do.
    """
    found = islands(filtered, floor)
    high = found.height > _BETWEEN_PIXELS * peak
    labels = np.zeros(filtered.shape, np.int32)
    peaks = _blended(filtered, found, high & (found.n_peaks > 1), rule=rule, labels=labels)
    single = np.flatnonzero(high & (found.n_peaks == 1))
    numbers = np.zeros(high.size, np.int32)
    numbers[single] = len(peaks) + 1 + np.arange(single.size)
    paint(labels, found.row, found.first, found.last, numbers[found.island])
    every = np.concatenate([peaks, found.peak[single]])
    return _numbered(filtered, labels, found, peaks=every, least=peak, between=between)


def _blended(
    filtered: Plane, found: Islands, wanted: NDArray[np.bool_], *, rule: Rule, labels: NDArray[np.int32]
) -> NDArray[np.int64]:
    """Write basins of the ``wanted`` islands into ``labels``; return each basin's peak, -1 for none."""
    runs = wanted[found.island]
    row, first, last = (each[runs] for each in (found.row, found.first, found.last))
    n_pixels = int(np.sum(last - first + 1))
    pixels, key = np.empty(n_pixels, np.int64), np.empty(n_pixels, np.uint64)
    list_pixels(filtered.view(np.uint32), row, first, last, found.island[runs], pixels, key)
    # One island after the other, so that what is looked at lies together in memory.
    order = pixels[np.argsort(key)]
    peaks = np.full(int(found.n_peaks[wanted].sum()) + 1, -1, np.int64)
    n = flood(filtered, order, peaks, rule.contrast, rule.prominence, rule.photons, labels)
    return peaks[:n]


def _numbered(
    filtered: Plane,
    labels: NDArray[np.int32],
    found: Islands,
    *,
    peaks: NDArray[np.int64],
    least: float,
    between: Between | None,
) -> Detections:
    """Keep basins whose peak is high enough; they are numbered in the order of their peaks' pixels."""
    significance = np.full(peaks.size, -np.inf)
    there = peaks >= 0
    y, x = np.divmod(peaks[there], filtered.shape[1])
    significance[there] = between_pixels(filtered, y, x, between)
    kept = np.flatnonzero(significance >= least)
    kept = kept[np.argsort(peaks[kept])]
    names = np.zeros(peaks.size + 1, np.int32)
    names[kept + 1] = np.arange(1, kept.size + 1)
    rename(labels, found.row, found.first, found.last, names)
    y, x = np.divmod(peaks[kept], filtered.shape[1])
    return Detections(labels, x, y, significance[kept])


def between_pixels(
    filtered: Plane, y: NDArray[np.int64], x: NDArray[np.int64], between: Between | None = None
) -> Floats:
    """Return the significance of sources whose peak pixels are ``y``, ``x``, as in ``detect``.

    A position that is free to follow the noise gains 1/s on the average, which is taken off, so that half
    the sources of a significance are found above it.
    """
    top = _parabolas(filtered, y, x) if between is None else between.tops(filtered, y, x)
    return np.where(top > 0, top - 1 / np.maximum(top, 1e-3), top)


def _parabolas(filtered: Plane, y: NDArray[np.int64], x: NDArray[np.int64]) -> Floats:
    """Return the tops of parabolas through peak pixels and those beside them."""
    ny, nx = filtered.shape
    here = filtered[y, x].astype(np.float64)
    top = here.copy()
    for one, other in (
        (filtered[np.maximum(y - 1, 0), x], filtered[np.minimum(y + 1, ny - 1), x]),
        (filtered[y, np.maximum(x - 1, 0)], filtered[y, np.minimum(x + 1, nx - 1)]),
    ):
        bend = 2 * here - one - other
        top += np.where(bend > 0, (other - one) ** 2 / (8 * np.maximum(bend, 1e-30)), 0)
    return top
