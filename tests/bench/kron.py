"""Prints how much of galaxies' light their total flux has: ``python -m tests.bench.kron [FRAMES]``.

Isolated Sérsic galaxies (a jittered grid, 12″ apart) in idealised mosaics of 1600² pixels in F158, four
images deep, behind WFI07's optics, through the catalogue; 4 frames of 49 of each kind unless said. Medians over the
truth for Kron's ellipse and for the whole, of sources with a S/N of 30 and more, with three standard errors.
"""

import sys
from typing import Any, Final

import numpy as np
from astropy.table import Table, vstack
from scipy.spatial import cKDTree
from tests.support import simulator as scene
from tests.support.romanisim_ramp import romanisim_ramp

from nexus_pipeline.recipes.catalog import mosaic_catalog
from nexus_pipeline.references.store import ReferenceStore, open_store
from nexus_pipeline.simulate import catalog, exposure, mosaic
from nexus_pipeline.sky.mosaic_wcs import MosaicGrid

RA, DEC, SIZE, SIDE = 150.0, 2.0, 1600, 7
MUST: Final = {1.0: 0.03, 4.0: 0.08}
"""What the total may lack, by Sérsic index."""


def galaxies(index: float, *, seed: int) -> Table:
    """Return galaxies of 20.5 to 23.5 mag with half-light radii of 0.15 to 0.4″."""
    rng = np.random.default_rng(seed)
    x, y = scene.grid_of_stars(SIDE, SIZE / SIDE, jitter=10.0, rng=rng)
    east, north = (x - SIZE / 2) * 0.055 / 3600, (y - SIZE / 2) * 0.055 / 3600
    made = Table({"ra": RA + east / np.cos(np.deg2rad(DEC)), "dec": DEC + north, "type": ["SER"] * x.size})
    made["n"], made["half_light_radius"] = index, rng.uniform(0.15, 0.4, x.size)
    made["ba"], made["pa"] = rng.uniform(0.4, 1, x.size), rng.uniform(0, 180, x.size)
    made["mag_F158"] = rng.uniform(20.5, 23.5, x.size)
    return made


def measured(store: ReferenceStore, index: float, *, seed: int) -> Table:
    """Return S/N, half-light radius, and what Kron's and the total flux are of the true one."""
    aim = exposure.aim(store, "WFI07", "F158", ra_deg=RA, dec_deg=DEC)
    meta = exposure.exposure_meta("WFI07", "F158", pointing=aim)
    stack = mosaic.Stack(MosaicGrid(RA, DEC, SIZE), 4)
    sources = catalog.sources_from_table(galaxies(index, seed=seed), "F158")
    image, truth = mosaic.simulate_mosaic(sources, meta, store, stack, seed=seed)
    found = mosaic_catalog(image, store).table
    away, which = cKDTree(np.column_stack([found["x_centroid"], found["y_centroid"]])).query(
        np.column_stack([truth["x"], truth["y"]])
    )
    found, truth = found[which[away < 3]], truth[away < 3]
    made = Table({"radius": truth["half_light_radius"], "snr": found["kron_flux"] / found["kron_flux_err"]})
    for name in ("kron_flux", "kron_total_flux"):
        made[name] = np.asarray(found[name] / truth["flux_njy"], dtype=np.float64)
    return made


def told(ratio: Any) -> str:
    values = np.asarray(ratio, dtype=np.float64)
    width = (np.percentile(values, 84.13) - np.percentile(values, 15.87)) / 2
    return f"{np.median(values):>9.3f} ±{3 * 1.2533 * width / values.size**0.5:.3f}"


def main() -> None:
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    store = open_store(str(romanisim_ramp().references))
    print(f"{'galaxies':<28}{'number':>7}{'Kron, 3σ':>16}{'whole, 3σ':>16}")
    for index, must in MUST.items():
        every = vstack([measured(store, index, seed=90 + k) for k in range(frames)])
        every = every[(every["snr"] >= 30) & np.isfinite(every["kron_total_flux"])]
        for name, here in (
            (f"n = {index:.0f} (must: within {must:.0%})", every["snr"] > 0),
            ("  0.15 to 0.25″", every["radius"] < 0.25),
            ("  0.25 to 0.4″", every["radius"] >= 0.25),
            ("  S/N 30 to 100", every["snr"] < 100),
        ):
            kron, whole = (told(every[name][here]) for name in ("kron_flux", "kron_total_flux"))
            print(f"{name:<28}{np.count_nonzero(here):>7}{kron}{whole}", flush=True)


if __name__ == "__main__":
    main()
