"""Source catalogues, the simulator's input: read, checked, in one unit.

Columns (romanisim's names): ``ra``, ``dec`` (deg, ICRS), ``type`` (PSF or star, SER or galaxy); for
galaxies ``n`` (Sérsic index), ``half_light_radius`` (arcsec, of the circle of the same area), ``ba`` (axis
ratio) and ``pa`` (deg, north through east); for each filter ``F158`` (maggies) or ``mag_F158`` (AB).
A source may name its spectrum in ``sed`` (see ``seds``): its flux is then known in every filter once it is
in one, or from the spectrum alone. Such a spectrum, or fluxes in neighbouring filters, tell its colour (see
``colour``). ``variable`` names a light curve, ``ra_rate``, ``dec_rate`` and
``epoch`` tell of motion (see ``changing``). Columns with units are brought to these; without, these are
meant.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import astropy.units as u
import numpy as np
import pyarrow
import pyarrow.parquet
from astropy.table import Table
from numpy.typing import NDArray

from nexus_pipeline.errors import InputError, UnreadableProductError
from nexus_pipeline.instrument.filters import AB_ZERO_JY, IMAGING_FILTERS
from nexus_pipeline.products import store
from nexus_pipeline.simulate.changing import Moment, delta_magnitudes, moved
from nexus_pipeline.simulate.colour import by_fluxes

Floats = NDArray[np.float64]
STARS: Final = ("PSF", "STAR")
GALAXIES: Final = ("SER", "GALAXY")
SERSIC_RANGE: Final = (0.3, 6.2)
_UNITS: Final = {
    "ra": u.deg,
    "dec": u.deg,
    "pa": u.deg,
    "half_light_radius": u.arcsec,
    "ra_rate": u.arcsec / u.hour,
    "dec_rate": u.arcsec / u.hour,
    "epoch": u.day,
}
_SHAPE: Final = ("n", "half_light_radius", "ba", "pa")


@dataclass(frozen=True)
class Sources:
    """Sources of one filter, one entry each: ICRS degrees, janskys, and shapes (0 for stars).

    Rates are arcsec an hour along the sky, None where nothing moves. ``effective_um`` is the mean wavelength
    of the photons in the filter: NaN for a source without colour, None where none has one.
    """

    ra_deg: Floats
    dec_deg: Floats
    flux_jy: Floats
    is_star: NDArray[np.bool_]
    sersic_n: Floats
    half_light_radius_arcsec: Floats
    axis_ratio: Floats
    position_angle_deg: Floats
    ra_rate: Floats | None = None
    dec_rate: Floats | None = None
    effective_um: Floats | None = None

    def __len__(self) -> int:
        return len(self.ra_deg)


@dataclass(frozen=True)
class Beside:
    """What a catalogue may refer to: spectra and light curves by name, and when the exposure is."""

    seds: Mapping[str, Any] = field(default_factory=dict)
    light_curves: Table | None = None
    moment: Moment | None = None


def read_sources(url: str, filter_name: str, beside: Beside | None = None) -> Sources:
    """Return the sources at ``url`` (Parquet or ECSV) with their flux in ``filter_name``."""
    return sources_from_table(read_table(url), filter_name, beside, name=url)


def import_seds() -> Any:
    """Return the module of spectra; InputError without synphot, which nothing else needs."""
    try:
        from nexus_pipeline.simulate import seds  # noqa: PLC0415
    except ImportError as error:
        raise InputError(f"spectra need synphot ({error}): install nexus-pipeline[simulate]") from error
    return seds


def read_beside(seds_url: str | None, light_curves_url: str | None, moment: Moment) -> Beside:
    """Return the tables of spectra and light curves (Parquet or ECSV), where there are any."""
    spectra = import_seds().seds_from_table(read_table(seds_url), name=seds_url) if seds_url else {}
    return Beside(spectra, read_table(light_curves_url) if light_curves_url else None, moment)


def read_table(url: str) -> Table:
    """Return the table at ``url``; UnreadableProductError for anything but Parquet and ECSV."""
    with store.open_for_reading(url) as handle:
        try:
            if url.endswith((".parquet", ".pq")):
                content = pyarrow.parquet.read_table(handle)
                return Table({name: content[name].to_numpy() for name in content.column_names})
            return Table.read(handle.read().decode(), format="ascii.ecsv")
        except (pyarrow.ArrowException, ValueError, OSError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UnreadableProductError(
                f"{url}: neither Parquet (.parquet) nor ECSV ({reason})", url=url
            ) from error


def write_table(table: Table, url: str) -> None:
    """Put ``table`` at ``url`` as Parquet."""
    content = pyarrow.table({name: np.asarray(table[name]) for name in table.colnames})
    store.save(url, lambda handle: pyarrow.parquet.write_table(content, handle))


def sources_from_table(
    table: Table, filter_name: str, beside: Beside | None = None, *, name: str = "the catalogue"
) -> Sources:
    """Return ``table`` as sources; InputError naming missing columns and impossible values."""
    beside = beside or Beside()
    _require(table, ("ra", "dec", "type"), name)
    kinds = np.char.upper(np.asarray(table["type"]).astype(str))
    is_star = np.isin(kinds, STARS)
    strange = sorted(set(kinds[~is_star & ~np.isin(kinds, GALAXIES)].tolist()))
    if strange:
        raise InputError(f"{name}: unknown types {strange}; write PSF (star) or SER (galaxy)", types=strange)
    if not is_star.all():
        _require(table, _SHAPE, name)
    shape = {key: np.where(is_star, 0.0, _column(table, key)) for key in _SHAPE}
    rates = _column(table, "ra_rate"), _column(table, "dec_rate")
    ra_deg, dec_deg = moved(
        _column(table, "ra"),
        _column(table, "dec"),
        rates,
        epoch_mjd=_column(table, "epoch", np.nan),
        when=beside.moment,
    )
    moves = bool(rates[0].any() or rates[1].any())
    fainter = delta_magnitudes(_names(table, "variable"), beside.light_curves, beside.moment)
    sources = Sources(
        ra_deg,
        dec_deg,
        _flux(table, filter_name, name, beside.seds) * np.power(10.0, -0.4 * fainter),
        is_star,
        shape["n"],
        shape["half_light_radius"],
        shape["ba"],
        shape["pa"],
        ra_rate=rates[0] if moves else None,
        dec_rate=rates[1] if moves else None,
        effective_um=_effective_um(table, filter_name, beside.seds),
    )
    _check(sources, name)
    return sources


def _require(table: Table, columns: tuple[str, ...], name: str) -> None:
    missing = [column for column in columns if column not in table.colnames]
    if missing:
        found = ", ".join(table.colnames)
        raise InputError(f"{name}: lacks the columns {', '.join(missing)} (it has {found})", missing=missing)


def _column(table: Table, key: str, absent: float = 0.0) -> Floats:
    """Return a column in its own unit; InputError if it is in another that cannot be brought to it."""
    if key not in table.colnames:
        return np.full(len(table), absent)
    column: Any = table[key]
    try:
        values = np.asarray(getattr(column, "filled", lambda _: column)(np.nan), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"the column {key} does not hold numbers ({error})", column=key) from error
    unit, wanted = getattr(column, "unit", None), _UNITS.get(key)
    if unit is None or wanted is None:
        return values
    try:
        return np.asarray(u.Quantity(values, unit).to_value(wanted))
    except u.UnitsError as error:
        raise InputError(f"the column {key} is in {unit}, not in {wanted}", column=key) from error


def _names(table: Table, key: str) -> NDArray[np.str_]:
    if key not in table.colnames:
        return np.full(len(table), "")
    column: Any = table[key]
    return np.char.strip(np.asarray(getattr(column, "filled", lambda _: column)("")).astype(str))


def _flux(table: Table, filter_name: str, name: str, spectra: Mapping[str, Any]) -> Floats:
    """Return janskys from the filter's own column, or by the sources' spectra from another's or alone."""
    own = _own_flux(table, filter_name)
    if own is not None:
        return own
    labels = _names(table, "sed")
    if "sed" in table.colnames and (labels != "").all():
        return _flux_by_seds(table, filter_name, labels, spectra)
    found = ", ".join(table.colnames)
    raise InputError(
        f"{name}: no flux for {filter_name}: write a column {filter_name} (maggies) or "
        f"mag_{filter_name} (AB magnitudes) (it has {found})",
        missing=[filter_name],
    )


def _own_flux(table: Table, filter_name: str) -> Floats | None:
    """Return janskys from maggies (F158) or AB magnitudes (mag_F158)."""
    if filter_name in table.colnames:
        if u.Unit(table[filter_name].unit or "").is_equivalent(u.Jy):
            return np.asarray(u.Quantity(_column(table, filter_name), table[filter_name].unit).to_value(u.Jy))
        return _column(table, filter_name) * AB_ZERO_JY
    if f"mag_{filter_name}" in table.colnames:
        return AB_ZERO_JY * np.power(10.0, -0.4 * _column(table, f"mag_{filter_name}"))
    return None


def _flux_by_seds(
    table: Table, filter_name: str, labels: NDArray[np.str_], spectra: Mapping[str, Any]
) -> Floats:
    flux_jy = import_seds().flux_jy
    fluxes = ((known, _own_flux(table, known)) for known in IMAGING_FILTERS)
    anchor = next(((known, flux) for known, flux in fluxes if flux is not None), None)
    out = np.ones(len(table)) if anchor is None else anchor[1].copy()
    for label in np.unique(labels).tolist():
        if anchor is None and label not in spectra:
            raise InputError(f"{label!r} tells no flux: write a magnitude in one filter", sed=label)
        here = flux_jy(label, filter_name, spectra)
        out[labels == label] *= here / (flux_jy(label, anchor[0], spectra) if anchor else 1.0)
    return out


def _effective_um(table: Table, filter_name: str, spectra: Mapping[str, Any]) -> Floats | None:
    """Return what the sources' spectra, or else their fluxes in several filters, tell of their colour."""
    fluxes = {known: flux for known in IMAGING_FILTERS if (flux := _own_flux(table, known)) is not None}
    labels = _names(table, "sed")
    if len(fluxes) < 2 and not (labels != "").any():
        return None
    told = by_fluxes(filter_name, fluxes) if fluxes else np.full(len(table), np.nan)
    for label in np.unique(labels[labels != ""]).tolist():
        by_spectrum = import_seds().effective_um(label, filter_name, spectra)
        told[labels == label] = told[labels == label] if by_spectrum is None else by_spectrum
    return told if np.isfinite(told).any() else None


def _check(sources: Sources, name: str) -> None:
    galaxy = ~sources.is_star
    low, high = SERSIC_RANGE
    tests = {
        "ra, dec or flux that are not finite, or a negative flux": ~(
            np.isfinite(sources.ra_deg + sources.dec_deg + sources.flux_jy) & (sources.flux_jy >= 0)
        ),
        f"a Sérsic index outside {low}…{high}": galaxy
        & ~((sources.sersic_n >= low) & (sources.sersic_n <= high)),
        "a half-light radius that is not positive": galaxy & ~(sources.half_light_radius_arcsec > 0),
        "a position angle that is not finite": galaxy & ~np.isfinite(sources.position_angle_deg),
        "an axis ratio outside 0.05…1": galaxy & ~((sources.axis_ratio >= 0.05) & (sources.axis_ratio <= 1)),
    }
    for what, wrong in tests.items():
        if wrong.any():
            raise InputError(
                f"{name}: {int(wrong.sum())} rows with {what}, the first in row {int(np.argmax(wrong))}",
                rows=np.flatnonzero(wrong)[:10].tolist(),
            )
