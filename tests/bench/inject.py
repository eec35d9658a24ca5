"""Prints what injections cost beside a whole catalogue of the cell they are put into.

Run it as ``python -m tests.bench.inject [quick]``: an idealised mosaic of 5000² pixels (2000² if quick), four
exposures deep, of about 2,600 sources to be found, and 30 more put in (5 if quick). CPU seconds are user and
system of all threads, medians of three; the whole catalogue is the second of its process and the first trial
does not count: compilers, and tables of profiles, are for once. Planning, drawing, the catalogue made
again, matching and the selection function are in; reading the mosaic and its own first catalogue are not.
"""

import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any, Final

import numpy as np
from tests.support.romanisim_ramp import romanisim_ramp

from nexus_pipeline.products import selection
from nexus_pipeline.products.model import Mosaic
from nexus_pipeline.recipes import inject, injection_trial, injections, recatalog
from nexus_pipeline.recipes.catalog import mosaic_catalog
from nexus_pipeline.recipes.injections import Ranges
from nexus_pipeline.references.store import ReferenceStore, open_store
from nexus_pipeline.runner import peak_memory_bytes
from nexus_pipeline.simulate import catalog, exposure, mosaic, stamps
from nexus_pipeline.simulate.field import make_field
from nexus_pipeline.sky.mosaic_wcs import MosaicGrid

RA, DEC, SEED = 150.0, 2.0, 7
STARS, GALAXIES = 1_100, 4_200
"""Drawn over a disc about 5000² pixels: about 2,600 are found."""
PUT_IN = 30
CELLS, IN_ALL = 35, 1_000
RANGES: Final = Ranges(magnitude=(20.0, 27.0), half_light_radius_arcsec=(0.1, 0.5))


def cell(store: ReferenceStore, size: int) -> Mosaic:
    share = (size / 5000) ** 2
    aim = exposure.aim(store, "WFI07", "F158", ra_deg=RA, dec_deg=DEC)
    meta = exposure.exposure_meta("WFI07", "F158", pointing=aim)
    table = make_field(
        RA, DEC, n_stars=round(STARS * share), n_galaxies=round(GALAXIES * share),
        rng=np.random.default_rng(SEED), radius_deg=size * 0.055 / 3600 / 2**0.5,
    )  # fmt: skip
    sources = catalog.sources_from_table(table, "F158")
    return mosaic.simulate_mosaic(sources, meta, store, mosaic.Stack(MosaicGrid(RA, DEC, size), 4), seed=3)[0]


def cpu(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    made = work()
    return time.process_time() - start, made


def show_parts(ground: injection_trial.Ground, n: int, whole: float) -> None:
    """Print what the parts of one more trial cost."""
    planning, planned = cpu(lambda: injections.on_grid(ground.picture, n, seed=99, ranges=RANGES))
    drawing, added = cpu(
        lambda: inject.lights(ground.picture, planned, ground.psf, stamps.render, seed=99, drops=ground.drops)
    )
    measuring, again = cpu(lambda: recatalog.recatalog(ground.base, ground.picture, ground.psf, added))
    touched = sum((box.x1 - box.x0) * (box.y1 - box.y0) for box in again.cores) / ground.picture.rate.size
    print(
        f"  of which planning {planning:.2f}, drawing {drawing:.2f}, catalogue {measuring:.2f} "
        f"({measuring / whole:.1%}; {again.new.sum()} sources measured, {touched:.1%} of the pixels)"
    )


def main() -> None:
    size = 2000 if "quick" in sys.argv[1:] else 5000
    store = open_store(str(romanisim_ramp().references))
    made = cell(store, size)
    mosaic_catalog(made, store)
    whole, found = cpu(lambda: mosaic_catalog(made, store))
    n = round(PUT_IN * (size / 5000) ** 2)
    ground = injection_trial.ground_of_mosaic(made, store)
    seconds, parts = [], []
    for seed in range(4):
        one, trial = cpu(
            lambda: injection_trial.trial(ground, stamps.render, seed=seed, number=n, ranges=RANGES)  # noqa: B023
        )
        more, function = cpu(lambda: trial.selection)  # noqa: B023
        seconds.append(one + more)
        parts.append(function)
    typical = median(seconds[1:])
    title = f"a cell of {size}², {len(found.table)} sources"
    print(f"\n{title:<58}{'CPU s':>8}{'share':>8}   (must: ≤ 15 %, aim 5 %)")
    print(f"{'whole catalogue':<58}{whole:>8.2f}{1:>8.1%}")
    print(
        f"{f'{n} injections: planned, drawn, found again, matched':<58}{typical:>8.2f}{typical / whole:>8.1%}"
    )
    print(f"{'  the first trial of a process':<58}{seconds[0]:>8.2f}{seconds[0] / whole:>8.1%}")
    show_parts(ground, n, whole)
    in_cell = IN_ALL / CELLS
    reckoned = CELLS * typical * in_cell / n
    print(
        f"{IN_ALL:,} injections over {CELLS} cells, {in_cell:.0f} in each: {reckoned:.1f} CPU s, reckoned"
        f" from these trials, beside {CELLS * whole:.0f} for the catalogues"
    )
    every = selection.together(parts)
    shares = every.at_snr([4.5, 5.5, 6.5, 12.0]).round(2)
    print(f"{every.injected.sum()} put in; found at S/N 4 to 5, 5 to 6, 6 to 7 and 10 to 14: {shares}")
    print(f"peak memory {peak_memory_bytes() / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
