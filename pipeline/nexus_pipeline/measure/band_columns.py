"""The columns of a multi-band catalogue: those of the sources, and those of each filter under rad's names.

Takes the columns of single images by name; leaves one table: ``psf_flux`` of F158 is ``psf_f158_flux``, and
the flux of F106 in images brought to the PSF of F158 ``aper02_f106mf158_flux``.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
from astropy.table import Table

from nexus_pipeline.measure.columns import OUR_COLUMNS, RADII_ARCSEC, Columns, typed

OF_BAND: Final = re.compile(
    r"aper|kron_flux|kron_total|kron_abmag|segment_flux|fluxfrac|is_extended|roundness|sharpness"
    r"|psf_flux|psf_gof|psf_flags|[xy]_psf|ra_psf|dec_psf"
)
"""How the columns begin that each filter has its own of; the others are the source's."""
MATCHED: Final = re.compile(r"aper.*_flux|kron_flux|segment_flux")
_QUANTITY: Final = re.compile(r"(.*)_(flux|abmag)(_err)?")


def in_band(name: str, band: str) -> str:
    """Return the name of a column in a filter (or ``f106mf158``), as rad puts it."""
    quantity = _QUANTITY.fullmatch(name)
    if quantity is not None:
        return f"{quantity[1]}_{band}_{quantity[2]}{quantity[3] or ''}"
    base, error = (name.removesuffix("_err"), "_err") if name.endswith("_err") else (name, "")
    return f"{base}_{band}{error}"


def of_band(found: Columns, band: str) -> Columns:
    """Return the columns among ``found`` that a filter has its own of, under their names."""
    return {in_band(name, band): each for name, each in found.items() if OF_BAND.match(name)}


def of_matched(found: Columns, band: str, reference: str) -> Columns:
    """Return the fluxes of an image brought to the PSF of ``reference``, under their names."""
    both = f"{band}m{reference}"
    return {in_band(name, both): each for name, each in found.items() if MATCHED.match(name)}


def of_source(found: Columns) -> Columns:
    """Return the columns among ``found`` that are the source's, whatever the filter."""
    return {name: each for name, each in found.items() if not OF_BAND.match(name)}


def table(columns: Columns, bands: Iterable[str]) -> Table:
    """Return the catalogue of ``columns``, with types, units and descriptions."""
    ours: Mapping[str, tuple[str, str, str]] = {
        (in_band(name, band) if OF_BAND.match(name) else name): told
        for band in bands
        for name, told in OUR_COLUMNS.items()
    }
    return typed(columns, ours)


def without_sources(bands: Iterable[str], reference: str, names: Iterable[str]) -> Columns:
    """Return the columns of a catalogue without rows; ``names`` are a single image's."""
    nothing: Columns = {name: np.empty(0) for name in names}
    columns = of_source(nothing)
    for band in bands:
        columns |= of_band(nothing, band)
        if band != reference:
            columns |= of_matched(nothing, band, reference)
    return columns


def aperture_names() -> list[str]:
    """Return the names of the apertures, smallest first."""
    return [f"aper{round(radius * 10):02d}" for radius in RADII_ARCSEC]
