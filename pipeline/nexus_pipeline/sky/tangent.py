"""The gnomonic plane about a point of the sky: unit vectors to arcsec east and north, and back."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ARCSEC_PER_RADIAN = float(np.rad2deg(1) * 3600)


@dataclass(frozen=True)
class TangentPlane:
    """The plane that touches the sphere at ``axes[0]``; ``axes`` (3, 3) are outward, east and north."""

    axes: Floats

    def project(self, directions: Floats) -> Floats:
        """Return positions (n, 2) in arcsec of unit vectors (n, 3) of the same half of the sky."""
        local = directions @ self.axes.T
        return np.asarray(local[:, 1:] / local[:, :1] * _ARCSEC_PER_RADIAN, dtype=np.float64)

    def raise_to_sky(self, positions: Floats) -> Floats:
        """Return the unit vectors (n, 3) of positions (n, 2) in arcsec."""
        local = np.column_stack([np.ones(len(positions)), positions / _ARCSEC_PER_RADIAN])
        vectors = local @ self.axes
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1)[:, None], dtype=np.float64)


def plane_about(directions: Floats) -> TangentPlane:
    """Return the plane about the middle of unit vectors (n, 3)."""
    outward = directions.mean(axis=0)
    outward /= np.linalg.norm(outward)
    east = np.cross([0.0, 0.0, 1.0], outward)
    # At a pole any direction is east.
    east = east / np.linalg.norm(east) if np.linalg.norm(east) > 1e-9 else np.array([0.0, 1.0, 0.0])
    return TangentPlane(np.stack([outward, east, np.cross(outward, east)]))


def plane_at(ra_deg: float, dec_deg: float) -> TangentPlane:
    """Return the plane that touches the sky at a position; at a pole, north lies along the meridian of RA."""
    ra, dec = np.deg2rad(ra_deg), np.deg2rad(dec_deg)
    outward = [np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)]
    north = [-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)]
    return TangentPlane(np.array([outward, [-np.sin(ra), np.cos(ra), 0.0], north]))


def directions_of(ra_deg: Floats, dec_deg: Floats) -> Floats:
    """Return unit vectors (n, 3) of positions in degrees."""
    ra, dec = np.deg2rad(ra_deg), np.deg2rad(dec_deg)
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


def degrees_of(directions: Floats) -> tuple[Floats, Floats]:
    """Return RA in [0, 360) and Dec of unit vectors (n, 3), degrees."""
    ra = np.rad2deg(np.arctan2(directions[:, 1], directions[:, 0])) % 360
    return ra, np.rad2deg(np.arctan2(directions[:, 2], np.hypot(directions[:, 0], directions[:, 1])))
