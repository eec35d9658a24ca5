"""Imaging filters: where they lie and what they collect.

Counts for AB = 0 (3631 Jy) in electrons per second and detector come from the effective areas of
the Roman Technical Information repository (2024-03-01) as integrated by romanisim 0.14
(``models.bandpass.get_abflux``); the band edges are those of that repository's
``filter_parameters.ecsv`` (2024-07-25).
"""

import math
from typing import Final

from nexus_pipeline.instrument.wfi import NOMINAL_PIXEL_AREA_SR

BAND_UM: Final = {
    "F062": (0.480, 0.760),
    "F087": (0.760, 0.977),
    "F106": (0.927, 1.192),
    "F129": (1.131, 1.454),
    "F146": (0.927, 2.000),
    "F158": (1.380, 1.774),
    "F184": (1.683, 2.000),
    "F213": (1.950, 2.300),
}
IMAGING_FILTERS: Final = tuple(BAND_UM)
SPECTRAL_ELEMENTS: Final = ("GRISM", "PRISM")
AB_ZERO_JY: Final = 3631.0
PLANCK_J_S: Final = 6.62607015e-34

# fmt: off
_ZERO_POINT_1E10_E_S: Final = {
    "F062": (4.26809, 4.39315, 4.37071, 4.13566, 4.38076, 4.43871, 4.37652, 4.54287, 4.43838,
             4.38095, 4.42552, 4.22163, 4.36865, 4.38460, 4.63646, 4.61275, 4.88117, 4.68733),
    "F087": (3.09402, 3.30578, 3.26048, 3.22213, 3.36333, 3.31730, 3.25084, 3.36928, 3.41818,
             3.28952, 3.36421, 3.23187, 3.30991, 3.33242, 3.36203, 3.34145, 3.50967, 3.41065),
    "F106": (3.35824, 3.47292, 3.42528, 3.40445, 3.50076, 3.56314, 3.46040, 3.45629, 3.54282,
             3.43773, 3.44132, 3.63727, 3.35209, 3.50143, 3.37134, 3.36963, 3.64055, 3.77763),
    "F129": (3.37122, 3.43139, 3.41807, 3.40031, 3.50016, 3.55677, 3.46557, 3.44599, 3.54892,
             3.41410, 3.44173, 3.64387, 3.33505, 3.46959, 3.36553, 3.34760, 3.62268, 3.85630),
    "F146": (10.36208, 10.74148, 10.62964, 10.58620, 10.86424, 11.11196, 10.70846, 10.69837, 11.00883,
             10.63524, 10.72221, 11.30209, 10.42627, 10.87098, 10.50347, 10.46900, 11.25285, 11.72003),
    "F158": (3.38089, 3.52997, 3.49743, 3.47869, 3.56930, 3.66756, 3.51366, 3.51016, 3.62524,
             3.49450, 3.53874, 3.71654, 3.43792, 3.57737, 3.46599, 3.44838, 3.68241, 3.82631),
    "F184": (2.19719, 2.31836, 2.31387, 2.30157, 2.32153, 2.41723, 2.27674, 2.24199, 2.32751,
             2.22123, 2.32038, 2.46693, 2.27075, 2.34669, 2.29263, 2.26675, 2.36869, 2.46090),
    "F213": (2.11837, 2.20246, 2.19651, 2.20106, 2.21118, 2.33860, 2.17425, 2.13978, 2.22359,
             2.10295, 2.20458, 2.39264, 2.15531, 2.23592, 2.17209, 2.16987, 2.27739, 2.37657),
}
# fmt: on


def ab_zero_point(detector: str, filter_name: str) -> float:
    """Return the electrons per second that a source of AB = 0 gives on ``detector`` through ``filter_name``.

    Raises KeyError for an element that takes no images, IndexError for a detector that is not there.
    """
    return _ZERO_POINT_1E10_E_S[filter_name][int(detector[3:]) - 1] * 1e10


def megajanskys_per_sr(detector: str, filter_name: str) -> float:
    """Return the surface brightness (MJy/sr) that gives one electron per second in a nominal pixel."""
    return AB_ZERO_JY * 1e-6 / ab_zero_point(detector, filter_name) / NOMINAL_PIXEL_AREA_SR


def central_wavelength_um(filter_name: str) -> float:
    """Return the middle of the band."""
    return sum(BAND_UM[filter_name]) / 2


def mean_effective_area_m2(detector: str, filter_name: str) -> float:
    """Return the effective area of a top hat over the band that gives the filter's zero point."""
    shortest, longest = BAND_UM[filter_name]
    photons_per_m2 = AB_ZERO_JY * 1e-26 / PLANCK_J_S * math.log(longest / shortest)
    return ab_zero_point(detector, filter_name) / photons_per_m2
