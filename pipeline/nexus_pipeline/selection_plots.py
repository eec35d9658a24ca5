"""Figures of what became of sources put into images: completeness, purity, flux and shape bias, places.

Colours are Okabe and Ito's, safe for colour-blind eyes, and each has a mark of its own. Needs matplotlib.
"""

from typing import Any, Final

import numpy as np
from astropy.table import Table
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import norm

from nexus_pipeline.measure import matches
from nexus_pipeline.measure.detect import PEAK_SIGMA
from nexus_pipeline.measure.matches import Matches

Floats = NDArray[np.float64]

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"
ONE, OTHER = (BLUE, "o"), (ORANGE, "s")
_SNR_EDGES: Final = np.array([0.0, 2, 3, 4, 5, 6, 7, 8, 10, 14, 20])


def figure(found: Matches, *, step: float = 1.0) -> Figure:
    """Return six panels: completeness by magnitude, S/N and size, flux and shapes, places."""
    made = Figure(figsize=(13, 7.5), layout="constrained")
    axes = made.subplots(2, 3)
    low, high = (float(f(found.table["magnitude"])) for f in (np.min, np.max))
    edges = np.arange(np.floor(low), np.ceil(high) + step, step)
    _completeness(axes[0, 0], found, edges)
    _by_snr(axes[0, 1], found)
    _by_size(axes[0, 2], found)
    _flux(axes[1, 0], found, edges)
    _shapes(axes[1, 1], found, edges)
    _places(axes[1, 2], found.table)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    return made


def of_kind(found: Matches, star: bool) -> Matches:
    """Return the matches of the stars or of the galaxies among the injections."""
    is_star = np.asarray(found.table["type"]).astype(str) == "PSF"
    return Matches(found.table[is_star == star], found.strays)


def _completeness(axis: Any, found: Matches, edges: Floats) -> None:
    for star, style, name in ((True, ONE, "stars"), (False, OTHER, "galaxies")):
        _shares(axis, matches.by_bins(of_kind(found, star), "magnitude", edges), style, name)
    table = matches.by_bins(found, "magnitude", edges)
    axis.plot(
        (table["low"] + table["high"]) / 2, table["purity"], "--^", color=GREEN, ms=4, label="purity, all"
    )
    axis.set(
        xlabel="injected magnitude (AB)", ylabel="share", ylim=(-0.03, 1.05), title="Completeness and purity"
    )
    axis.legend(frameon=False, fontsize=8)


def _by_snr(axis: Any, found: Matches) -> None:
    for star, style, name in ((True, ONE, "stars"), (False, OTHER, "galaxies")):
        _shares(axis, matches.by_bins(of_kind(found, star), "snr", _SNR_EDGES), style, name)
    fine = np.linspace(0, _SNR_EDGES[-1], 200)
    axis.plot(fine, norm.cdf(fine - PEAK_SIGMA), color=GREY, lw=1, label=f"Φ(S/N − {PEAK_SIGMA:g})")
    axis.set(xlabel="S/N in the matched filter", ylabel="completeness", ylim=(-0.03, 1.05), title="By S/N")
    axis.legend(frameon=False, fontsize=8)


def _by_size(axis: Any, found: Matches) -> None:
    faint = np.asarray(found.table["magnitude"]) > np.median(found.table["magnitude"])
    edges = np.array([0.0, 0.03, 0.15, 0.25, 0.35, 0.5, 1.0])
    for half, style, name in ((~faint, ONE, "brighter half"), (faint, OTHER, "fainter half")):
        table = matches.by_bins(Matches(found.table[half], found.strays), "half_light_radius", edges)
        _shares(axis, table, style, name)
    axis.set(
        xlabel="half-light radius (arcsec; 0: stars)",
        ylabel="completeness",
        ylim=(-0.03, 1.05),
        title="By size",
    )
    axis.legend(frameon=False, fontsize=8)


def _flux(axis: Any, found: Matches, edges: Floats) -> None:
    for star, style, name in ((True, ONE, "stars, PSF"), (False, OTHER, "galaxies, total")):
        table = matches.by_bins(of_kind(found, star), "magnitude", edges)
        _points(axis, table, "flux_bias", style, name=name)
    axis.axhline(0, color=GREY, lw=0.7)
    axis.set(
        xlabel="injected magnitude (AB)", ylabel="median (found − injected) / injected", title="Flux bias"
    )
    axis.legend(frameon=False, fontsize=8)


def _shapes(axis: Any, found: Matches, edges: Floats) -> None:
    table = matches.by_bins(found, "magnitude", edges)
    _points(axis, table, "ellipticity_bias", ONE, name="ellipticity: found − injected")
    _points(axis, table, "radius_ratio", OTHER, name="half-light radius: found / injected")
    axis.axhline(0, color=GREY, lw=0.7)
    axis.axhline(1, color=GREY, lw=0.7, ls=":")
    axis.set(xlabel="injected magnitude (AB)", title="Shapes of galaxies, as the PSF leaves them")
    axis.legend(frameon=False, fontsize=8)


def _places(axis: Any, table: Table) -> None:
    seen, unsure = (np.asarray(table[name], dtype=bool) for name in ("found", "ambiguous"))
    for chosen, colour, mark, name in (
        (seen & ~unsure, BLUE, "o", "found"), (~seen, ORANGE, "x", "lost"), (unsure, GREEN, "^", "ambiguous"),
    ):  # fmt: skip
        axis.plot(table["x"][chosen], table["y"][chosen], mark, color=colour, ms=4, label=name)
    axis.set(xlabel="x (pixels)", ylabel="y (pixels)", title="Where", aspect="equal")
    axis.legend(frameon=False, fontsize=8, loc="upper right")


def _shares(axis: Any, table: Table, style: tuple[str, str], name: str) -> None:
    there = table["n"] > 0
    middle, share = ((table["low"] + table["high"]) / 2)[there], table["completeness"][there]
    errors = np.stack([share - table["completeness_low"][there], table["completeness_high"][there] - share])
    axis.errorbar(
        middle, share, np.maximum(errors, 0), fmt=style[1], ls="-", lw=1, color=style[0], ms=5, label=name
    )


def _points(axis: Any, table: Table, column: str, style: tuple[str, str], *, name: str) -> None:
    there = np.isfinite(table[column])
    middle = ((table["low"] + table["high"]) / 2)[there]
    axis.errorbar(
        middle,
        table[column][there],
        table[f"{column}_err"][there],
        fmt=style[1],
        color=style[0],
        ms=5,
        label=name,
    )
