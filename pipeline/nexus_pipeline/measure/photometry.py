"""Fluxes in circles and in the ring around them.

Takes an image of flux per pixel (background taken off) and positions; leaves fluxes in its unit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from photutils.aperture import ApertureStats, CircularAnnulus, CircularAperture, aperture_photometry

Plane = NDArray[np.float32]
Floats = NDArray[np.float64]

RADII_ARCSEC: Final = (0.1, 0.2, 0.4, 0.8, 1.6)
RING_ARCSEC: Final = (2.4, 2.8)
"""The mission's apertures and background ring (romancal 1.1)."""


@dataclass(frozen=True)
class Circles:
    """Flux in circles (n, n_radii) less the ring's level, and the ring's median per pixel, with errors."""

    flux: Floats
    flux_err: Floats
    ring: Floats
    ring_err: Floats


def circles(
    image: Plane,
    error: Plane,
    unusable: NDArray[np.bool_],
    *,
    sources: NDArray[np.bool_],
    positions: Floats,
    scale_arcsec: float,
    radii_arcsec: Sequence[float] = RADII_ARCSEC,
) -> Circles:
    """Measure circles at ``positions`` (n, 2; x, y); the ring leaves out the pixels of ``sources``.

    A pixel cut by a circle adds its share to flux and variance alike, which overstates the errors of the
    smallest circles a little. Variances are summed as images, because photutils 3.0 and 3.1 carry ``error``
    differently.
    """
    apertures = [CircularAperture(positions, radius / scale_arcsec) for radius in radii_arcsec]
    table = aperture_photometry(image, apertures, mask=unusable)
    variance = aperture_photometry(error**2, apertures, mask=unusable)
    ring, ring_err = _ring(image, unusable | sources, positions, scale_arcsec)
    columns = range(len(apertures))
    areas = np.array([aperture.area for aperture in apertures])
    flux = np.column_stack([table[f"aperture_sum_{k}"] for k in columns]) - ring[:, None] * areas
    err = np.sqrt(np.column_stack([variance[f"aperture_sum_{k}"] for k in columns]))
    return Circles(flux, np.hypot(err, ring_err[:, None] * areas), ring, ring_err)


def _ring(
    image: Plane, masked: NDArray[np.bool_], positions: Floats, scale_arcsec: float
) -> tuple[Floats, Floats]:
    """Return the median of each ring and its error; a ring that is all masked counts as level."""
    if len(positions) == 0:
        return np.empty(0), np.empty(0)
    inner, outer = (radius / scale_arcsec for radius in RING_ARCSEC)
    stats = ApertureStats(image, CircularAnnulus(positions, inner, outer), mask=masked)
    count = np.maximum(np.nan_to_num(np.atleast_1d(stats.sum_aper_area.value)), 1)
    error = np.sqrt(np.pi / 2) * np.nan_to_num(np.atleast_1d(stats.std)) / np.sqrt(count)
    return np.nan_to_num(np.atleast_1d(stats.median)).astype(np.float64), error


def circle_share(stamp: Floats, radius_pixels: float) -> float:
    """Return how much of a star's light, ``stamp`` about its middle, falls into a circle."""
    middle = (stamp.shape[0] - 1) / 2
    aperture = CircularAperture((middle, middle), radius_pixels)
    return float(aperture_photometry(stamp, aperture)["aperture_sum"][0])
