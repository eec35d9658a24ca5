"""World coordinates of a mosaic: a tangent plane north up, as the mission cuts its skycells.

Takes the point where the plane touches the sky and the edge in pixels; leaves a gwcs object with the frames
detector and icrs, and the block ``meta.wcsinfo`` that says the same in numbers.
"""

from dataclasses import dataclass
from typing import Any, Final

import gwcs
import numpy as np
from astropy import coordinates, units
from astropy.modeling import models
from gwcs import FITSImagingWCSTransform
from gwcs import coordinate_frames as frames

from nexus_pipeline.instrument.wfi import MOSAIC_SCALE_ARCSEC
from nexus_pipeline.sky.wcs import s_region

NO_SKYCELL: Final = "None"
"""What romancal writes where a mosaic is none of the sky map's cells."""
_NORTH_UP: Final = ((-1.0, 0.0), (0.0, 1.0))


@dataclass(frozen=True)
class MosaicGrid:
    """``size``² pixels of 0.055 arcsec about a point (ICRS degrees) where their plane touches the sky."""

    ra_deg: float
    dec_deg: float
    size: int = 5000

    @property
    def middle(self) -> float:
        """The 0-based pixel coordinate, x and y, of the point."""
        return (self.size - 1) / 2


def build(grid: MosaicGrid) -> gwcs.WCS:
    """Return the WCS of ``grid``; pixel (0, 0) is the centre of the first one, east is to lower x."""
    scale = MOSAIC_SCALE_ARCSEC / 3600
    to_sky = FITSImagingWCSTransform(
        models.Pix2Sky_TAN(),
        crpix=[grid.middle, grid.middle],
        crval=[grid.ra_deg, grid.dec_deg],
        cdelt=[scale, scale],
        pc=np.array(_NORTH_UP),
    )
    pixel = frames.Frame2D(name="detector", axes_names=("x", "y"), unit=(units.pix, units.pix))
    sky = frames.CelestialFrame(name="icrs", reference_frame=coordinates.ICRS(), unit=(units.deg, units.deg))
    wcs = gwcs.WCS([(pixel, to_sky), (sky, None)])
    wcs.bounding_box = ((-0.5, grid.size - 0.5), (-0.5, grid.size - 0.5))
    return wcs


def wcsinfo(grid: MosaicGrid) -> dict[str, Any]:
    """Return rad's ``meta.wcsinfo``; image and projection have one centre here."""
    scale = MOSAIC_SCALE_ARCSEC / 3600
    return {
        "ra_ref": grid.ra_deg,
        "dec_ref": grid.dec_deg,
        "x_ref": grid.middle,
        "y_ref": grid.middle,
        "pixel_scale_ref": scale,
        "pixel_scale": scale,
        "projection": "TAN",
        "s_region": s_region(build(grid), size=grid.size),
        "image_shape": [grid.size, grid.size],
        "ra": grid.ra_deg,
        "dec": grid.dec_deg,
        "orientation": 0.0,
        "orientation_ref": 0.0,
        "skycell_name": NO_SKYCELL,
        "rotation_matrix": [list(row) for row in _NORTH_UP],
    }
