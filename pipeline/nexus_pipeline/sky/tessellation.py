"""tessellation: a skymap of our own, in the columns of the mission's.

Bands of declination about 3.2° high, cut in boxes about as wide, a cap at each pole. A box becomes a
projection region about its middle, with every skycell whose core (what lies within half the shared border)
it holds or cuts. Names are the mission's: the middle's whole degrees, then the place in the region, 50 in the
middle: 270p65x50y50.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.sky.skymap import (
    BORDER_PIXELS,
    NXY,
    PIXEL_SCALE_ARCSEC,
    REGION_COLUMNS,
    SKYCELL_COLUMNS,
    Floats,
    Indices,
    RegionPlane,
    Skymap,
    in_box,
)
from nexus_pipeline.sky.tangent import TangentPlane, degrees_of, directions_of, plane_at

CAP_DEG: Final = 1.6
BAND_DEG: Final = 3.2
_MIDDLE: Final = 50
_STEP: Final = NXY - BORDER_PIXELS
# What the chord between two of them cuts off is less than half the shared border (2.75″) wide.
_OUTLINE_ARCSEC: Final = 5.0


def boxes() -> NDArray[np.void]:
    """Return the projection regions of the whole sky, south to north, without their grids."""
    n_bands = round((180 - 2 * CAP_DEG) / BAND_DEG)
    edges = np.linspace(CAP_DEG - 90, 90 - CAP_DEG, n_bands + 1)
    rows = [(0.0, -90.0, 0.0, 360.0, -90.0, edges[0])]
    for low, high in pairwise(edges):
        widest = np.cos(np.deg2rad(0.0 if low < 0 < high else min(abs(low), abs(high))))
        sides = np.linspace(0, 360, int(np.ceil(360 * widest / BAND_DEG)) + 1)
        rows += [
            ((west + east) / 2, (low + high) / 2, west, east, low, high) for west, east in pairwise(sides)
        ]
    rows.append((0.0, 90.0, 0.0, 360.0, edges[-1], 90.0))
    regions = np.zeros(len(rows), REGION_COLUMNS)
    names = ("ra_tangent", "dec_tangent", "ra_min", "ra_max", "dec_min", "dec_max")
    for name, values in zip(names, np.array(rows).T, strict=True):
        regions[name] = values
    regions["index"] = np.arange(len(rows))
    return regions


def skymap(rows: Sequence[int] | None = None) -> Skymap:
    """Return the skymap of the regions ``rows`` of ``boxes()``; of the whole sky (1.3 GB) if not said."""
    regions = boxes()
    regions = regions if rows is None else regions[list(rows)]
    regions["index"] = np.arange(len(regions))
    cells = []
    start = 0
    for region in regions:
        own = _fill(region)
        region["skycell_start"], region["skycell_end"] = start, start + len(own)
        start += len(own)
        cells.append(own)
    return Skymap(regions, np.concatenate(cells) if cells else np.zeros(0, SKYCELL_COLUMNS))


def regions_near(ra_deg: float, dec_deg: float, radius_deg: float) -> list[int]:
    """Return the rows of ``boxes()`` whose skycells may lie within ``radius_deg`` of a position."""
    regions = boxes()
    middles = directions_of(regions["ra_tangent"], regions["dec_tangent"])
    cosines = middles @ directions_of(np.array([ra_deg]), np.array([dec_deg]))[0]
    # Half the diagonal of the widest box and of a skycell.
    reach = radius_deg + BAND_DEG * 0.8
    return [int(row) for row in np.flatnonzero(cosines > np.cos(np.deg2rad(reach)))]


def _fill(region: np.void) -> NDArray[np.void]:
    """Give ``region`` its pixel grid and return its skycells, row by row."""
    plane = plane_at(region["ra_tangent"], region["dec_tangent"])
    about_middle = RegionPlane(plane, np.full(2, (NXY - 1) / 2), PIXEL_SCALE_ARCSEC, 0.0)
    places = _places(region, about_middle)
    low, high = places.min(axis=0), places.max(axis=0)
    tangent = (NXY - 1) / 2 - low * _STEP
    region["x_tangent"], region["y_tangent"] = tangent
    region["nx"], region["ny"] = (high - low) * _STEP + NXY
    return _skycells(region, places, tangent - (places - low) * _STEP, plane)


def _places(region: np.void, grid: RegionPlane) -> Indices:
    """Return the places (n, 2) of the region's skycells, (0, 0) about the tangent point, row by row."""
    outline = np.concatenate(list(_outline(region)))
    on_edge = np.rint((grid.pixels(directions_of(*outline.T)) - (NXY - 1) / 2) / _STEP).astype(np.int64)
    low, high = on_edge.min(axis=0), on_edge.max(axis=0)
    y, x = np.mgrid[low[1] : high[1] + 1, low[0] : high[0] + 1]
    every = np.column_stack([x.ravel(), y.ravel()])
    ra, dec = degrees_of(grid.directions(every * float(_STEP) + (NXY - 1) / 2))
    taken = in_box(region, ra, dec).reshape(x.shape)
    taken[on_edge[:, 1] - low[1], on_edge[:, 0] - low[0]] = True
    return every[taken.ravel()]


def _outline(region: np.void) -> Iterator[Floats]:
    """Yield the sides of the region's box, RA and Dec (n, 2), as points a few arcsec apart."""
    west, east = region["ra_min"], region["ra_max"]
    for dec in (region["dec_min"], region["dec_max"]):
        length = (east - west) * np.cos(np.deg2rad(dec))
        ra = np.linspace(west, east, int(np.ceil(length * 3600 / _OUTLINE_ARCSEC)) + 2)
        yield np.column_stack([ra, np.full(len(ra), dec)])
    if east - west < 360:
        dec = np.linspace(
            region["dec_min"],
            region["dec_max"],
            int(np.ceil((region["dec_max"] - region["dec_min"]) * 3600 / _OUTLINE_ARCSEC)) + 2,
        )
        for ra in (west, east):
            yield np.column_stack([np.full(len(dec), ra), dec])


def _skycells(region: np.void, places: Indices, tangents: Floats, plane: TangentPlane) -> NDArray[np.void]:
    cells = np.zeros(len(places), SKYCELL_COLUMNS)
    cells["name"] = _names(region, places)
    cells["x_tangent"], cells["y_tangent"] = tangents.T
    middle, edge = (NXY - 1) / 2, NXY - 0.5
    at = {"center": (middle, middle), "above": (middle, middle + 1)}
    at |= {"corn1": (-0.5, -0.5), "corn2": (edge, -0.5), "corn3": (edge, edge), "corn4": (-0.5, edge)}
    grid = RegionPlane(plane, np.zeros(2), PIXEL_SCALE_ARCSEC, 0.0)
    seen = {name: grid.directions(np.array(pixel) - tangents) for name, pixel in at.items()}
    for name, directions in seen.items():
        if name != "above":
            cells[f"ra_{name}"], cells[f"dec_{name}"] = degrees_of(directions)
    cells["orientat"] = _position_angles(seen["center"], seen["above"])
    return cells


def region_name(region: np.void) -> str:
    """Return how the names of a region's skycells begin: the whole degrees of its middle."""
    sign = "m" if region["dec_tangent"] < 0 else "p"
    return f"{round(region['ra_tangent']) % 360:03d}{sign}{round(abs(region['dec_tangent'])):02d}"


def _names(region: np.void, places: Indices) -> list[str]:
    start = region_name(region)
    return [f"{start}x{x + _MIDDLE:02d}y{y + _MIDDLE:02d}" for x, y in places.tolist()]


def _position_angles(here: Floats, there: Floats) -> Floats:
    """Return the angles east of north (deg) of the ways from unit vectors ``here`` to others close by."""
    ra = np.arctan2(here[:, 1], here[:, 0])
    east = np.column_stack([-np.sin(ra), np.cos(ra), np.zeros(len(ra))])
    north = np.cross(here, east)
    step = there - here
    return np.asarray(np.rad2deg(np.arctan2((step * east).sum(axis=1), (step * north).sum(axis=1))) % 360)
