"""Source catalogues, the simulator's input: read, checked, in one unit.

Columns (romanisim's names): ``ra``, ``dec`` (deg, ICRS), ``type`` (PSF or star, SER or galaxy); for
galaxies ``n`` (Sérsic index), ``half_light_radius`` (arcsec, of the circle of the same area), ``ba`` (axis
ratio) and ``pa`` (deg, north through east); for each filter ``F158`` (maggies) or ``mag_F158`` (AB).
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow
import pyarrow.parquet
from astropy.table import Table
from numpy.typing import NDArray

from nexus_pipeline.errors import InputError, UnreadableProductError
from nexus_pipeline.instrument.filters import AB_ZERO_JY
from nexus_pipeline.products import store

Floats = NDArray[np.float64]
STARS: Final = ("PSF", "STAR")
GALAXIES: Final = ("SER", "GALAXY")
SERSIC_RANGE: Final = (0.3, 6.2)
_SHAPE: Final = ("n", "half_light_radius", "ba", "pa")


@dataclass(frozen=True)
class Sources:
    """Sources of one filter, one entry each: ICRS degrees, janskys, and shapes (0 for stars)."""

    ra_deg: Floats
    dec_deg: Floats
    flux_jy: Floats
    is_star: NDArray[np.bool_]
    sersic_n: Floats
    half_light_radius_arcsec: Floats
    axis_ratio: Floats
    position_angle_deg: Floats

    def __len__(self) -> int:
        return len(self.ra_deg)


def read_sources(url: str, filter_name: str) -> Sources:
    """Return the sources at ``url`` (Parquet or ECSV) with their flux in ``filter_name``."""
    return sources_from_table(read_table(url), filter_name, name=url)


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


def sources_from_table(table: Table, filter_name: str, *, name: str = "the catalogue") -> Sources:
    """Return ``table`` as sources; InputError naming missing columns and impossible values."""
    _require(table, ("ra", "dec", "type"), name)
    kinds = np.char.upper(np.asarray(table["type"]).astype(str))
    is_star = np.isin(kinds, STARS)
    strange = sorted(set(kinds[~is_star & ~np.isin(kinds, GALAXIES)].tolist()))
    if strange:
        raise InputError(f"{name}: unknown types {strange}; write PSF (star) or SER (galaxy)", types=strange)
    if not is_star.all():
        _require(table, _SHAPE, name)
    shape = {key: np.where(is_star, 0.0, _column(table, key)) for key in _SHAPE}
    sources = Sources(
        _column(table, "ra"),
        _column(table, "dec"),
        _flux(table, filter_name, name),
        is_star,
        shape["n"],
        shape["half_light_radius"],
        shape["ba"],
        shape["pa"],
    )
    _check(sources, name)
    return sources


def _require(table: Table, columns: tuple[str, ...], name: str) -> None:
    missing = [column for column in columns if column not in table.colnames]
    if missing:
        found = ", ".join(table.colnames)
        raise InputError(f"{name}: lacks the columns {', '.join(missing)} (it has {found})", missing=missing)


def _column(table: Table, key: str) -> Floats:
    if key not in table.colnames:
        return np.zeros(len(table))
    column: Any = table[key]
    return np.asarray(getattr(column, "filled", lambda _: column)(np.nan), dtype=np.float64)


def _flux(table: Table, filter_name: str, name: str) -> Floats:
    """Return janskys from maggies (F158) or AB magnitudes (mag_F158)."""
    if filter_name in table.colnames:
        return _column(table, filter_name) * AB_ZERO_JY
    if f"mag_{filter_name}" in table.colnames:
        return AB_ZERO_JY * np.power(10.0, -0.4 * _column(table, f"mag_{filter_name}"))
    found = ", ".join(table.colnames)
    raise InputError(
        f"{name}: no flux for {filter_name}: write a column {filter_name} (maggies) or "
        f"mag_{filter_name} (AB magnitudes) (it has {found})",
        missing=[filter_name],
    )


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
        "an axis ratio outside 0.05…1": galaxy & ~((sources.axis_ratio >= 0.05) & (sources.axis_ratio <= 1)),
    }
    for what, wrong in tests.items():
        if wrong.any():
            raise InputError(
                f"{name}: {int(wrong.sum())} rows with {what}, the first in row {int(np.argmax(wrong))}",
                rows=np.flatnonzero(wrong)[:10].tolist(),
            )
