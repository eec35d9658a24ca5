"""How the noise of pixels goes together, and what it does to the errors of sums over them.

Takes an image over its noise (σ), without its sources; leaves the correlation at whole-pixel lags, and
factors that turn the variance of a sum of independent pixels into that of the pixels there are.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Plane = NDArray[np.float32]

_REACH: Final = 3
_LEAST_PIXELS: Final = 20_000
_OUTLIER_SIGMA: Final = 4.0
_STANDARD_ERRORS: Final = 4.0


@dataclass(frozen=True)
class Correlation:
    """Correlation of noise at lags (2·reach + 1)², 1 in the middle."""

    lags: Floats

    @property
    def _offsets(self) -> Floats:
        reach = self.lags.shape[0] // 2
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        return np.asarray(np.hypot(x, y), dtype=np.float64)

    def over_area(self, area: Floats) -> Floats:
        """Return the factor on the variance of sums over ``area`` pixels that fill a circle."""
        radius = np.sqrt(np.maximum(area, 1e-6) / np.pi)
        shared = np.stack([_shared_area(distance, radius) for distance in self._offsets.ravel()], axis=-1)
        return np.asarray(np.maximum(shared @ self.lags.ravel(), 0.1), dtype=np.float64)

    def over_weights(self, weights: Floats) -> float:
        """Return the factor on the variance of a sum with ``weights`` (ny, nx), such as a PSF fit's."""
        reach = self.lags.shape[0] // 2
        padded = np.pad(weights, reach)
        ny, nx = weights.shape
        products = [
            [float((padded[j : j + ny, i : i + nx] * weights).sum()) for i in range(2 * reach + 1)]
            for j in range(2 * reach + 1)
        ]
        return max(float((np.array(products) * self.lags).sum() / (weights**2).sum()), 0.1)


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
    variance = float(np.mean(values[good].astype(np.float64) ** 2))
    lags = np.zeros((2 * _REACH + 1,) * 2)
    for dy in range(_REACH + 1):
        for dx in range(-_REACH, _REACH + 1):
            if dy > 0 or dx >= 0:
                found = _at_lag(values, good, dy, dx) / variance
                lags[_REACH + dy, _REACH + dx] = lags[_REACH - dy, _REACH - dx] = found
    lags[_REACH, _REACH] = 1.0
    return Correlation(lags)


def _at_lag(values: Plane, good: NDArray[np.bool_], dy: int, dx: int) -> float:
    ny, nx = values.shape
    here = (slice(0, ny - dy), slice(max(-dx, 0), nx - max(dx, 0)))
    there = (slice(dy, ny), slice(max(dx, 0), nx - max(-dx, 0)))
    n = int(np.count_nonzero(good[here] & good[there]))
    if n == 0:
        return 0.0
    found = float(np.einsum("ij,ij->", values[here], values[there], dtype=np.float64)) / n
    return found if abs(found) > _STANDARD_ERRORS / np.sqrt(n) else 0.0


def _shared_area(distance: float, radius: Floats) -> Floats:
    """Return which share of a circle's area it has in common with itself moved by ``distance``."""
    ratio = np.clip(distance / (2 * radius), 0, 1)
    return np.asarray(2 / np.pi * (np.arccos(ratio) - ratio * np.sqrt(1 - ratio**2)), dtype=np.float64)
