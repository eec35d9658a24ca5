"""footprint: the outlines of images on the sky, as polygons of great circles."""

from functools import cache

import gwcs
import numpy as np
from astropy.modeling import Model
from numpy.typing import NDArray

from nexus_pipeline.instrument.wfi import N_ACTIVE
from nexus_pipeline.products.model import Pointing
from nexus_pipeline.sky.tangent import degrees_of, directions_of

Floats = NDArray[np.float64]

PER_SIDE = 4
"""Corners per side: distortion bends a side by an arcsec, and between four of them by a tenth."""


def footprint(wcs: gwcs.WCS, *, size: int = N_ACTIVE) -> Floats:
    """Return the outline (4·PER_SIDE, 2) of an image of ``size``² pixels: RA and Dec in deg, around it."""
    ra, dec = wcs(*outline(size), with_bounding_box=False)
    return np.column_stack([ra, dec])


def footprints(distortions: list[Model], pointings: list[Pointing], *, size: int = N_ACTIVE) -> Floats:
    """Return the outlines (pointings × distortions, 4·PER_SIDE, 2) of many images, without their WCS.

    ``distortions`` are the detectors' transforms from pixels to (V2, V3). Aberration is left out (0.4″
    at the field's edge is the most it would move a corner against the middle).
    """
    v2, v3 = np.array([transform(*outline(size)) for transform in distortions]).swapaxes(0, 1)
    ideal = directions_of(v2.ravel() / 3600, v3.ravel() / 3600)
    turned = [degrees_of(ideal @ _attitude(pointing).T) for pointing in pointings]
    return np.moveaxis(np.array(turned), 1, 2).reshape(-1, v2.shape[1], 2)


@cache
def outline(size: int) -> tuple[Floats, Floats]:
    """Return x, y of the outline's corners, counterclockwise from the first pixel's outer corner."""
    low, high = -0.5, size - 0.5
    up = np.linspace(low, high, PER_SIDE, endpoint=False)
    down = up[::-1] + (high - up[-1])
    x = np.concatenate([up, np.full(PER_SIDE, high), down, np.full(PER_SIDE, low)])
    y = np.concatenate([np.full(PER_SIDE, low), up, np.full(PER_SIDE, high), down])
    return x, y


def _attitude(pointing: Pointing) -> Floats:
    """Return the rotation (3, 3) from unit vectors of (V2, V3) to those of (RA, Dec): ``v2v3_to_sky``'s."""
    degrees = [
        pointing.v2_ref_arcsec / 3600, -pointing.v3_ref_arcsec / 3600, pointing.roll_deg, pointing.dec_deg,
        -pointing.ra_deg,
    ]  # fmt: skip
    matrix = np.eye(3)
    for axis, angle in zip((2, 1, 0, 1, 2), np.deg2rad(degrees), strict=True):
        turn = np.eye(3)
        one, other = (axis + 1) % 3, (axis + 2) % 3
        turn[one, one] = turn[other, other] = np.cos(angle)
        turn[one, other], turn[other, one] = np.sin(angle), -np.sin(angle)
        matrix = turn @ matrix
    return matrix
