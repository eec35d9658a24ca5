"""Spectra of sources through the filters: what a flux in one filter is in another.

Takes spectra by name: a table's (columns ``sed``, ``wavelength`` and ``flux``, several rows each; µm and Jy
where the columns have no units) or ``blackbody-5800`` and the like; leaves fluxes as AB magnitudes mean
them, ratios of photons counted, in Jy. Throughputs are those of ``galsim.roman`` (October 2023), the
integrals synphot's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import astropy.units as u
import galsim.roman
import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from synphot import Observation, SourceSpectrum, SpectralElement
from synphot.exceptions import SynphotError
from synphot.models import BlackBodyNorm1D, ConstFlux1D, Empirical1D

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.filters import AB_ZERO_JY
from nexus_pipeline.simulate.optics import galsim_band

Floats = NDArray[np.float64]

BLACK_BODY: Final = "blackbody-"
_ANGSTROM_PER_UM: Final = 1e4
_WAVELENGTH_DECIMALS: Final = 7
_AREA: Final = 1.0 * u.cm**2


@dataclass(frozen=True)
class Sed:
    """A spectrum: rising wavelengths (µm) and flux densities (Jy) at them."""

    wavelength_um: Floats
    flux_jy: Floats


def seds_from_table(table: Table, *, name: str = "the spectra") -> dict[str, Sed]:
    """Return the spectra in ``table``; InputError for missing columns, units or values."""
    missing = [column for column in ("sed", "wavelength", "flux") if column not in table.colnames]
    if missing:
        raise InputError(f"{name}: lacks the columns {', '.join(missing)}", missing=missing)
    try:
        wavelength = u.Quantity(table["wavelength"], table["wavelength"].unit or u.um)
        flux = u.Quantity(table["flux"], table["flux"].unit or u.Jy)
        um = wavelength.to_value(u.um)
        jansky = flux.to_value(u.Jy, equivalencies=u.spectral_density(wavelength))
    except (u.UnitsError, TypeError) as error:
        raise InputError(f"{name}: wavelength or flux: {error}") from error
    labels = np.asarray(table["sed"]).astype(str)
    return {str(label): _sed(um, jansky, labels == label, f"{name}: {label}") for label in np.unique(labels)}


def flux_jy(sed_name: str, filter_name: str, seds: Mapping[str, Sed]) -> float:
    """Return the flux of a spectrum in a filter; only ratios of it mean anything for a black body.

    Raises InputError for a name nobody knows and a spectrum that does not cover the filter.
    """
    band = _throughput(filter_name)
    flat = SourceSpectrum(ConstFlux1D, amplitude=AB_ZERO_JY * u.Jy)
    try:
        counts = Observation(_spectrum(sed_name, band, seds), band).countrate(_AREA)
    except SynphotError as error:
        raise InputError(f"the spectrum {sed_name!r} and {filter_name}: {error}", sed=sed_name) from error
    return float(AB_ZERO_JY * counts / Observation(flat, band).countrate(_AREA))


def effective_um(sed_name: str, filter_name: str, seds: Mapping[str, Sed]) -> float | None:
    """Return the mean wavelength (µm) of a spectrum's detected photons.

    None for a name nobody knows and a spectrum that does not cover the filter: no colour is told.
    """
    band = _throughput(filter_name)
    try:
        seen = Observation(_spectrum(sed_name, band, seds), band)
        return float(seen.effective_wavelength(binned=False).to_value(u.um))
    except (SynphotError, InputError):
        return None


def _sed(um: Floats, jansky: Floats, rows: NDArray[np.bool_], name: str) -> Sed:
    order = np.argsort(um[rows])
    wavelength, flux = um[rows][order], jansky[rows][order]
    whole = np.isfinite(wavelength).all() and np.isfinite(flux).all() and (flux >= 0).all()
    if not whole or wavelength.size < 2 or (np.diff(wavelength) <= 0).any() or wavelength[0] <= 0:
        raise InputError(
            f"{name}: a spectrum needs two or more different wavelengths and no negative flux or NaN"
        )
    return Sed(wavelength, flux)


@lru_cache(maxsize=8)
def _throughput(filter_name: str) -> Any:
    band = galsim.roman.getBandpasses()[galsim_band(filter_name)]
    nanometres = np.asarray(band.wave_list)
    return SpectralElement(Empirical1D, points=10 * nanometres, lookup_table=band(nanometres))


def _spectrum(name: str, band: Any, seds: Mapping[str, Sed]) -> Any:
    if name in seds:
        sed = seds[name]
        # synphot is linear in photons between nodes, the table in janskys: the filter's nodes as well.
        fine = band.waveset.value / _ANGSTROM_PER_UM
        fine = fine[(fine > sed.wavelength_um[0]) & (fine < sed.wavelength_um[-1])]
        um = np.unique(np.round(np.concatenate([sed.wavelength_um, fine]), _WAVELENGTH_DECIMALS))
        flux = np.interp(um, sed.wavelength_um, sed.flux_jy)
        return SourceSpectrum(Empirical1D, points=um * u.um, lookup_table=flux * u.Jy)
    kelvin = name.removeprefix(BLACK_BODY)
    if name.startswith(BLACK_BODY) and kelvin.isdigit() and int(kelvin) > 0:
        return SourceSpectrum(BlackBodyNorm1D, temperature=float(kelvin))
    known = ", ".join([*seds, f"{BLACK_BODY}<kelvin>"])
    raise InputError(f"no spectrum {name!r}: there are {known}", sed=name)
