"""Where the eighteen detectors sit in the telescope's V2, V3 frame.

Detector centres are the flight design's focal-plane positions in millimetres (the design GalSim's
``galsim.roman`` WCS reproduces to 0.4 mm), turned into arcseconds by the nominal plate scale.
"""

from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.instrument.wfi import V2_CENTRE_ARCSEC, V3_CENTRE_ARCSEC, V3_IDEAL_Y_ANGLE_DEG

ARCSEC_PER_MM = 11.0
"""0.11 arcsec pixels of 0.01 mm."""

_CENTRES_MM = {
    "WFI01": (-22.14, 12.15),
    "WFI02": (-22.29, -37.03),
    "WFI03": (-22.44, -82.06),
    "WFI04": (-66.42, 20.90),
    "WFI05": (-66.92, -28.28),
    "WFI06": (-67.42, -73.06),
    "WFI07": (-110.70, 42.20),
    "WFI08": (-111.48, -6.98),
    "WFI09": (-112.64, -51.06),
    "WFI10": (22.14, 12.15),
    "WFI11": (22.29, -37.03),
    "WFI12": (22.44, -82.06),
    "WFI13": (66.42, 20.90),
    "WFI14": (66.92, -28.28),
    "WFI15": (67.42, -73.06),
    "WFI16": (110.70, 42.20),
    "WFI17": (111.48, -6.98),
    "WFI18": (112.64, -51.06),
}


@dataclass(frozen=True)
class Placement:
    """One detector's centre (arcsec) and the 2×2 rotation from its pixel axes to V2, V3."""

    v2_arcsec: float
    v3_arcsec: float
    rotation: NDArray[np.float64]


def placement(detector: str) -> Placement:
    """Return where ``detector`` lies (SIAF parity -1); raises KeyError for a name that is not WFI01…WFI18."""
    x_mm, y_mm = _CENTRES_MM[detector]
    angle = radians(V3_IDEAL_Y_ANGLE_DEG)
    ideal = np.array([[-cos(angle), sin(angle)], [sin(angle), cos(angle)]])
    v2, v3 = ideal @ np.array([-x_mm, -y_mm]) * ARCSEC_PER_MM
    # Every third chip is mounted the other way up.
    turned = -1.0 if int(detector[3:]) % 3 == 0 else 1.0
    return Placement(V2_CENTRE_ARCSEC + v2, V3_CENTRE_ARCSEC + v3, turned * ideal)
