"""coverage: parts of the sky as MOCs, the IVOA's maps of HEALPix cells, from outlines and from places.

Takes outlines or positions in degrees (ICRS); leaves ``mocpy.MOC``, which joins, cuts and writes them.
"""

from typing import Final

import astropy.units as u
import numpy as np
from astropy.coordinates import Latitude, Longitude, SkyCoord
from mocpy import MOC
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ORDER: Final = 16
"""Cells 3.2″ wide."""
ORDERS: Final = (4, 20)
"""From 4° to 0.2″ wide."""


def cell_arcsec(order: int) -> float:
    """Return the width of a cell, the root of its area."""
    return float(3600 * np.rad2deg(np.sqrt(np.pi / 3)) / 2**order)


def of_outlines(outlines: Floats, *, order: int = ORDER) -> MOC:
    """Return what ``outlines`` (n, v, 2; RA and Dec of corners, edges are great circles) hold together.

    Cells that an edge crosses are in it: it holds all of them, and at most a cell's width more.
    """
    corners = [SkyCoord(*outline.T, unit="deg") for outline in outlines]
    return union(MOC.from_polygons(corners, max_depth=order, n_threads=1))


def of_places(ra_deg: Floats, dec_deg: Floats, *, order: int = ORDER) -> MOC:
    """Return the cells that positions lie in."""
    return MOC.from_lonlat(Longitude(ra_deg, u.deg), Latitude(dec_deg, u.deg), max_norder=order)


def union(parts: list[MOC]) -> MOC:
    """Return what any of ``parts`` covers."""
    return parts[0].union(*parts[1:]) if len(parts) > 1 else parts[0]


def square_degrees(moc: MOC) -> float:
    return float(moc.sky_fraction * 4 * np.pi * np.rad2deg(1) ** 2)
