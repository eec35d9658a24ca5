"""World coordinates of an idealised mosaic: a plane about its middle, north up, none of the skymap's."""

from dataclasses import dataclass
from typing import Any

import gwcs

from nexus_pipeline.instrument.wfi import MOSAIC_SCALE_ARCSEC
from nexus_pipeline.sky import sky_grid
from nexus_pipeline.sky.sky_grid import SkyGrid


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
    return sky_grid.wcs_of(_plain(grid))


def wcsinfo(grid: MosaicGrid) -> dict[str, Any]:
    """Return rad's ``meta.wcsinfo``; image and projection have one centre here."""
    return sky_grid.wcsinfo_of(_plain(grid))


def _plain(grid: MosaicGrid) -> SkyGrid:
    return sky_grid.about(
        grid.ra_deg, grid.dec_deg, nx=grid.size, ny=grid.size, scale_arcsec=MOSAIC_SCALE_ARCSEC
    )
