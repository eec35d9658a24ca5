"""The colour of sources within a filter, and the ePSF of each colour.

Takes fluxes in several filters; leaves the mean wavelength (µm) of the photons that one filter lets
through, and for each of a few bins of it an ePSF between those of the reference's spectral types. An ePSF is
a sum over wavelengths: weighed linearly in their mean, the types' stamps give back each type's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import galsim.roman
import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.psf.grid import PsfGrid, from_reference
from nexus_pipeline.references.kinds import EpsfReference
from nexus_pipeline.simulate.optics import SPECTRAL_TYPES, galsim_band

Floats = NDArray[np.float64]

STEP: Final = 0.01
"""Width of a bin, as a share of the wavelength: diffraction is then wrong by half a per cent at most."""
_BEYOND: Final = 0.03
"""So far past the reference's bluest and reddest type (as a share of the wavelength) the line is drawn on."""
_PLAIN_TYPE: Final = "G2V"
_WIDE: Final = "F146"
"""Overlaps with its neighbours: no colour is told by one of them and it."""
_STEEPEST: Final = 10.0
_HC_OVER_K_UM: Final = 1.43877e4


@dataclass(frozen=True)
class ColourPsfs:
    """The ePSFs of a detector and filter by colour; bin 0 is a G2V star's, and that of who has no colour.

    ``types`` are those of the reference's spectral types, the bluest first, ``type_um`` their mean
    wavelengths.
    """

    plain: PsfGrid
    plain_um: float
    types: tuple[PsfGrid, ...]
    type_um: Floats

    def bins(self, effective_um: Floats) -> NDArray[np.int64]:
        """Return the bin of each mean wavelength (µm), 0 for NaN."""
        ends = self.type_um[0] * (1 - _BEYOND), self.type_um[-1] * (1 + _BEYOND)
        known = np.where(np.isnan(effective_um), self.plain_um, effective_um)
        return np.rint((np.clip(known, *ends) / self.plain_um - 1) / STEP).astype(np.int64)

    def psf(self, colour_bin: int) -> PsfGrid:
        """Return the ePSF of a bin."""
        if colour_bin == 0:
            return self.plain
        um = self.plain_um * (1 + colour_bin * STEP)
        at = int(np.clip(np.searchsorted(self.type_um, um) - 1, 0, len(self.types) - 2))
        share = float((um - self.type_um[at]) / (self.type_um[at + 1] - self.type_um[at]))
        blue, red = self.types[at].coefficients, self.types[at + 1].coefficients
        return replace(self.plain, coefficients=(1 - share) * blue + share * red)


def by_colour(reference: EpsfReference, plain: PsfGrid) -> ColourPsfs | None:
    """Return the ePSFs of ``reference`` by colour, ``plain`` being its G2V; None if it has one type only."""
    filter_name = reference.filter_name
    if filter_name is None:
        return None
    known = {
        name: black_body_um(filter_name, kelvin)
        for name, kelvin in SPECTRAL_TYPES.items()
        if name in reference.spectral_types
    }
    if len(known) < 2 or _PLAIN_TYPE not in known:
        return None
    rising = sorted(known, key=lambda name: known[name])
    grids = (
        plain if name == _PLAIN_TYPE else from_reference(reference, spectral_type=name) for name in rising
    )
    return ColourPsfs(plain, known[_PLAIN_TYPE], tuple(grids), np.array([known[name] for name in rising]))


def by_fluxes(filter_name: str, fluxes: Mapping[str, Floats]) -> Floats:
    """Return the mean wavelength (µm) of each source's photons in a filter; NaN where no colour is told.

    ``fluxes`` (Jy) are by filter. The spectrum is taken for a power law between the nearest filters on
    either side, or on one side and the filter itself.
    """
    others = sorted((name for name in fluxes if name not in {filter_name, _WIDE}), key=_pivot_um)
    bluer = [name for name in others if _pivot_um(name) < _pivot_um(filter_name)][-1:]
    redder = [name for name in others if _pivot_um(name) > _pivot_um(filter_name)][:1]
    own = [filter_name] if filter_name in fluxes else []
    ends = bluer + redder if bluer and redder else [*bluer, *own, *redder]
    if len(ends) < 2:
        return np.full(len(next(iter(fluxes.values()), [])), np.nan)
    blue, red = (np.where(fluxes[name] > 0, fluxes[name], np.nan) for name in ends)
    return power_law_um(filter_name, np.log(red / blue) / np.log(_pivot_um(ends[1]) / _pivot_um(ends[0])))


def power_law_um(filter_name: str, slope: Floats) -> Floats:
    """Return the mean wavelength (µm) of detected photons of flux densities (per Hz) as λ to a ``slope``."""
    um, throughput = _band(filter_name)
    nodes = np.linspace(-_STEEPEST, _STEEPEST, 81)
    photons = throughput * um ** (nodes[:, None] - 1)
    return np.asarray(np.interp(slope, nodes, photons @ um / photons.sum(axis=1)))


def black_body_um(filter_name: str, kelvin: float) -> float:
    """Return the mean wavelength (µm) of a black body's detected photons."""
    um, throughput = _band(filter_name)
    photons = throughput / um**4 / np.expm1(_HC_OVER_K_UM / (um * kelvin))
    return float(photons @ um / photons.sum())


@lru_cache(maxsize=8)
def _pivot_um(filter_name: str) -> float:
    """Return the mean of a filter on a scale of log λ: where a power law has what the filter sees of it."""
    um, throughput = _band(filter_name)
    return float(np.exp(np.average(np.log(um), weights=throughput / um)))


@lru_cache(maxsize=8)
def _band(filter_name: str) -> tuple[Floats, Floats]:
    """Return wavelengths (µm) and the share of photons that are detected."""
    band = _bandpasses()[galsim_band(filter_name)]
    nm = np.linspace(band.blue_limit, band.red_limit, 400)
    return nm / 1e3, np.asarray(band(nm), dtype=np.float64)


@lru_cache(maxsize=1)
def _bandpasses() -> Any:
    return galsim.roman.getBandpasses()
