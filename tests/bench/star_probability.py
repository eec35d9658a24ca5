"""Learns the calibration of star probabilities and prints how well it holds on other seeds.

Run it as ``python -m tests.bench.star_probability [MOSAICS]`` (40 of each population unless said): idealised
mosaics of 1600² pixels in F158, four images deep, with stars and galaxies in several shares, through the
catalogue. Stars end at 25.5 mag, as a made-up field has them, or go on beyond what can be seen; most of
either are told for sure, so that a third population is of faint stars and small galaxies alone, between which
noise hardly lets one tell. A source is what the brightest true source within 4 pixels of it is.
``CALIBRATION`` in ``measure/star_probability.py`` was learnt so on all three, of seeds 200 to 211; what this
prints is learnt on seeds 0 to 9. A bin is shown to hold where what it is off by and three standard errors are
within 0.05 together. That is shown of the three kinds together, in equal numbers of mosaics, not of each.
"""

import sys
from functools import partial
from typing import Final, NamedTuple

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import expit, logit
from scipy.stats import rankdata
from tests.support.romanisim_ramp import romanisim_ramp

from nexus_pipeline.measure.star_probability import CALIBRATION
from nexus_pipeline.recipes.catalog import mosaic_catalog
from nexus_pipeline.references.store import ReferenceStore, open_store
from nexus_pipeline.simulate import catalog, exposure, mosaic
from nexus_pipeline.simulate.field import make_field
from nexus_pipeline.sky.mosaic_wcs import MosaicGrid

Floats = NDArray[np.float64]
RA, DEC, SIZE, NEAR_PIXELS = 150.0, 2.0, 1600, 4.0
RADIUS_DEG: Final = SIZE * 0.055 / 3600 / 2**0.5
DRAWN: Final = ((600, 1400), (300, 2200), (1000, 1000), (150, 2000), (1000, 400))
"""Stars and galaxies, in turn."""
UNSURE: Final = (24.3, 26.3)
"""Magnitudes of the stars and galaxies between which noise hardly lets one tell."""
UNSURE_DRAWN: Final = ((900, 900), (600, 1200), (1200, 600))
UNSURE_RADII: Final = (0.08, 0.3)
"""Half-light radii of such galaxies, arcsec, evenly in their logarithm."""
MUST: Final = 0.05
LEARNT_ON: Final = 10
STAR_SLOPE, BRIGHTEST_STAR = 0.15, 16.5


class Seen(NamedTuple):
    """Sources with a true one near: whether that is a star, the told probability, and is_extended."""

    star: NDArray[np.bool_]
    told: Floats
    extended: NDArray[np.bool_]


def whole_field(seed: int, *, faintest_star: float) -> Table:
    """Return stars and galaxies as they are on the sky."""
    n_stars, n_galaxies = DRAWN[seed % len(DRAWN)]
    rng = np.random.default_rng(seed)
    field = make_field(RA, DEC, n_stars=n_stars, n_galaxies=n_galaxies, rng=rng, radius_deg=RADIUS_DEG)
    low, high = (10 ** (STAR_SLOPE * limit) for limit in (BRIGHTEST_STAR, faintest_star))
    field["mag_F158"][:n_stars] = np.log10(rng.uniform(low, high, n_stars)) / STAR_SLOPE
    return field


def unsure_field(seed: int) -> Table:
    """Return such as are hardly to be told apart."""
    n_stars, n_galaxies = UNSURE_DRAWN[seed % len(UNSURE_DRAWN)]
    rng = np.random.default_rng(seed)
    field = make_field(RA, DEC, n_stars=n_stars, n_galaxies=n_galaxies, rng=rng, radius_deg=RADIUS_DEG)
    field["mag_F158"] = rng.uniform(*UNSURE, len(field))
    field["half_light_radius"][n_stars:] = np.exp(rng.uniform(*np.log(UNSURE_RADII), n_galaxies))
    return field


def seen(store: ReferenceStore, field: Table, *, seed: int) -> Seen:
    """Return what a catalogue of a mosaic of ``field`` says."""
    aim = exposure.aim(store, "WFI07", "F158", ra_deg=RA, dec_deg=DEC)
    meta = exposure.exposure_meta("WFI07", "F158", pointing=aim)
    stack = mosaic.Stack(MosaicGrid(RA, DEC, SIZE), 4)
    sources = catalog.sources_from_table(field, "F158")
    made, truth = mosaic.simulate_mosaic(sources, meta, store, stack, seed=seed)
    found = mosaic_catalog(made, store).table
    is_star, flux = np.asarray(truth["type"]).astype(str) == "PSF", np.asarray(truth["flux_njy"])
    places = np.column_stack([found["x_centroid"], found["y_centroid"]])
    near = cKDTree(np.column_stack([truth["x"], truth["y"]])).query_ball_point(
        np.nan_to_num(places, nan=-1e6), NEAR_PIXELS
    )
    which = np.array([max(each, key=lambda k: flux[k]) if each else -1 for each in near])
    told = np.asarray(found["star_probability"], dtype=np.float64)
    good = (which >= 0) & np.isfinite(told)
    return Seen(is_star[which[good]], told[good], np.asarray(found["is_extended"])[good])


def learnt(sources: Seen) -> Floats:
    """Return the shift and scale that make log odds most probable (Newton's steps)."""
    raw = (logit(np.clip(sources.told, 1e-9, 1 - 1e-9)) - CALIBRATION[0]) / CALIBRATION[1]
    terms, found = np.column_stack([np.ones(raw.size), np.clip(raw, -14, 14)]), np.array([0.0, 1.0])
    for _ in range(50):
        chance = expit(terms @ found)
        curvature = (terms * (chance * (1 - chance))[:, None]).T @ terms + 1e-3 * np.eye(2)
        found += np.linalg.solve(curvature, terms.T @ (sources.star - chance))
    return found


def area(score: Floats, star: NDArray[np.bool_]) -> float:
    """Return the area under the curve of stars found against galaxies mistaken for them."""
    n = np.count_nonzero(star)
    return float((rankdata(score)[star].mean() - (n + 1) / 2) / (star.size - n))


def together(parts: list[Seen]) -> Seen:
    return Seen(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def show(name: str, sources: Seen) -> None:
    """Print how many of the sources called stars with some probability are stars."""
    ours, theirs = area(sources.told, sources.star), area(-1.0 * sources.extended, sources.star)
    print(f"\n{name}: area under the curve {ours:.4f}, is_extended {theirs:.4f}")
    print(f"{'told':>12}{'sources':>9}{'mean':>8}{'stars':>8}{'off':>8}{'3 σ':>8}   (must: within {MUST})")
    for low in np.arange(0, 1, 0.1):
        here = (sources.told >= low) & (sources.told < low + 0.1 + 1e-9)
        n, mean, share = np.count_nonzero(here), sources.told[here].mean(), sources.star[here].mean()
        error = 3 * (mean * (1 - mean) / n) ** 0.5
        verdict = "" if abs(share - mean) + error <= MUST else "   not shown"
        told = f"{n:>9}{mean:>8.3f}{share:>8.3f}{share - mean:>+8.3f}{error:>8.3f}{verdict}"
        print(f"{low:>8.1f}-{low + 0.1:.1f}{told}", flush=True)


FIELDS: Final = {
    "stars down to 25.5 mag": partial(whole_field, faintest_star=25.5),
    "stars down to 26.7 mag": partial(whole_field, faintest_star=26.7),
    "faint stars and small galaxies alone": unsure_field,
}


def main() -> None:
    mosaics = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    store = open_store(str(romanisim_ramp().references))
    learning = [seen(store, field(seed), seed=seed) for seed in range(LEARNT_ON) for field in FIELDS.values()]
    shift, scale = learnt(together(learning))
    print(f"calibration: {shift:.2f}, {scale:.2f}; in use {CALIBRATION}", flush=True)
    tried = []
    for name, field in FIELDS.items():
        every = [seen(store, field(seed), seed=seed) for seed in range(100, 100 + mosaics)]
        tried.append(together(every))
        show(f"{name}, {mosaics} mosaics", tried[-1])
    show("all three together", together(tried))


if __name__ == "__main__":
    main()
