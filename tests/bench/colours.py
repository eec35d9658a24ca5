"""Prints how far colours on drizzled mosaics are from the truth, and what outlier detection takes and leaves.

Run it as ``python -m tests.bench.colours [ramps] [FOLDER] [SEED ...]``; references are made in FOLDER (two
CPU minutes) and found there the next time. Each seed is a field of stars and discs on a jittered grid, seen
by a corner of one detector through its optics: four dithers in each of three filters, as L2 images without a
ramp's history, or of calibrated ``ramps``, and 0.1 % of their pixels with rays of 10 to 200 σ. They become
mosaics and a multi-band catalogue as ``wfi survey`` makes them. A bias is the median over sources of S/N 30
and more in both filters, its error 1.253 robust widths over √n. Stars are drawn with PSFs of their colours;
the catalogue takes a G2V star's for all.
"""

import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy.table import Table, vstack
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from scipy.spatial import cKDTree
from tests.support import pipeline as build
from tests.support import simulator as scene

from nexus_pipeline.instrument.wfi import BORDER
from nexus_pipeline.measure.compare import median_and_error
from nexus_pipeline.products import l1
from nexus_pipeline.products.associations import Association
from nexus_pipeline.products.model import Mosaic, Ramp, RateImage
from nexus_pipeline.products.names import ExposureId, mosaic_stem
from nexus_pipeline.recipes import mosaic, mosaic_product
from nexus_pipeline.recipes.exposure import calibrate
from nexus_pipeline.recipes.mosaic import Coadded, Member
from nexus_pipeline.recipes.multiband import multiband_catalog
from nexus_pipeline.references.store import ReferenceStore, open_store
from nexus_pipeline.simulate import exposure, optics
from nexus_pipeline.simulate.catalog import sources_from_table
from nexus_pipeline.sky import sky_grid
from nexus_pipeline.sky.wcs import to_pixels

Floats = NDArray[np.float64]

FILTERS: Final = ("F106", "F129", "F158")
RED: Final = FILTERS[-1]
QUANTITIES: Final = {"PSF": ("psf", "aper02", "aper04", "kron"), "SER": ("aper02", "aper04", "kron")}
N_PIXELS: Final = 512
RA, DEC, ROLL = 150.1, 2.2, 20.0
DITHERS_ARCSEC: Final = ((0.0, 0.0), (2.03, -1.01), (-1.02, 2.055), (1.58, 1.43))
N_ACROSS, FIELD_ARCSEC = 12, 46.0
MAGNITUDES: Final = (19.0, 23.0)
RAY_SHARE, RAY_SIGMA = 1e-3, (10.0, 200.0)
MUST_MAG, LEAST_SIGNAL = 0.01, 30
SEEDS: Final = (91, 92, 93, 94)
_CORE_PIXELS: Final = 1.5
_ALONE_ARCSEC: Final = 1.0


def references(folder: Path) -> ReferenceStore:
    url = str(folder / "references")
    if (folder / "references" / "rules.json").exists():
        return open_store(url)
    made = build.small_store(url, filter_names=list(FILTERS), n_pixels=N_PIXELS)
    active = N_PIXELS - 2 * BORDER
    return made.add([optics.epsf_reference(build.DETECTOR, name, active=active) for name in FILTERS])


def field(seed: int) -> Table:
    """Return stars and a third as many discs of the usual colours; F129 lies between the others."""
    rng = np.random.default_rng(seed)
    x, y = scene.grid_of_stars(N_ACROSS, FIELD_ARCSEC / N_ACROSS, jitter=0.5, rng=rng)
    east, north = (x - FIELD_ARCSEC / 2) / 3600, (y - FIELD_ARCSEC / 2) / 3600
    table = scene.star_table(
        RA + east / np.cos(np.deg2rad(DEC)), DEC + north, rng.uniform(*MAGNITUDES, x.size)
    )
    redder = rng.uniform(-0.2, 0.6, x.size)
    table["mag_F106"] = table["mag_F158"] + redder
    table["mag_F129"] = table["mag_F158"] + redder * rng.uniform(0.35, 0.55, x.size)
    disc = np.arange(x.size) % 4 == 1
    table["type"] = np.where(disc, "SER", "PSF")
    table["n"], table["half_light_radius"] = 1.0, rng.uniform(0.15, 0.4, x.size)
    table["ba"], table["pa"] = rng.uniform(0.4, 1, x.size), rng.uniform(0, 180, x.size)
    return table


def images(table: Table, name: str, store: ReferenceStore, *, seed: int, from_ramps: bool) -> list[RateImage]:
    sources, made = sources_from_table(table, name), []
    for number, (east, north) in enumerate(DITHERS_ARCSEC, start=1):
        ra, dec = RA + east / 3600 / np.cos(np.deg2rad(DEC)), DEC + north / 3600
        at = exposure.aim(store, build.DETECTOR, name, ra_deg=ra, dec_deg=dec, roll_deg=ROLL)
        meta = exposure.exposure_meta(
            build.DETECTOR, name, pointing=at, exposure_id=ExposureId(exposure=number)
        )
        if from_ramps:
            seen = exposure.simulate(sources, meta, store, seed=seed + number)
            made.append(calibrated(seen.ramp, store))
        else:
            made.append(exposure.simulate_ideal(sources, meta, store, seed=seed + number)[0])
    return made


def calibrated(ramp: Ramp, store: ReferenceStore) -> RateImage:
    with tempfile.TemporaryDirectory() as folder:
        url = f"{folder}/ramp_uncal.asdf"
        l1.write_ramp(ramp, url)
        return calibrate(url, store)


def struck(image: RateImage, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Add rays to ``image`` in place and return where."""
    hits = rng.random(image.rate.shape) < RAY_SHARE
    image.rate[hits] += (rng.uniform(*RAY_SIGMA, hits.sum()) * image.err[hits]).astype(np.float32)
    return hits


def drizzled(seen: Sequence[RateImage], name: str) -> tuple[Coadded, Mosaic]:
    size = 2 * N_PIXELS + 150
    grid = sky_grid.about(RA, DEC, nx=size, ny=size, scale_arcsec=0.055)
    made = mosaic.coadd([Member(f"{name} {k}", partial(_given, each)) for k, each in enumerate(seen)], grid)
    association = Association(mosaic_stem(1, "full", name), made.names, 1)
    return made, mosaic_product.product(made, association, own={})


def _given(each: Any) -> Any:
    return each


def show_outliers(made: Coadded, seen: Sequence[RateImage], true: NDArray[np.bool_], table: Table) -> None:
    """Print the share of rays found, the pixels that are none, and how many stars lost one of their core."""
    name = made.metas[0].filter_name
    found = np.zeros(true.shape, np.bool_)
    found[tuple(made.rejected.T)] = True
    star = table[np.asarray(table["type"] == "PSF")]
    robbed = whole = 0
    beside = np.zeros(true.shape, np.bool_)
    for image, false, near_stars in zip(seen, found & ~true, beside, strict=True):
        x, y = to_pixels(image.wcs, np.asarray(star["ra"]), np.asarray(star["dec"]))
        inside = (np.minimum(x, y) > 5) & (np.maximum(x, y) < image.rate.shape[0] - 6)
        whole += int(inside.sum())
        near_stars[np.rint(y[inside]).astype(int), np.rint(x[inside]).astype(int)] = True
        if false.any():
            near, _ = cKDTree(np.argwhere(false)).query(np.column_stack([y, x])[inside])
            robbed += int((near < _CORE_PIXELS).sum())
    # In the middle all four images lie over each other.
    inner = np.zeros(true.shape, np.bool_)
    inner[:, 60:-60, 60:-60] = True
    beside = binary_dilation(beside, np.ones((1, 5, 5), np.bool_))
    recall, close = (found[true & inner & where].mean() for where in (~beside, beside))
    print(
        f"{name}: {recall:.2%} of the rays found, {close:.0%} of those within 2 pixels of a star; "
        f"{(found & ~true).sum()} of {found.sum()} rejected pixels are none; "
        f"{robbed} of {whole} stars lost one of their core"
    )


def show_colours(found: Table, truth: Table) -> None:
    """Print the bias of matched sources' colours against the last filter.

    By PSF, for stars, and in apertures of images of one PSF.
    """
    for blue in FILTERS[:-1]:
        bright = np.ones(len(found), np.bool_)
        for name in (blue.lower(), RED.lower()):
            signal = np.asarray(found[f"aper02_{name}_flux"] / found[f"aper02_{name}_flux_err"])
            bright &= signal > LEAST_SIGNAL
        for kind, told in (("PSF", "stars"), ("SER", "galaxies")):
            chosen = bright & np.asarray(truth["type"] == kind)
            for quantity in QUANTITIES[kind]:
                true = np.asarray(truth[f"mag_{blue}"] - truth[f"mag_{RED}"])
                off = colour_of(found, quantity, blue) - true
                bias, error = median_and_error(off[chosen & np.isfinite(off)])
                label = f"{blue} - {RED} of {chosen.sum()} {told}, {quantity}"
                fate = "" if abs(bias) + 3 * error <= MUST_MAG else "  beyond, or not known well enough"
                print(f"  {label:<44}{bias:+.4f} ± {error:.4f} mag (must {MUST_MAG}){fate}")


def matching(found: Table, truth: Table) -> tuple[Table, Table]:
    """Return the rows of both that lie within 0.1 arcsec of each other and alone."""
    ra, dec = float(np.mean(truth["ra"])), float(np.mean(truth["dec"]))
    scale = 3600 * np.array([np.cos(np.deg2rad(dec)), 1.0])
    here, there = (
        np.column_stack([np.asarray(t["ra"]) - ra, np.asarray(t["dec"]) - dec]) * scale
        for t in (found, truth)
    )
    away, which = cKDTree(here).query(there)
    alone = cKDTree(there).query(there, k=2)[0][:, 1] > _ALONE_ARCSEC
    chosen = (away < 0.1) & alone
    return found[which[chosen]], truth[chosen]


def colour_of(found: Table, quantity: str, blue: str) -> Floats:
    """Return ``blue`` less the last filter (mag); apertures are those of images of one PSF."""
    red = RED.lower()
    first = blue.lower() if quantity == "psf" else f"{blue.lower()}m{red}"
    light, other = (np.asarray(found[f"{quantity}_{name}_flux"], np.float64) for name in (first, red))
    ratio = np.divide(light, other, out=np.full(light.shape, np.nan), where=(light > 0) & (other > 0))
    return np.asarray(-2.5 * np.log10(ratio))


def run(seed: int, store: ReferenceStore, *, from_ramps: bool) -> tuple[Table, Table]:
    """Return what was found in a field, and the truth."""
    table, rng = field(seed), np.random.default_rng(seed + 1)
    mosaics: dict[str, Mosaic] = {}
    for k, name in enumerate(FILTERS):
        seen = images(table, name, store, seed=1000 * seed + 10 * k, from_ramps=from_ramps)
        hits = np.array([struck(image, rng) for image in seen])
        made, mosaics[name] = drizzled(seen, name)
        show_outliers(made, seen, hits, table)
    return multiband_catalog([partial(_given, each) for each in mosaics.values()], store).table, table


def main() -> None:
    words = sys.argv[1:]
    from_ramps = words[:1] == ["ramps"]
    words = words[from_ramps:]
    folder = Path(words.pop(0)) if words and not words[0].isdecimal() else Path(tempfile.mkdtemp())
    store, pairs = references(folder), []
    for seed in [int(each) for each in words] or SEEDS:
        print(f"seed {seed}")
        pairs.append(matching(*run(seed, store, from_ramps=from_ramps)))
    show_colours(*(vstack(list(each), metadata_conflicts="silent") for each in zip(*pairs, strict=True)))


if __name__ == "__main__":
    main()
