"""skymap: the sky cut in projection regions, each a tangent plane with one pixel grid, and these in skycells.

Takes the table of both, the mission's or one of ``tessellation``; tells which skycells a footprint touches.
Regions are boxes of RA and Dec; what a box holds belongs to it alone, while the skycells of neighbouring
regions overlap. Pixel (0, 0) is the middle of the first; x runs to the east where ``orientat`` is 0, as in
romancal's mosaics.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from nexus_pipeline.errors import InputError
from nexus_pipeline.sky.tangent import TangentPlane, directions_of, plane_at

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

NXY: Final = 5000
BORDER_PIXELS: Final = 100
PIXEL_SCALE_ARCSEC: Final = 0.055
REGION_COLUMNS: Final = np.dtype(
    [
        ("index", "<i4"), ("ra_tangent", "<f8"), ("dec_tangent", "<f8"), ("ra_min", "<f8"),
        ("ra_max", "<f8"), ("dec_min", "<f8"), ("dec_max", "<f8"), ("orientat", "<f4"),
        ("x_tangent", "<f8"), ("y_tangent", "<f8"), ("nx", "<i4"), ("ny", "<i4"),
        ("skycell_start", "<i4"), ("skycell_end", "<i4"),
    ]
)  # fmt: skip
SKYCELL_COLUMNS: Final = np.dtype(
    [
        ("name", "<U16"), ("ra_center", "<f8"), ("dec_center", "<f8"), ("orientat", "<f4"),
        ("x_tangent", "<f8"), ("y_tangent", "<f8"),
        *((f"{axis}_corn{corner}", "<f8") for corner in (1, 2, 3, 4) for axis in ("ra", "dec")),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class RegionPlane:
    """The pixel grid of a projection region: unit vectors (n, 3) of the sky to pixels (n, 2), and back."""

    plane: TangentPlane
    tangent_pixel: Floats
    scale_arcsec: float
    orientat_deg: float

    @property
    def _turn(self) -> Floats:
        """From pixels to east and north: a matrix to stand on the right of rows."""
        c, s = np.cos(np.deg2rad(self.orientat_deg)), np.sin(np.deg2rad(self.orientat_deg))
        return np.array([[c, -s], [s, c]])

    def pixels(self, directions: Floats) -> Floats:
        return self.tangent_pixel + self.plane.project(directions) @ self._turn.T / self.scale_arcsec

    def directions(self, pixels: Floats) -> Floats:
        return self.plane.raise_to_sky((pixels - self.tangent_pixel) @ self._turn * self.scale_arcsec)


@dataclass(frozen=True)
class Skymap:
    """Projection regions and skycells in the columns of rad's reference, with what holds for all of them."""

    regions: NDArray[np.void]
    skycells: NDArray[np.void]
    nxy: int = NXY
    border_pixels: int = BORDER_PIXELS
    pixel_scale_arcsec: float = PIXEL_SCALE_ARCSEC

    @property
    def step(self) -> int:
        """Pixels from a skycell to the next of its region."""
        return self.nxy - self.border_pixels

    def plane_of(self, region: int) -> RegionPlane:
        """Return the pixel grid of the region in row ``region``."""
        row = self.regions[region]
        return RegionPlane(
            plane_at(row["ra_tangent"], row["dec_tangent"]),
            np.array([row["x_tangent"], row["y_tangent"]]),
            self.pixel_scale_arcsec,
            float(row["orientat"]),
        )

    def region_of(self, skycell: int) -> int:
        """Return the row of the region that has the skycell in row ``skycell``."""
        return int(np.flatnonzero(self.regions["skycell_start"] <= skycell)[-1])

    def find(self, name: str) -> int:
        """Return the row of the skycell called ``name``; InputError if there is none."""
        found = np.flatnonzero(self.skycells["name"] == name)
        if not found.size:
            raise InputError(f"the skymap has no skycell {name!r} (they are called like 270p65x50y50)")
        return int(found[0])

    def region_at(self, ra_deg: float, dec_deg: float) -> int | None:
        """Return the row of the region whose box holds a position, None where the map has none."""
        found = np.flatnonzero(in_box(self.regions, np.float64(ra_deg), np.float64(dec_deg)))
        return int(found[0]) if found.size else None

    def wcs_info(self, skycell: int) -> dict[str, Any]:
        """Return what an association says of the skycell, in romancal's keys (scale in degrees)."""
        region, cell = self.regions[self.region_of(skycell)], self.skycells[skycell]
        return {
            "name": str(cell["name"]),
            "pixel_scale": self.pixel_scale_arcsec / 3600,
            "ra_projection_center": float(region["ra_tangent"]),
            "dec_projection_center": float(region["dec_tangent"]),
            "x0_projection": float(cell["x_tangent"]),
            "y0_projection": float(cell["y_tangent"]),
            "ra_center": float(cell["ra_center"]),
            "dec_center": float(cell["dec_center"]),
            "nx": self.nxy,
            "ny": self.nxy,
            "orientat": float(cell["orientat"]),
            "orientat_projection_center": float(region["orientat"]),
        }

    @cached_property
    def _centres(self) -> Floats:
        return directions_of(self.regions["ra_tangent"], self.regions["dec_tangent"])

    def reach_rad(self, region: int) -> float:
        """Return the angle from the tangent point to the farthest corner of the region's grid."""
        row = self.regions[region]
        x = max(row["x_tangent"], row["nx"] - row["x_tangent"])
        y = max(row["y_tangent"], row["ny"] - row["y_tangent"])
        return float(np.arctan(np.deg2rad(np.hypot(x, y) * self.pixel_scale_arcsec / 3600)))

    def touched_by(self, footprints: Floats) -> tuple[Indices, Indices]:
        """Return the pairs (row of ``footprints``, row of ``skycells``) that overlap, in this order.

        ``footprints`` (n, v, 2) are polygons of v corners in RA and Dec, deg, small against a region; edges
        are great circles. A footprint bent inwards counts as touching what it bends around. Unlike in
        romancal, skycells that reach over their region's box also find what lies wholly beyond it.
        """
        n, v = footprints.shape[:2]
        corners = directions_of(*footprints.reshape(-1, 2).T).reshape(n, v, 3)
        middles = corners.mean(axis=1)
        middles /= np.linalg.norm(middles, axis=1)[:, None]
        radius = float(np.arccos(np.clip(np.einsum("nvk,nk->nv", corners, middles).min(initial=1.0), -1, 1)))
        tree = KDTree(middles)
        pairs = []
        for region in range(len(self.regions)):
            near = tree.query_ball_point(
                self._centres[region], 2 * np.sin((self.reach_rad(region) + radius) / 2)
            )
            if near:
                rows = np.array(sorted(near), np.int64)
                which, cells = self._touched_in(region, corners[rows])
                pairs.append((rows[which], cells))
        if not pairs:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        which, cells = (np.concatenate(each) for each in zip(*pairs, strict=True))
        order = np.lexsort((cells, which))
        return which[order], cells[order]

    def _touched_in(self, region: int, corners: Floats) -> tuple[Indices, Indices]:
        """Return the pairs of footprints (n, v, 3), unit vectors, and skycells of ``region``."""
        n, v = corners.shape[:2]
        polygons = self.plane_of(region).pixels(corners.reshape(-1, 3)).reshape(n, v, 2)
        grid, origin = self._grid(region)
        # Of squares whose sides are the axes, those two axes are a comparison of bounds.
        first = np.floor((polygons.min(axis=1) - origin - (self.nxy - 0.5)) / self.step).astype(np.int64) + 1
        last = np.ceil((polygons.max(axis=1) - origin + 0.5) / self.step).astype(np.int64) - 1
        which, column, row = _within(np.maximum(first, 0), np.minimum(last, np.array(grid.shape[::-1]) - 1))
        cells = grid[row, column]
        known = cells >= 0
        which, cells, column, row = which[known], cells[known], column[known], row[known]
        middles = origin + np.column_stack([column, row]) * self.step + (self.nxy - 1) / 2
        apart = _apart(polygons, which, middles, self.nxy / 2)
        return which[~apart], cells[~apart]

    def _grid(self, region: int) -> tuple[Indices, Floats]:
        """Return the skycells' rows by place (ny, nx) in the region, -1 for none, and the first's pixel."""
        row = self.regions[region]
        own = self.skycells[row["skycell_start"] : row["skycell_end"]]
        places = np.column_stack([row["x_tangent"] - own["x_tangent"], row["y_tangent"] - own["y_tangent"]])
        origin = places.min(axis=0)
        column, line = np.rint((places - origin) / self.step).astype(np.int64).T
        grid = np.full((line.max() + 1, column.max() + 1), -1, np.int64)
        grid[line, column] = np.arange(row["skycell_start"], row["skycell_end"])
        return grid, origin


def _within(first: Indices, last: Indices) -> tuple[Indices, Indices, Indices]:
    """Return (row, x, y) of all whole numbers between ``first`` and ``last`` (n, 2), both included."""
    counts = np.maximum(last - first + 1, 0)
    each = counts[:, 0] * counts[:, 1]
    which = np.repeat(np.arange(len(first)), each)
    nth = np.arange(each.sum()) - np.repeat(np.cumsum(each) - each, each)
    return which, first[which, 0] + nth % counts[which, 0], first[which, 1] + nth // counts[which, 0]


def _apart(polygons: Floats, which: Indices, middles: Floats, half: float) -> NDArray[np.bool_]:
    """Say of polygons ``which`` and squares about ``middles`` whether a polygon's edge parts them.

    Of convex ones: what no edge's direction tells apart overlaps (theorem of the separating axis).
    """
    edges = np.roll(polygons, -1, axis=1) - polygons
    normals = np.stack([edges[..., 1], -edges[..., 0]], axis=-1)
    along = np.einsum("nak,nvk->nav", normals, polygons)
    low, high = along.min(axis=2), along.max(axis=2)
    apart = np.zeros(len(which), np.bool_)
    for axis in range(polygons.shape[1]):
        normal = normals[which, axis]
        middle, reach = np.einsum("pk,pk->p", normal, middles), half * np.abs(normal).sum(axis=1)
        apart |= (middle + reach <= low[which, axis]) | (middle - reach >= high[which, axis])
    return apart


def in_box(box: Any, ra_deg: Any, dec_deg: Any) -> NDArray[np.bool_]:
    """Say which positions lie in a region's box, or which boxes hold one; its south and west belong to it."""
    width = (box["ra_max"] - box["ra_min"]) % 360
    inside = ((ra_deg - box["ra_min"]) % 360 < width) | (width == 0)
    top = (dec_deg < box["dec_max"]) | ((box["dec_max"] == 90) & (dec_deg == 90))
    return np.asarray(inside & (dec_deg >= box["dec_min"]) & top)
