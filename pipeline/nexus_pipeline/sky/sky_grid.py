"""The pixel grid of a mosaic: a tangent plane cut in squares, on a skycell of the skymap or about a place.

Takes what an association says of its skycell, or a place; leaves the grid, its gwcs object with the frames
detector and icrs, and the block ``meta.wcsinfo`` that says the same in numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import gwcs
import numpy as np
from astropy import coordinates, units
from astropy.modeling import models
from gwcs import FITSImagingWCSTransform
from gwcs import coordinate_frames as frames
from numpy.typing import NDArray

from nexus_pipeline.errors import InputError
from nexus_pipeline.sky.tangent import TangentPlane, degrees_of, plane_at

Floats = NDArray[np.float64]

NO_SKYCELL: Final = "None"
"""What romancal writes where a mosaic is none of the sky map's cells."""
MOST_PIXELS: Final = 20_000
"""Along an edge: more is no skycell, and would not fit the memory."""


@dataclass(frozen=True)
class SkyGrid:
    """``ny`` × ``nx`` pixels of a plane that touches the sky at ``ra_deg``, ``dec_deg``, pixel ``reference``.

    ``reference`` (x, y) is 0-based and may lie far outside. y points to position angle ``orientat_deg``
    there; x runs to the east of it, or to the west where ``east_to_lower_x``.
    """

    ra_deg: float
    dec_deg: float
    reference: tuple[float, float]
    nx: int
    ny: int
    scale_arcsec: float
    orientat_deg: float = 0.0
    east_to_lower_x: bool = False
    skycell: str = NO_SKYCELL

    def __post_init__(self) -> None:
        numbers = (self.ra_deg, self.dec_deg, *self.reference, self.scale_arcsec, self.orientat_deg)
        if not np.isfinite(numbers).all() or not -90 <= self.dec_deg <= 90:
            raise InputError(f"a mosaic cannot lie about RA {self.ra_deg}, Dec {self.dec_deg}")
        if not (1 <= self.nx <= MOST_PIXELS and 1 <= self.ny <= MOST_PIXELS and self.scale_arcsec > 0):
            raise InputError(
                f"a mosaic has 1 to {MOST_PIXELS} pixels along an edge and a scale above 0, not "
                f"{self.nx} × {self.ny} of {self.scale_arcsec} arcsec"
            )

    @cached_property
    def plane(self) -> TangentPlane:
        return plane_at(self.ra_deg, self.dec_deg)

    @cached_property
    def matrix(self) -> Floats:
        """From pixels to east and north: FITS's PC, to stand on the left of columns."""
        c, s = np.cos(np.deg2rad(self.orientat_deg)), np.sin(np.deg2rad(self.orientat_deg))
        parity = -1.0 if self.east_to_lower_x else 1.0
        return np.array([[parity * c, s], [-parity * s, c]])

    def pixels(self, directions: Floats) -> Floats:
        """Return positions (n, 2) in pixels of unit vectors (n, 3)."""
        inverse = np.linalg.inv(self.matrix)
        return self.plane.project(directions) @ inverse.T / self.scale_arcsec + self.reference

    def directions(self, pixels: Floats) -> Floats:
        """Return unit vectors (n, 3) of positions (n, 2) in pixels."""
        return self.plane.raise_to_sky((pixels - self.reference) @ self.matrix.T * self.scale_arcsec)

    @property
    def centre(self) -> Floats:
        """The middle (1, 2) in pixels."""
        return np.array([[(self.nx - 1) / 2, (self.ny - 1) / 2]])

    def pixel_areas_sr(self, pixels: Floats) -> Floats:
        """Return the solid angle of pixels at (n, 2): a plane's pixels shrink with the cube of the cosine."""
        cosine = self.directions(pixels) @ self.plane.axes[0]
        return np.asarray(np.deg2rad(self.scale_arcsec / 3600) ** 2 * cosine**3)

    def at_scale(self, scale_arcsec: float) -> "SkyGrid":
        """Return the same square of sky in pixels of about ``scale_arcsec``, a whole number along an edge."""
        nx = max(round(self.nx * self.scale_arcsec / scale_arcsec), 1)
        ny = max(round(self.ny * self.scale_arcsec / scale_arcsec), 1)
        ratio = self.nx / nx
        x, y = ((at + 0.5) / ratio - 0.5 for at in self.reference)
        return replace(self, nx=nx, ny=ny, reference=(x, y), scale_arcsec=self.scale_arcsec * ratio)


def on_skycell(info: Mapping[str, Any]) -> SkyGrid:
    """Return the grid of a skycell, told in romancal's keys; InputError if it makes no sense."""
    try:
        return SkyGrid(
            ra_deg=float(info["ra_projection_center"]),
            dec_deg=float(info["dec_projection_center"]),
            reference=(float(info["x0_projection"]), float(info["y0_projection"])),
            nx=int(info["nx"]),
            ny=int(info["ny"]),
            scale_arcsec=float(info["pixel_scale"]) * 3600,
            orientat_deg=float(info.get("orientat_projection_center", info.get("orientat", 0.0))),
            skycell=str(info["name"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"the association's skycell makes no sense ({type(error).__name__}: {error})"
        ) from error


def about(ra_deg: float, dec_deg: float, *, nx: int, ny: int, scale_arcsec: float) -> SkyGrid:
    """Return a grid about a place where its plane touches the sky: north up, east to lower x."""
    middle = ((nx - 1) / 2, (ny - 1) / 2)
    return SkyGrid(ra_deg, dec_deg, middle, nx, ny, scale_arcsec, east_to_lower_x=True)


def around(directions: Floats, *, scale_arcsec: float) -> SkyGrid:
    """Return the smallest grid about the middle of unit vectors (n, 3) that holds them all."""
    middle = directions.mean(axis=0)
    ra, dec = degrees_of(middle[None] / np.linalg.norm(middle))
    one = about(float(ra[0]), float(dec[0]), nx=1, ny=1, scale_arcsec=scale_arcsec)
    nx, ny = (int(2 * np.ceil(reach + 0.5)) for reach in np.abs(one.pixels(directions)).max(axis=0))
    return about(float(ra[0]), float(dec[0]), nx=nx, ny=ny, scale_arcsec=scale_arcsec)


def wcs_of(grid: SkyGrid) -> gwcs.WCS:
    """Return the WCS of ``grid``; pixel (0, 0) is the centre of the first one."""
    scale = grid.scale_arcsec / 3600
    to_sky = FITSImagingWCSTransform(
        models.Pix2Sky_TAN(),
        crpix=list(grid.reference),
        crval=[grid.ra_deg, grid.dec_deg],
        cdelt=[scale, scale],
        pc=grid.matrix,
    )
    pixel = frames.Frame2D(name="detector", axes_names=("x", "y"), unit=(units.pix, units.pix))
    sky = frames.CelestialFrame(name="icrs", reference_frame=coordinates.ICRS(), unit=(units.deg, units.deg))
    wcs = gwcs.WCS([(pixel, to_sky), (sky, None)])
    wcs.bounding_box = ((-0.5, grid.nx - 0.5), (-0.5, grid.ny - 0.5))
    wcs.array_shape = (grid.ny, grid.nx)
    return wcs


def wcsinfo_of(grid: SkyGrid) -> dict[str, Any]:
    """Return rad's ``meta.wcsinfo``: of the projection's reference, and of the image's middle."""
    ra, dec = degrees_of(grid.directions(grid.centre))
    area = float(grid.pixel_areas_sr(grid.centre)[0])
    return {
        "ra_ref": grid.ra_deg,
        "dec_ref": grid.dec_deg,
        "x_ref": grid.reference[0],
        "y_ref": grid.reference[1],
        "pixel_scale_ref": grid.scale_arcsec / 3600,
        "pixel_scale": float(np.rad2deg(np.sqrt(area))),
        "projection": "TAN",
        "s_region": s_region(grid),
        "image_shape": [grid.ny, grid.nx],
        "ra": float(ra[0]),
        "dec": float(dec[0]),
        "orientation": _orientation(grid),
        "orientation_ref": grid.orientat_deg % 360,
        "skycell_name": grid.skycell,
        "rotation_matrix": grid.matrix.tolist(),
    }


def of_wcsinfo(info: Mapping[str, Any]) -> SkyGrid:
    """Return the grid that ``wcsinfo_of`` tells of; InputError if it makes no sense."""
    try:
        ny, nx = (int(size) for size in info["image_shape"])
        (first, _), _ = info["rotation_matrix"]
        c = np.cos(np.deg2rad(float(info["orientation_ref"])))
        return SkyGrid(
            ra_deg=float(info["ra_ref"]),
            dec_deg=float(info["dec_ref"]),
            reference=(float(info["x_ref"]), float(info["y_ref"])),
            nx=nx,
            ny=ny,
            scale_arcsec=float(info["pixel_scale_ref"]) * 3600,
            orientat_deg=float(info["orientation_ref"]),
            east_to_lower_x=bool(float(first) * c < 0),
            skycell=str(info["skycell_name"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"a mosaic's world coordinates make no sense ({type(error).__name__}: {error})"
        ) from error


def s_region(grid: SkyGrid) -> str:
    """Return the footprint as the archive's polygon string, corners of the corner pixels in order."""
    right, top = grid.nx - 0.5, grid.ny - 0.5
    corners = np.array([[-0.5, -0.5], [right, -0.5], [right, top], [-0.5, top]])
    ra, dec = degrees_of(grid.directions(corners))
    return "POLYGON ICRS " + " ".join(f"{a:.9f} {d:.9f}" for a, d in zip(ra, dec, strict=True))


def _orientation(grid: SkyGrid) -> float:
    """Return the position angle of y at the middle of the image, degrees."""
    here, there = grid.directions(grid.centre + np.array([[0.0, 0.0], [0.0, 100.0]]))
    ra, dec = degrees_of(here[None])
    east, north = plane_at(float(ra[0]), float(dec[0])).project(there[None])[0]
    return float(np.rad2deg(np.arctan2(east, north)) % 360)
