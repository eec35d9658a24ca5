"""Two lists of stars in one plane, displaced and turned: which is which.

Takes positions (n, 2) in arcsec; leaves pairs of indices. A histogram of all offsets within the search
radius, for several rolls, tells the displacement; pairs are then the nearest ones, mutually.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

_BIN_ARCSEC: Final = 0.1
_SMOOTH_BINS: Final = 3
_ROLLS_ARCSEC: Final = tuple(range(-40, 41, 10))
"""Position angles tried: 10 arcsec turn the edge of the focal plane, 0.4° out, by 0.07 arcsec."""
_CONTRAST_SIGMA: Final = 7.0
"""A peak so far above chance: of the 10⁵ cells and rolls looked at, none does by accident."""


@dataclass(frozen=True)
class Displacement:
    """Positions turned by ``roll_arcsec``, then moved by ``shift_arcsec`` (2,); how many pairs agree."""

    shift_arcsec: Floats
    roll_arcsec: float
    n_pairs: int
    by_chance: float

    @property
    def is_clear(self) -> bool:
        return bool(self.n_pairs > self.by_chance + _CONTRAST_SIGMA * np.sqrt(max(self.by_chance, 0.1)))


def turned(positions: Floats, roll_arcsec: float) -> Floats:
    """Return ``positions`` turned about the origin, from the first axis to the second."""
    angle = np.deg2rad(roll_arcsec / 3600)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray(positions @ matrix.T, dtype=np.float64)


def displacement(stars: Floats, references: Floats, *, radius_arcsec: float) -> Displacement:
    """Return what brings most of ``stars`` onto ``references``, up to ``radius_arcsec`` away."""
    reach = radius_arcsec + _BIN_ARCSEC + np.deg2rad(max(_ROLLS_ARCSEC) / 3600) * np.max(np.abs(stars))
    near = cKDTree(stars).query_ball_tree(cKDTree(references), reach)
    one = np.repeat(np.arange(len(stars)), [len(found) for found in near])
    other = np.array([k for found in near for k in found], dtype=np.int64)
    tried = [_peak(stars, references, (one, other), roll, radius_arcsec) for roll in _ROLLS_ARCSEC]
    # Of equal peaks the one that turns least.
    return max(tried, key=lambda found: (found.n_pairs, -abs(found.roll_arcsec)))


def _peak(  # noqa: PLR0917
    stars: Floats, references: Floats, pairs: tuple[Indices, Indices], roll: float, radius: float
) -> Displacement:
    offsets = references[pairs[1]] - turned(stars, roll)[pairs[0]]
    n = int(np.ceil(radius / _BIN_ARCSEC))
    edges = (np.arange(2 * n + 2) - n - 0.5) * _BIN_ARCSEC
    counts, _, _ = np.histogram2d(offsets[:, 0], offsets[:, 1], bins=(edges, edges))
    smooth = uniform_filter(counts, size=_SMOOTH_BINS, mode="constant") * _SMOOTH_BINS**2
    i, j = np.unravel_index(int(np.argmax(smooth)), smooth.shape)
    middle = np.array([edges[i], edges[j]]) + _BIN_ARCSEC / 2
    inside = np.all(np.abs(offsets - middle) < _SMOOTH_BINS * _BIN_ARCSEC / 2, axis=1)
    shift = np.median(offsets[inside], axis=0) if inside.any() else middle
    return Displacement(shift, roll, round(float(smooth[i, j])), float(smooth.mean()))


def nearest_pairs(stars: Floats, references: Floats, *, within_arcsec: float) -> tuple[Indices, Indices]:
    """Return the indices of stars and references that are each other's nearest, ``within_arcsec``."""
    if len(stars) == 0 or len(references) == 0:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    distance, other = map(np.asarray, cKDTree(references).query(stars, distance_upper_bound=within_arcsec))
    back = np.asarray(cKDTree(stars).query(references)[1])
    one = np.flatnonzero(np.isfinite(distance))
    mutual = one[back[other[one]] == one]
    return mutual, np.asarray(other[mutual], dtype=np.int64)
