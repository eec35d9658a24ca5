"""The light behind the sources: zodiacal light, stray light and the telescope's own glow.

Takes filter, place on the sky and date; leaves surface brightness in MJy/sr. Zodiacal tables and
thermal rates are those of ``galsim.roman`` (Roman technical page, October 2023).
"""

from datetime import datetime
from typing import Final

import galsim
import galsim.roman

from nexus_pipeline.instrument.filters import megajanskys_per_sr
from nexus_pipeline.instrument.wfi import PIXEL_SCALE_ARCSEC
from nexus_pipeline.simulate.optics import galsim_band

TYPICAL_ZODI_E_S_PIXEL: Final = {
    "F062": 0.25,
    "F087": 0.25,
    "F106": 0.27,
    "F129": 0.28,
    "F146": 0.90,
    "F158": 0.26,
    "F184": 0.16,
    "F213": 0.12,
}
"""Zodiacal light (e/s in a nominal pixel) at 1.2 times the darkest sky (Roman technical page, 2023)."""


def background_mjysr(
    detector: str, filter_name: str, *, ra_deg: float, dec_deg: float, date: datetime
) -> float:
    """Return the sky plus thermal background; where Roman cannot point on ``date``, the typical sky."""
    electrons = _zodiacal(filter_name, ra_deg, dec_deg, date) * (1 + galsim.roman.stray_light_fraction)
    electrons += galsim.roman.thermal_backgrounds[galsim_band(filter_name)]
    return float(electrons * megajanskys_per_sr(detector, filter_name))


def _zodiacal(filter_name: str, ra_deg: float, dec_deg: float, date: datetime) -> float:
    """Return electrons per second in a nominal pixel."""
    place = galsim.CelestialCoord(ra_deg * galsim.degrees, dec_deg * galsim.degrees)
    band = galsim.roman.getBandpasses()[galsim_band(filter_name)]
    try:
        level = galsim.roman.getSkyLevel(band, world_pos=place, date=date.replace(tzinfo=None), exptime=1.0)
    except galsim.GalSimValueError:
        return TYPICAL_ZODI_E_S_PIXEL[filter_name]
    return float(level) * PIXEL_SCALE_ARCSEC**2
