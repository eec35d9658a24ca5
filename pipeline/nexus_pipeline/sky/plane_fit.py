"""Linear maps of a plane fitted to pairs of positions, with outliers clipped.

Takes positions (n, 2) in one unit and weights (n,); leaves a matrix and a shift in that unit.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.errors import InputError

Floats = NDArray[np.float64]

GEOMETRIES: Final = {"shift": 1, "rshift": 2, "rscale": 2, "general": 3}
"""What may differ, and the fewest pairs that tell it: shift; and roll; and scale; any linear map."""


@dataclass(frozen=True)
class PlaneMap:
    """``to`` = ``matrix`` · ``from`` + ``shift``."""

    matrix: Floats
    shift: Floats

    def __call__(self, positions: Floats) -> Floats:
        return np.asarray(positions @ self.matrix.T + self.shift, dtype=np.float64)

    def after(self, first: "PlaneMap") -> "PlaneMap":
        """Return the map that does ``first`` and then this one."""
        return PlaneMap(self.matrix @ first.matrix, self.matrix @ first.shift + self.shift)

    @property
    def roll_arcsec(self) -> float:
        m = self.matrix
        return float(np.rad2deg(np.arctan2(m[1, 0] - m[0, 1], m[0, 0] + m[1, 1]))) * 3600

    @property
    def scale(self) -> float:
        return float(np.sqrt(abs(np.linalg.det(self.matrix))))


@dataclass(frozen=True)
class Fit:
    """A map, which pairs it goes by, and their scatter about it along one axis."""

    map: PlaneMap
    used: NDArray[np.bool_]
    rms: float


IDENTITY: Final = PlaneMap(np.eye(2), np.zeros(2))


def check_geometry(geometry: str) -> None:
    """Raise InputError for a geometry there is not."""
    if geometry not in GEOMETRIES:
        raise InputError(f"no fit is called {geometry!r}; there are {', '.join(GEOMETRIES)}")


def fit_clipped(
    start: Floats, end: Floats, weight: Floats, *, geometry: str, sigma: float = 3.0, rounds: int = 5
) -> Fit:
    """Return the map from ``start`` to ``end``; pairs beyond ``sigma`` robust widths are left out."""
    used = np.ones(len(start), dtype=np.bool_)
    for _ in range(rounds):
        found = fit(start[used], end[used], weight[used], geometry=geometry)
        rest = end - found(start)
        # About the median: strays pull the fit away from all the others.
        rest = rest - np.median(rest[used], axis=0)
        width = 1.4826 * float(np.median(np.abs(rest[used])))
        within = np.hypot(*rest.T) <= sigma * np.sqrt(2) * max(width, 1e-9)
        if np.array_equal(within, used) or np.count_nonzero(within) < max(GEOMETRIES[geometry], 3):
            break
        used = within
    found = fit(start[used], end[used], weight[used], geometry=geometry)
    rest = (end - found(start))[used]
    return Fit(found, used, float(np.sqrt(np.mean(rest**2))))


def fit(start: Floats, end: Floats, weight: Floats, *, geometry: str) -> PlaneMap:
    """Return the weighted least-squares map of ``geometry`` from ``start`` to ``end``."""
    check_geometry(geometry)
    share = (weight / weight.sum())[:, None]
    from_middle, to_middle = (share * start).sum(axis=0), (share * end).sum(axis=0)
    p, q = start - from_middle, end - to_middle
    matrix = _matrix(p, q, share, geometry)
    return PlaneMap(matrix, to_middle - matrix @ from_middle)


def _matrix(p: Floats, q: Floats, share: Floats, geometry: str) -> Floats:
    if geometry == "shift":
        return np.eye(2)
    cross = (share * q).T @ p
    if geometry == "general":
        # Stars on one line do not tell a general map: then the smallest that fits.
        return np.asarray(cross @ np.linalg.pinv((share * p).T @ p))
    # A turn and one scale: the complex slope of q on p.
    along, across = cross[0, 0] + cross[1, 1], cross[1, 0] - cross[0, 1]
    size = np.hypot(along, across)
    scale = size / float((share * p * p).sum()) if geometry == "rscale" else 1.0
    if size == 0:
        return np.eye(2)
    return np.asarray(scale / size * np.array([[along, -across], [across, along]]))
