"""Geometry of a WFI detector and the way it is read out."""

import math
from typing import Final

N_PIXELS: Final = 4096
"""Pixels along an edge of a detector, reference border included."""
BORDER: Final = 4
"""Width of the border of reference pixels, which see no light."""
N_ACTIVE: Final = N_PIXELS - 2 * BORDER
"""Pixels along an edge of an L2 image (the border goes at the ramp fit)."""
CHANNEL_WIDTH: Final = 128
"""Columns read by one amplifier."""
N_CHANNELS: Final = N_PIXELS // CHANNEL_WIDTH
"""Amplifiers that read the pixels of a detector, side by side along x."""
AMP33_WIDTH: Final = 128
"""Columns of the 33rd output, which reads no pixel but shares the electronics of the others."""

READ_TIME_S: Final = 3.16247
"""Time between two reads of the full detector in imaging (romanisim 0.14 ``parameters.read_time``)."""

PIXEL_SCALE_ARCSEC: Final = 0.11
NOMINAL_PIXEL_AREA_SR: Final = math.radians(PIXEL_SCALE_ARCSEC / 3600) ** 2
"""Area that ``conversion_megajanskys`` and the relative pixel area refer to."""

MOSAIC_SCALE_ARCSEC: Final = 0.055
"""Pixels of the mission's mosaics."""
MOSAIC_PIXEL_AREA_SR: Final = math.radians(MOSAIC_SCALE_ARCSEC / 3600) ** 2

DETECTORS: Final = tuple(f"WFI{number:02d}" for number in range(1, 19))

V2_CENTRE_ARCSEC: Final = 1546.3846181707652
V3_CENTRE_ARCSEC: Final = -892.7916365721071
"""V2, V3 of the aperture WFI_CEN, where a pointing aims (romanisim 0.14 ``parameters.v2v3_wficen``)."""
V3_IDEAL_Y_ANGLE_DEG: Final = -60.0
"""Angle of V3 against the focal plane's ideal +Y (romanisim 0.14 ``parameters.V3IdlYAngle``)."""

SATURATION_DN: Final = 65535
"""Highest number the analogue-digital converter gives."""


def active(shape: tuple[int, int], border: int = BORDER) -> tuple[slice, slice]:
    """Return the slices of the light-sensitive pixels in a frame of ``shape`` with its border."""
    return slice(border, shape[0] - border), slice(border, shape[1] - border)
