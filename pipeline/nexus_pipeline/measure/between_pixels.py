"""How significant a star is between the middles of pixels, from the matched filter's map about its peak.

A detector's pixels are too coarse for its PSF: a star where four meet has 9 % less significance of its own
than one in the middle of a pixel, and the filter of the latter shows 17 % less still.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Floats = NDArray[np.float64]

_PHASES: Final = np.linspace(-0.5, 0.5, 9)
_AROUND: Final = (-1, 0, 1)
_SHORT: Final = 1 - 1e-6
"""Where pixels meet a star belongs to either."""


@dataclass(frozen=True)
class Between:
    """Weights (phases, 9) on a peak's pixel and its neighbours, row by row, that show a star of each phase.

    Each sum has the noise of one pixel of the map where the image's pixels share none.
    """

    weights: Floats

    def tops(self, filtered: Plane, y: NDArray[np.int64], x: NDArray[np.int64]) -> Floats:
        """Return the highest significance of a star within the pixels ``y``, ``x`` of the map."""
        ny, nx = filtered.shape
        about = [
            filtered[np.clip(y + dy, 0, ny - 1), np.clip(x + dx, 0, nx - 1)]
            for dy in _AROUND
            for dx in _AROUND
        ]
        shown = np.stack(about, axis=-1).astype(np.float64) @ self.weights.T
        return np.asarray(shown.max(axis=1), dtype=np.float64)


def between(star: Callable[[float, float, int], Floats], kernel: Plane) -> Between:
    """Return the weights for maps made with ``kernel`` (odd, square).

    ``star(dx, dy, radius)`` are the pixels of a star that is so far beside the middle of the middle one.
    Of all sums over the nine pixels these see the star best (Gauss and Markov); 1 % of its significance is
    beyond what they see at the worst.
    """
    wide = np.pad(kernel.astype(np.float64), 1)
    shifted = np.stack([np.roll(wide, (dy, dx), (0, 1)).ravel() for dy in _AROUND for dx in _AROUND])
    shifted /= np.sqrt(np.sum(wide**2))
    shared, found = shifted @ shifted.T, []
    for dy in _SHORT * _PHASES:
        for dx in _SHORT * _PHASES:
            seen = np.linalg.solve(shared, shifted @ star(dx, dy, wide.shape[0] // 2).ravel())
            found.append(seen / np.sqrt(seen @ shared @ seen))
    return Between(np.array(found))
