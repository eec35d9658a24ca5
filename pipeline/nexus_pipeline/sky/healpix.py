"""HEALPix as an index of catalogues: which partition a place lies in, and which ones lie near it.

Takes positions (ICRS degrees); leaves numbers of order 29 (nested), partitions of a limited number of rows,
and the rows that lie within a margin of partitions that are not their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import astropy.units as u
import cdshealpix
import numpy as np
from astropy.coordinates import Latitude, Longitude
from numpy.typing import NDArray
from scipy.spatial import KDTree

from nexus_pipeline.sky.tangent import degrees_of, directions_of

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

INDEX_ORDER: Final = 29
HIGHEST_ORDER: Final = 12
"""Of a partition, 51″ wide: a margin must stay small beside it."""
_BASE_CELLS: Final = 12
_BEARINGS: Final = 32
_ROWS_AT_ONCE: Final = 50_000


@dataclass(frozen=True)
class Partition:
    """HEALPix cell ``pixel`` (nested) of ``order`` and the rows in it, or near it, in order."""

    order: int
    pixel: int
    rows: Indices

    @property
    def first(self) -> int:
        """The first of its cells of order 29."""
        return self.pixel << 2 * (INDEX_ORDER - self.order)

    @property
    def beyond(self) -> int:
        """The first cell of order 29 after its own."""
        return (self.pixel + 1) << 2 * (INDEX_ORDER - self.order)


def index_of(ra_deg: Floats, dec_deg: Floats) -> Indices:
    """Return the cells of order 29 that positions lie in."""
    if not len(ra_deg):
        return np.empty(0, np.int64)
    cells = cdshealpix.lonlat_to_healpix(
        Longitude(ra_deg, u.deg), Latitude(dec_deg, u.deg), np.uint8(INDEX_ORDER)
    )
    return np.asarray(cells, dtype=np.int64)


def partitions(index: Indices, *, most_rows: int) -> list[Partition]:
    """Return the cells that hold rows, in order; one of more than ``most_rows`` is cut in four.

    ``index`` is sorted. Cells of ``HIGHEST_ORDER`` are not cut, whatever they hold.
    """
    found = []
    todo = [(0, pixel) for pixel in reversed(range(_BASE_CELLS))]
    while todo:
        order, pixel = todo.pop()
        shift = 2 * (INDEX_ORDER - order)
        low, high = np.searchsorted(index, [pixel << shift, (pixel + 1) << shift])
        if high - low > most_rows and order < HIGHEST_ORDER:
            todo += [(order + 1, 4 * pixel + child) for child in (3, 2, 1, 0)]
        elif high > low:
            found.append(Partition(order, pixel, np.arange(low, high)))
    return found


def margins(
    ra_deg: Floats, dec_deg: Floats, of: Sequence[Partition], *, margin_arcsec: float
) -> list[Partition]:
    """Return the rows outside each partition of ``of`` that lie within ``margin_arcsec`` of it.

    Partitions without any are left out. A row's circle touches a cell if one of 32 points on a circle just
    around it lies in there, or if it holds one of the cell's corners: every row within the margin is found,
    and some that are up to half a per cent farther away.
    """
    directions = directions_of(ra_deg, dec_deg)
    firsts, beyond = (np.array([getattr(each, name) for each in of]) for name in ("first", "beyond"))
    own = _which(index_of(ra_deg, dec_deg), firsts, beyond)
    reach = np.deg2rad(margin_arcsec / 3600) / np.cos(np.pi / _BEARINGS)
    pairs = [_with_corners(directions, of, reach)]
    for start in range(0, len(ra_deg), _ROWS_AT_ONCE):
        rows = np.arange(start, min(start + _ROWS_AT_ONCE, len(ra_deg)))
        for bearing in np.arange(_BEARINGS) * 2 * np.pi / _BEARINGS:
            near = _which(index_of(*degrees_of(_moved(directions[rows], bearing, reach))), firsts, beyond)
            other = (near >= 0) & (near != own[rows])
            pairs.append(np.column_stack([near[other], rows[other]]))
    both = np.unique(np.concatenate(pairs), axis=0)
    both = both[own[both[:, 1]] != both[:, 0]]
    by_cell = np.split(both[:, 1], np.searchsorted(both[:, 0], np.arange(1, len(of))))
    return [
        Partition(cell.order, cell.pixel, rows) for cell, rows in zip(of, by_cell, strict=True) if len(rows)
    ]


def _which(index: Indices, firsts: Indices, beyond: Indices) -> Indices:
    """Return which partition each cell of order 29 lies in, -1 for none."""
    at = np.searchsorted(firsts, index, side="right") - 1
    inside = (at >= 0) & (index < beyond[np.maximum(at, 0)])
    return np.where(inside, at, -1)


def _with_corners(directions: Floats, of: Sequence[Partition], reach: float) -> Indices:
    """Return the pairs (partition, row) of rows within ``reach`` (rad) of a partition's corner."""
    corners = []
    for each in of:
        lon, lat = cdshealpix.vertices(np.array([each.pixel]), np.uint8(each.order))
        corners.append(directions_of(lon.to_value(u.deg).ravel(), lat.to_value(u.deg).ravel()))
    near = KDTree(directions).query_ball_point(np.concatenate(corners), 2 * np.sin(reach / 2))
    pairs = [(corner // 4, row) for corner, rows in enumerate(near) for row in rows]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _moved(directions: Floats, bearing: float, angle: float) -> Floats:
    """Return unit vectors an ``angle`` away along ``bearing`` from any axis across, poles included."""
    helper = np.where(np.abs(directions[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    across = np.cross(helper, directions)
    across /= np.linalg.norm(across, axis=1)[:, None]
    up = np.cross(directions, across)
    side = np.cos(bearing) * up + np.sin(bearing) * across
    return np.asarray(np.cos(angle) * directions + np.sin(angle) * side, dtype=np.float64)
