"""Prints how fluxes of isolated stars and galaxies come back: ``python -m tests.bench.fluxes [FRAMES]``.

Jittered grids in idealised mosaics of 1600² pixels in F158, four images deep, behind WFI07's optics, through
the catalogue. Stars 2.2″ apart, 6 frames unless said: bias of PSF fluxes and width of their pulls. Sérsic
galaxies 12″ apart, 3 frames of each kind: medians over the truth of Kron's ellipse and of the whole, where
S/N is 30 and more. All with three standard errors.
"""

import sys
from itertools import pairwise
from typing import Any, Final

import numpy as np
from astropy.table import Table, vstack
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from tests.support import simulator as scene
from tests.support.romanisim_ramp import romanisim_ramp

from nexus_pipeline.recipes.catalog import mosaic_catalog
from nexus_pipeline.references.store import ReferenceStore, open_store
from nexus_pipeline.simulate import catalog, exposure, mosaic
from nexus_pipeline.sky.mosaic_wcs import MosaicGrid

Floats = NDArray[np.float64]
RA, DEC, SIZE, GALAXIES_ACROSS, STARS_ACROSS = 150.0, 2.0, 1600, 7, 40
SNR: Final = (30.0, 60.0, 110.0, 450.0)
ROBUST: Final = 1.2533
"""The standard error of a median in that of a mean."""
MUST: Final = {1.0: 0.03, 4.0: 0.08}
"""What the total may lack, by Sérsic index."""


def placed(across: int, *, seed: int) -> tuple[Table, np.random.Generator]:
    """Return places on a jittered grid, and the random numbers that they were drawn with."""
    rng = np.random.default_rng(seed)
    x, y = scene.grid_of_stars(across, SIZE / across, jitter=10.0, rng=rng)
    east, north = (x - SIZE / 2) * 0.055 / 3600, (y - SIZE / 2) * 0.055 / 3600
    return Table({"ra": RA + east / np.cos(np.deg2rad(DEC)), "dec": DEC + north}), rng


def galaxies(index: float, *, seed: int) -> Table:
    """Return galaxies of 20.5 to 23.5 mag with half-light radii of 0.15 to 0.4″."""
    made, rng = placed(GALAXIES_ACROSS, seed=seed)
    n = len(made)
    made["type"], made["n"] = "SER", index
    made["half_light_radius"], made["ba"] = rng.uniform(0.15, 0.4, n), rng.uniform(0.4, 1, n)
    made["pa"], made["mag_F158"] = rng.uniform(0, 180, n), rng.uniform(20.5, 23.5, n)
    return made


def stars(*, seed: int) -> Table:
    """Return stars of 21.2 to 24.4 mag: S/N 25 to 450."""
    made, rng = placed(STARS_ACROSS, seed=seed)
    made["type"], made["mag_F158"] = "PSF", rng.uniform(21.2, 24.4, len(made))
    made["n"], made["half_light_radius"], made["ba"], made["pa"] = 0.0, 0.0, 1.0, 0.0
    return made


def matched(store: ReferenceStore, drawn: Table, *, seed: int) -> tuple[Table, Table]:
    """Return what is found of ``drawn``, and the truth of that."""
    aim = exposure.aim(store, "WFI07", "F158", ra_deg=RA, dec_deg=DEC)
    meta = exposure.exposure_meta("WFI07", "F158", pointing=aim)
    stack = mosaic.Stack(MosaicGrid(RA, DEC, SIZE), 4)
    image, truth = mosaic.simulate_mosaic(
        catalog.sources_from_table(drawn, "F158"), meta, store, stack, seed=seed
    )
    found = mosaic_catalog(image, store).table
    away, which = cKDTree(np.column_stack([found["x_centroid"], found["y_centroid"]])).query(
        np.column_stack([truth["x"], truth["y"]])
    )
    return found[which[away < 3]], truth[away < 3]


def galaxies_found(store: ReferenceStore, index: float, *, seed: int) -> Table:
    """Return S/N, half-light radius, and what Kron's and the total flux are of the true one."""
    found, truth = matched(store, galaxies(index, seed=seed), seed=seed)
    made = Table({"radius": truth["half_light_radius"], "snr": found["kron_flux"] / found["kron_flux_err"]})
    for name in ("kron_flux", "kron_total_flux"):
        made[name] = np.asarray(found[name] / truth["flux_njy"], dtype=np.float64)
    return made


def stars_found(store: ReferenceStore, *, seed: int) -> Table:
    """Return S/N by the truth, the flux over it, and what it is off by in its error."""
    found, truth = matched(store, stars(seed=seed), seed=seed)
    flux, error = (np.asarray(found[name], dtype=np.float64) for name in ("psf_flux", "psf_flux_err"))
    true = np.asarray(truth["flux_njy"], dtype=np.float64)
    made = Table({"snr": true / error, "ratio": flux / true, "pull": (flux - true) / error})
    return made[np.isfinite(error)]


def show_stars(every: Table) -> None:
    print(f"{'stars, S/N':<16}{'number':>7}{'bias %, 3σ (0.3)':>20}{'pulls, 3σ (1.0 ± 0.1)':>24}")
    for low, high in pairwise(SNR):
        here = every[(every["snr"] >= low) & (every["snr"] < high)]
        n, bias = len(here), 100 * (np.asarray(here["ratio"]) - 1)
        wide, pull = half_width(bias), half_width(np.asarray(here["pull"]))
        print(
            f"{low:>6.0f} to {high:<6.0f}{n:>7}{np.median(bias):>13.3f} ±{3 * ROBUST * wide / n**0.5:.3f}"
            f"{pull:>17.3f} ±{3 * pull / (1.1 * n) ** 0.5:.3f}",
            flush=True,
        )


def half_width(values: Floats) -> float:
    """Return half of the range of the middle 68 %."""
    return float(np.percentile(values, 84.13) - np.percentile(values, 15.87)) / 2


def told(ratio: Any) -> str:
    values = np.asarray(ratio, dtype=np.float64)
    error = ROBUST * half_width(values) / values.size**0.5
    return f"{np.median(values):>9.3f} ±{3 * error:.3f}"


def main() -> None:
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    store = open_store(str(romanisim_ramp().references))
    show_stars(vstack([stars_found(store, seed=70 + k) for k in range(frames)]))
    show_galaxies(store, max(1, frames // 2))


def show_galaxies(store: ReferenceStore, frames: int) -> None:
    print(f"\n{'galaxies':<28}{'number':>7}{'Kron, 3σ':>16}{'whole, 3σ':>16}")
    for index, must in MUST.items():
        every = vstack([galaxies_found(store, index, seed=90 + k) for k in range(frames)])
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
