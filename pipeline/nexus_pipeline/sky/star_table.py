"""Reference stars from a local table in Gaia's columns (Parquet), brought to an epoch.

Takes ra, dec (deg, ICRS), pmra, pmdec (mas/yr, pmra with cos dec), parallax (mas) and ref_epoch (Julian
year); leaves astrometric directions as seen from the Earth's place at the epoch, without aberration.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import erfa  # type: ignore[import-untyped]
import numpy as np
import pyarrow
import pyarrow.parquet
import yaml
from astropy import units
from astropy.time import Time
from numpy.typing import NDArray

from nexus_pipeline.errors import InputError, UnreadableProductError
from nexus_pipeline.products import store

Floats = NDArray[np.float64]

UNITS: Final = {
    "ra": "deg", "dec": "deg", "pmra": "mas/yr", "pmdec": "mas/yr", "parallax": "mas", "ref_epoch": "yr",
    "ra_error": "mas", "dec_error": "mas", "pmra_error": "mas/yr", "pmdec_error": "mas/yr",
    "phot_g_mean_mag": "mag",
}  # fmt: skip
REQUIRED: Final = ("ra", "dec", "pmra", "pmdec", "parallax", "ref_epoch")
_ERRORS: Final = ("ra_error", "dec_error", "pmra_error", "pmdec_error")
_EPOCHS: Final = (1980.0, 2100.0)
_FASTEST_MAS_PER_YEAR: Final = 20_000.0
"""Barnard's star makes 10.4 arcsec a year."""
_SPACECRAFT_OVER_EARTH: Final = 1.01
"""Roman goes round the Sun at L2, 1 % farther out than the Earth, which counts for parallax only."""
_MAS: Final = np.deg2rad(1 / 3.6e6)


@dataclass(frozen=True)
class ReferenceStars:
    """Stars of a table as it has them, an entry each; unknown motions, parallaxes and errors are 0."""

    name: str
    columns: dict[str, Floats]

    def __len__(self) -> int:
        return len(self.columns["ra"])


@dataclass(frozen=True)
class StarsAtEpoch:
    """Unit vectors (n, 3), ICRS, and the error of each along one axis, arcsec."""

    name: str
    directions: Floats
    error_arcsec: Floats

    def __len__(self) -> int:
        return len(self.directions)


def read_star_table(url: str) -> ReferenceStars:
    """Return the stars of the Parquet table at ``url``.

    Raises UnreadableProductError for what is no Parquet, InputError for columns that lack, are no
    numbers, are in another unit than Gaia's, or hold what cannot be.
    """
    with store.open_for_reading(url) as handle:
        try:
            content = pyarrow.parquet.read_table(handle)
        except pyarrow.ArrowException as error:
            raise UnreadableProductError(
                f"{url}: not a Parquet file, or a truncated one ({error})", url=url
            ) from error
    missing = [name for name in REQUIRED if name not in content.column_names]
    if missing:
        raise InputError(f"{url}: no table of stars in Gaia's columns: it lacks {', '.join(missing)}")
    _check_units(url, content.schema)
    columns = {name: _numbers(url, content, name) for name in UNITS if name in content.column_names}
    _check_values(url, columns)
    placed = np.isfinite(columns["ra"]) & np.isfinite(columns["dec"]) & np.isfinite(columns["ref_epoch"])
    name = store.file_name(url).rsplit(".", 1)[0]
    return ReferenceStars(name, {key: _known(key, values[placed]) for key, values in columns.items()})


def _numbers(url: str, content: pyarrow.Table, name: str) -> Floats:
    try:
        return np.asarray(content[name].to_numpy(), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{url}: column {name} does not hold numbers ({error})") from error


def _known(name: str, values: Floats) -> Floats:
    # Gaia's two-parameter solutions have no motion and no parallax.
    return values if name == "phot_g_mean_mag" else np.nan_to_num(values)


def _check_units(url: str, schema: pyarrow.Schema) -> None:
    for name, told in _told_units(schema).items():
        if name in UNITS and not _same(told, UNITS[name]):
            raise InputError(f"{url}: column {name} is in {told}; Gaia's unit is {UNITS[name]}")


def _told_units(schema: pyarrow.Schema) -> dict[str, str]:
    """Return units by column as our catalogues (field metadata) and astropy (a YAML header) tell them."""
    told = {field.name: (field.metadata or {}).get(b"unit", b"").decode() for field in schema}
    header = (schema.metadata or {}).get(b"table_meta_yaml")
    if header is not None:
        # Tags like !astropy.units.Unit make no sense to a plain reader: only the words matter.
        for column in yaml.load(header, Loader=yaml.BaseLoader).get("datatype", ()):  # noqa: S506 - makes texts only
            told[column["name"]] = told.get(column["name"]) or _word(column.get("unit", ""))
    return {name: unit for name, unit in told.items() if unit not in ("", "None", "none")}


def _word(unit: Any) -> str:
    return str(unit["unit"] if isinstance(unit, dict) else unit)


def _same(told: str, wanted: str) -> bool:
    try:
        return bool(units.Unit(told) == units.Unit(wanted))
    except ValueError:
        return False


def _check_values(url: str, columns: dict[str, Floats]) -> None:
    epochs = columns["ref_epoch"][np.isfinite(columns["ref_epoch"])]
    fastest = np.nanmax(np.abs([columns["pmra"], columns["pmdec"]]), initial=0)
    wrong = {
        "ra does not lie in 0 to 360 degrees": np.any((columns["ra"] < 0) | (columns["ra"] > 360)),
        "dec does not lie in -90 to 90 degrees": np.any(np.abs(columns["dec"]) > 90),
        "ref_epoch is no Julian year": np.any((epochs < _EPOCHS[0]) | (epochs > _EPOCHS[1])),
        "proper motions exceed 20 arcsec a year": fastest > _FASTEST_MAS_PER_YEAR,
    }
    for what, true in wrong.items():
        if true:
            raise InputError(f"{url}: {what}")


def at_epoch(stars: ReferenceStars, when: datetime) -> StarsAtEpoch:
    """Return where ``stars`` are seen at ``when``: proper motion, and parallax from Roman's orbit."""
    columns, time = stars.columns, Time(when)
    ra, dec = np.deg2rad(columns["ra"]), np.deg2rad(columns["dec"])
    zero = np.zeros_like(ra)
    direction = np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    east = np.column_stack([-np.sin(ra), np.cos(ra), zero])
    north = np.column_stack([-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)])
    years = time.jyear - columns["ref_epoch"]
    moved = direction + _MAS * (
        (columns["pmra"] * years)[:, None] * east
        + (columns["pmdec"] * years)[:, None] * north
        - columns["parallax"][:, None] * _place_au(time)
    )
    errors = [columns.get(name, zero) for name in _ERRORS]
    along = [np.hypot(errors[axis], errors[axis + 2] * years) for axis in (0, 1)]
    error_arcsec = np.hypot(*along) / np.sqrt(2) / 1000
    return StarsAtEpoch(stars.name, moved / np.linalg.norm(moved, axis=1)[:, None], error_arcsec)


def _place_au(time: Time) -> Floats:
    """Return where Roman is from the barycentre of the solar system, au, ICRS axes."""
    _, barycentric = erfa.epv00(time.tdb.jd1, time.tdb.jd2)
    return np.asarray(barycentric["p"], dtype=np.float64) * _SPACECRAFT_OVER_EARTH
