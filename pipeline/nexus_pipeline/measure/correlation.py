"""How the noise of pixels goes together, and what it does to the errors of sums over them.

Takes an image over its noise (σ), without its sources; leaves the correlation at whole-pixel lags, and
factors that turn the variance of a sum of independent pixels into that of the pixels there are.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled

Floats = NDArray[np.float64]
Plane = NDArray[np.float32]

_REACH: Final = 3
_LEAST_PIXELS: Final = 20_000
_OUTLIER_SIGMA: Final = 4.0
_STANDARD_ERRORS: Final = 4.0
_BAND_ROWS: Final = 64


@dataclass(frozen=True)
class Correlation:
    """Correlation of noise at lags (2·reach + 1)², 1 in the middle."""

    lags: Floats

    @cached_property
    def _by_distance(self) -> tuple[Floats, Floats]:
        """Distances of lags, each once, and the sum of the correlations there."""
        reach = self.lags.shape[0] // 2
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        distances, which = np.unique(np.hypot(x, y), return_inverse=True)
        return distances, np.bincount(which.ravel(), self.lags.ravel())

    def over_area(self, area: Floats) -> Floats:
        """Return the factor on the variance of sums over ``area`` pixels that fill a circle."""
        radius = np.sqrt(np.maximum(area, 1e-6) / np.pi)
        distances, lags = self._by_distance
        shared = _shared_area(distances, radius[..., None])
        return np.asarray(np.maximum(shared @ lags, 0.1), dtype=np.float64)

    def over_weights(self, weights: Floats) -> float:
        """Return the factor on the variance of a sum with ``weights`` (ny, nx), such as a PSF fit's."""
        reach = self.lags.shape[0] // 2
        padded = np.pad(weights, reach)
        products = np.einsum("jiyx,yx->ji", sliding_window_view(padded, weights.shape), weights)
        return max(float((products * self.lags).sum() / (weights**2).sum()), 0.1)


def independent() -> Correlation:
    """Return what holds where pixels know nothing of each other."""
    return Correlation(np.ones((1, 1)))


def measured(noise: Plane, blank: NDArray[np.bool_]) -> Correlation:
    """Return the correlation of ``noise`` (σ) among its ``blank`` pixels.

    Lags that are not seen beyond four standard errors are none, and where fewer than 20,000 pixels are blank
    nothing is said.
    """
    good = blank & (np.abs(noise) < _OUTLIER_SIGMA)
    if np.count_nonzero(good) < _LEAST_PIXELS:
        return independent()
    values = np.where(good, noise - noise[good].mean(), 0).astype(np.float32)
    variance = float(np.sum(values**2, dtype=np.float64) / np.count_nonzero(good))
    sums, counts = np.zeros((_REACH + 1, 2 * _REACH + 1)), np.zeros((_REACH + 1, 2 * _REACH + 1))
    _lag_sums(values, good.astype(np.float32), sums, counts)
    counts = np.maximum(counts, 1)
    found = np.where(np.abs(sums) > _STANDARD_ERRORS * np.sqrt(counts), sums / counts / variance, 0)
    lags = np.vstack([found[:0:-1, ::-1], found])
    lags[_REACH] += lags[_REACH, ::-1]
    lags[_REACH, _REACH] = 1.0
    return Correlation(lags)


@compiled
def _lag_sums(values: Plane, seen: Plane, sums: Floats, counts: Floats) -> None:
    """Add products of pixels (dy, dx - reach) apart, and how many pairs there are; half a row for dy = 0.

    ``seen`` is 1 where there is a value, else both are 0.
    """
    ny, nx = values.shape
    reach = sums.shape[0] - 1
    products, pairs = np.empty(nx, np.float32), np.empty(nx, np.float32)
    for top in range(0, ny, _BAND_ROWS):
        for dy in range(reach + 1):
            for dx in range(-reach if dy > 0 else 0, reach + 1):
                left, right = max(-dx, 0), nx - max(dx, 0)
                products[:], pairs[:] = 0.0, 0.0
                for y in range(top, min(top + _BAND_ROWS, ny - dy)):
                    one, other = values[y, left:right], values[y + dy, left + dx : right + dx]
                    here, there = seen[y, left:right], seen[y + dy, left + dx : right + dx]
                    for x in range(one.size):
                        products[x] += one[x] * other[x]
                        pairs[x] += here[x] * there[x]
                for x in range(nx):
                    sums[dy, dx + reach] += products[x]
                    counts[dy, dx + reach] += pairs[x]


def _shared_area(distance: Floats, radius: Floats) -> Floats:
    """Return which share of a circle's area it has in common with itself moved by ``distance``."""
    ratio = np.clip(distance / (2 * radius), 0, 1)
    return np.asarray(2 / np.pi * (np.arccos(ratio) - ratio * np.sqrt(1 - ratio**2)), dtype=np.float64)
