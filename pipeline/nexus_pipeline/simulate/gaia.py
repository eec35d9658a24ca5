"""Reference stars in Gaia's columns, told by the same truth that a simulated exposure shows.

Takes a catalogue whose positions hold at the time of an exposure; leaves what Gaia would have published for
its stars at 2016.0: positions taken back by proper motion and parallax, with Gaia's errors in them.
"""

from datetime import datetime
from typing import Final

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from nexus_pipeline.errors import InputError
from nexus_pipeline.simulate.catalog import STARS
from nexus_pipeline.sky.star_table import ReferenceStars, at_epoch
from nexus_pipeline.sky.tangent import directions_of

Floats = NDArray[np.float64]

EPOCH: Final = 2016.0
FAINTEST_G: Final = 20.5
MOTION_MAS_PER_YEAR: Final = 5.0
PARALLAX_MAS: Final = 0.5
_BRIGHT_G, _BRIGHT_ERROR_MAS, _ERROR_SLOPE = 15.0, 0.03, 0.22
"""Gaia DR3: 0.03 mas down to G = 15, 0.08 at 17, 0.4 at 20 (Lindegren et al. 2021, table 4), a year too."""
_ROUNDS: Final = 3


def reference_stars(
    table: Table,
    filter_name: str,
    when: datetime,
    *,
    rng: np.random.Generator,
    faintest_g: float = FAINTEST_G,
) -> Table:
    """Return the stars of ``table`` down to ``faintest_g`` as Gaia has them.

    G is taken for the AB magnitude in ``filter_name``, as it nearly is for a star like the Sun.
    InputError without ``mag_<filter>``.
    """
    column = f"mag_{filter_name}"
    if column not in table.colnames:
        raise InputError(f"reference stars are chosen by magnitude: the catalogue has no column {column}")
    is_star = np.isin(np.char.upper(np.asarray(table["type"]).astype(str)), STARS)
    magnitude = np.asarray(table[column], dtype=np.float64)
    chosen = is_star & (magnitude <= faintest_g)
    g, n = magnitude[chosen], int(chosen.sum())
    true = {name: np.asarray(table[name], dtype=np.float64)[chosen] for name in ("ra", "dec")}
    motion = {name: rng.normal(0, MOTION_MAS_PER_YEAR, n) for name in ("pmra", "pmdec")}
    motion["parallax"] = rng.exponential(PARALLAX_MAS, n)
    stars = _taken_back(true["ra"], true["dec"], motion | {"ref_epoch": np.full(n, EPOCH)}, when)
    return _as_measured(stars, g, rng)


def _taken_back(ra: Floats, dec: Floats, motion: dict[str, Floats], when: datetime) -> dict[str, Floats]:
    """Return the columns of stars that will be seen at ``ra``, ``dec`` when it is ``when``."""
    wanted, columns = directions_of(ra, dec), {"ra": ra, "dec": dec} | motion
    for _ in range(_ROUNDS):
        off = wanted - at_epoch(ReferenceStars("", columns), when).directions
        a, d = np.deg2rad(columns["ra"]), np.deg2rad(columns["dec"])
        east = off[:, 1] * np.cos(a) - off[:, 0] * np.sin(a)
        north = off[:, 2] * np.cos(d) - (off[:, 0] * np.cos(a) + off[:, 1] * np.sin(a)) * np.sin(d)
        columns = columns | {
            "ra": (columns["ra"] + np.rad2deg(east / np.cos(d))) % 360,
            "dec": columns["dec"] + np.rad2deg(north),
        }
    return columns


def _as_measured(stars: dict[str, Floats], g: Floats, rng: np.random.Generator) -> Table:
    error = _BRIGHT_ERROR_MAS * 10 ** (_ERROR_SLOPE * np.maximum(g - _BRIGHT_G, 0))
    east, north, pmra, pmdec, parallax = rng.standard_normal((5, g.size)) * error
    degrees = 1 / 3.6e6
    columns = {
        "source_id": np.arange(1, g.size + 1),
        "ra": (stars["ra"] + east * degrees / np.cos(np.deg2rad(stars["dec"]))) % 360,
        "dec": stars["dec"] + north * degrees,
        "pmra": stars["pmra"] + pmra,
        "pmdec": stars["pmdec"] + pmdec,
        "parallax": stars["parallax"] + parallax,
        "ref_epoch": stars["ref_epoch"],
        "phot_g_mean_mag": g,
    }
    errors = {f"{name}_error": error for name in ("ra", "dec", "pmra", "pmdec", "parallax")}
    return Table(columns | errors)
