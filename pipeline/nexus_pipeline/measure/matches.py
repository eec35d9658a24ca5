"""Sources that were put into an image, matched to what was found there, and what they say by bins.

Takes tables: the injections, the catalogue before and after them; leaves a table with a row per injection,
and tables of completeness, purity and biases with their errors.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.stats import beta

from nexus_pipeline.measure.compare import median_and_error, robust_width

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

RADIUS_ARCSEC: Final = 0.2
FLUX_RATIO: Final = 3.0
_ONE_SIGMA: Final = (0.158655, 0.841345)
_MEASURED: Final = (
    "x_centroid", "y_centroid", "psf_flux", "psf_flux_err", "kron_total_flux", "kron_total_flux_err",
    "ellipticity", "fluxfrac_radius_50", "star_probability",
)  # fmt: skip
_STAR_FLUX, _GALAXY_FLUX = "psf_flux", "kron_total_flux"


@dataclass(frozen=True)
class Matches:
    """A row per injection with what was found of it, and the rows that nothing accounts for.

    ``strays`` were found about the injections, but neither are they such nor were they there before.
    """

    table: Table
    strays: Table


def matched(injected: Table, before: Table, after: Table, new: Bools, *, scale_arcsec: float) -> Matches:
    """Return for each of ``injected`` the nearest row of ``after`` that may be it.

    It lies within ``RADIUS_ARCSEC`` and has its flux (nJy; PSF flux of stars, total of galaxies) to a factor
    ``FLUX_RATIO``: that is ``found``. If a source that was there ``before`` could be taken for it as well,
    the match is ``ambiguous``. ``new`` are the rows of ``after`` among which strays are looked for.
    """
    radius = RADIUS_ARCSEC / scale_arcsec
    row, distance = _nearest(injected, after, radius)
    rival, _ = _nearest(injected, before, radius)
    found = row >= 0
    table = injected.copy()
    table["found"], table["ambiguous"] = found, found & (rival >= 0)
    table["distance"] = np.where(found, distance * scale_arcsec, np.nan)
    for name in _MEASURED:
        values = np.full(len(table), np.nan)
        values[found] = np.asarray(after[name], dtype=np.float64)[row[found]]
        table[name] = values
    star = np.asarray(table["type"]).astype(str) == "PSF"
    for name, part in (("flux", ""), ("flux_err", "_err")):
        table[name] = np.where(star, table[_STAR_FLUX + part], table[_GALAXY_FLUX + part])
    known = np.zeros(len(after), np.bool_)
    known[row[found]] = True
    old = _places(before)
    if len(old) and len(after):
        known |= cKDTree(old).query(_places(after))[0] < radius
    return Matches(table, after[new & ~known])


def _nearest(injected: Table, catalog: Table, radius: float) -> tuple[NDArray[np.int64], Floats]:
    """Return the row of ``catalog`` that each injection may be, -1 for none, and how far away it is."""
    row, distance = np.full(len(injected), -1), np.full(len(injected), np.inf)
    places = _places(catalog)
    if not len(places):
        return row, distance
    at = np.column_stack([injected["x"], injected["y"]])
    for k, near in enumerate(cKDTree(places).query_ball_point(at, radius)):
        name = _STAR_FLUX if str(injected["type"][k]) == "PSF" else _GALAXY_FLUX
        ratio = np.asarray(catalog[name][near], dtype=np.float64) / float(injected["flux_njy"][k])
        alike = [i for i, r in zip(near, ratio.tolist(), strict=True) if 1 / FLUX_RATIO <= r <= FLUX_RATIO]
        for i in alike:
            away = float(np.hypot(*(places[i] - at[k])))
            if away < distance[k]:
                row[k], distance[k] = i, away
    return row, distance


def _places(catalog: Table) -> Floats:
    """Return where sources are: fitted stars' places, centroids where there are none."""
    if not len(catalog):
        return np.empty((0, 2))
    places = np.column_stack([catalog["x_psf"], catalog["y_psf"]]).astype(np.float64)
    centroids = np.column_stack([catalog["x_centroid"], catalog["y_centroid"]]).astype(np.float64)
    best = np.where(np.isfinite(places), places, centroids)
    return np.where(np.isfinite(best), best, -1e6)


def share_errors(k: NDArray[np.int64], n: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return the ends of Jeffreys' interval of one σ for ``k`` of ``n``; 0 and 1 where there are none."""
    low, high = (np.asarray(beta.ppf(q, k + 0.5, n - k + 0.5), dtype=np.float64) for q in _ONE_SIGMA)
    return np.where((n == 0) | (k == 0), 0.0, low), np.where((n == 0) | (k == n), 1.0, high)


def by_bins(matches: Matches, column: str, edges: Floats) -> Table:
    """Return completeness, purity and biases of the injections in bins of ``column``, with errors.

    Ambiguous matches count neither way. Purity (of what was found about the injections) is told in bins of
    flux only. Fluxes are relative, ``pull`` is their robust scatter in units of their errors; ellipticity and
    half-light radius are differences and ratios of the light as the PSF leaves it.
    """
    sure = matches.table[~np.asarray(matches.table["ambiguous"], dtype=bool)]
    rows = []
    for low, high in pairwise(edges.tolist()):
        here = sure[(sure[column] >= low) & (sure[column] < high)]
        found = here[np.asarray(here["found"], dtype=bool)]
        row: dict[str, Any] = {"low": low, "high": high, "n": len(here), "found": len(found)}
        row |= _share("completeness", len(found), len(here))
        if column == "magnitude":
            row |= _share("purity", len(found), len(found) + _count(matches.strays, low, high))
        rows.append(row | _biases(found))
    return Table(rows)


def _share(name: str, k: int, n: int) -> dict[str, float]:
    low, high = share_errors(np.array([k]), np.array([n]))
    return {name: k / n if n else np.nan, f"{name}_low": float(low[0]), f"{name}_high": float(high[0])}


def _count(strays: Table, low: float, high: float) -> int:
    flux = np.asarray(strays["kron_total_flux"], dtype=np.float64) if len(strays) else np.empty(0)
    magnitude = 31.4 - 2.5 * np.log10(np.maximum(flux, 1e-9))
    return int(np.count_nonzero((magnitude >= low) & (magnitude < high)))


def _biases(found: Table) -> dict[str, float]:
    """Return medians with their errors: of relative flux, its pulls' width, ellipticity and radius."""
    galaxy = found[np.asarray(found["type"]).astype(str) != "PSF"]
    values = {
        "flux_bias": np.asarray(found["flux"] / found["flux_njy"] - 1, dtype=np.float64),
        "ellipticity_bias": np.asarray(galaxy["ellipticity"] - (1 - galaxy["ba"]), dtype=np.float64),
        "radius_ratio": np.asarray(
            galaxy["fluxfrac_radius_50"] / np.asarray(galaxy["half_light_radius"]), dtype=np.float64
        ),
    }
    out: dict[str, float] = {}
    for name, each in values.items():
        good = each[np.isfinite(each)]
        told = median_and_error(good) if good.size > 1 else (np.nan, np.nan)
        out[name], out[f"{name}_err"] = told
    pulls = np.asarray((found["flux"] - found["flux_njy"]) / found["flux_err"], dtype=np.float64)
    pulls = pulls[np.isfinite(pulls)]
    return out | {"pull": robust_width(pulls) if pulls.size > 1 else np.nan}
