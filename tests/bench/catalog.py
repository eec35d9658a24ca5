"""Prints what catalogues cost, beside romancal, sep and photutils.

Run it as ``python -m tests.bench.catalog [quick] [detection|catalogues|fits|growth ...]``, by
default all of it. Detection and deblending run on an idealised mosaic of 5000² pixels (2000² if quick), with
the same 7×7 filter, 32 levels and contrast 0.005 for sep, whose threshold is lowered until it has as many
false detections in pure noise. Catalogues are of two mosaics: one in which we find about 2,600 sources, and
one in which romancal does, whose default takes no blends apart; sep and photutils do, and fit no PSFs. PSF
fits are of 10,000 stars on a detector, photutils' of as many to the pixel; growth is that of whole catalogues
with 10³ to 10⁵ sources. CPU seconds are user and system of all threads, of the second run in a process:
compilers do not count (photutils' first run is its only one: nothing is compiled).
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tests.bench.inject import cell
from tests.support.photutils_run import photutils
from tests.support.romancal_run import romancal_catalog
from tests.support.romanisim_ramp import romanisim_ramp
from tests.support.sep_run import extracted

from nexus_pipeline.measure import detect
from nexus_pipeline.measure.matched_filter import significance
from nexus_pipeline.products import l3
from nexus_pipeline.products.model import Mosaic
from nexus_pipeline.psf import fit
from nexus_pipeline.psf.grid import PsfGrid
from nexus_pipeline.recipes.catalog import mosaic_catalog
from nexus_pipeline.recipes.epsf import mosaic_psf_of, psf_of
from nexus_pipeline.references.store import ReferenceStore, open_store
from nexus_pipeline.runner import peak_memory_bytes
from nexus_pipeline.scale import memory
from nexus_pipeline.simulate import catalog, exposure, mosaic
from nexus_pipeline.simulate.field import make_field
from nexus_pipeline.sky.mosaic_wcs import MosaicGrid

Plane = NDArray[np.float32]
RA, DEC, SEED = 150.0, 2.0, 7
THRESHOLDS: Final = (5.5, 5.2, 5.0, 4.8)
CIRCLES: Final = (1.8, 3.6, 7.3, 14.5, 29.1)
"""Radii in pixels of what catalogues have in arcsec."""
THEIR_FITS, THEIR_SIZE = 1_000, 1293
"""Stars that photutils fits, as dense on so many pixels along an edge as 10,000 on a detector."""
DENSE: Final = (5_200, 20_800)
"""Stars and galaxies over a disc about 5000² pixels of which romancal finds some 2,800."""
PARTS: Final = ("detection", "catalogues", "fits", "growth")


def sky(store: ReferenceStore, size: int, n_stars: int, n_galaxies: int) -> Mosaic:
    aim = exposure.aim(store, "WFI07", "F158", ra_deg=RA, dec_deg=DEC)
    meta = exposure.exposure_meta("WFI07", "F158", pointing=aim)
    radius = size * 0.055 / 3600 / 2**0.5
    rng = np.random.default_rng(SEED)
    table = make_field(RA, DEC, n_stars=n_stars, n_galaxies=n_galaxies, rng=rng, radius_deg=radius)
    sources = catalog.sources_from_table(table, "F158")
    stack = mosaic.Stack(MosaicGrid(RA, DEC, size), 4)
    return mosaic.simulate_mosaic(sources, meta, store, stack, seed=3)[0]


def cpu(work: Any, *, repeats: int = 2) -> tuple[float, Any]:
    """Return the CPU seconds of the last of ``repeats`` runs, and what it gave."""
    seconds, made = 0.0, None
    for _ in range(repeats):
        start = time.process_time()
        made = work()
        seconds = time.process_time() - start
    return seconds, made


def detections(image: Plane, kernel: Plane) -> detect.Detections:
    variance, usable = np.ones_like(image), np.ones(image.shape, np.bool_)
    return detect.detect(significance(image, variance, usable, kernel))


def in_noise(made: Mosaic) -> Plane:
    """Return the image less its sky, its noise 1."""
    image = (made.data - np.median(made.data)) / np.sqrt(np.median(made.err**2))
    return image.astype(np.float32)


def show_detection(made: Mosaic, psf: PsfGrid) -> None:
    kernel = psf.stamp(0, 0, radius=3).astype(np.float32)
    image = in_noise(made)
    noise = np.random.default_rng(5).standard_normal(image.shape, dtype=np.float32)
    false = len(detections(noise, kernel))
    seconds, found = cpu(lambda: detections(image, kernel))
    title = f"detection and deblending, {image.shape[0]}²"
    print(f"\n{title:<44}{'CPU s':>8}{'sources':>9}{'false':>8}")
    print(f"{'ours (must: ≤ 0.5 of sep, aim 0.25)':<44}{seconds:>8.2f}{len(found):>9}{false:>8}")
    for threshold in THRESHOLDS:
        theirs_false = len(extracted(noise, kernel, threshold=threshold)["x"])
        if theirs_false >= false or threshold == THRESHOLDS[-1]:
            theirs = extracted(image, kernel, threshold=threshold, repeats=2)
            cost = float(theirs["seconds"][-1])
            print(
                f"{f'  sep 1.4 at {threshold} σ':<44}{cost:>8.2f}{len(theirs['x']):>9}{theirs_false:>8}"
                f"   ours is {seconds / cost:.2f} of it"
            )
            return


def show_catalogues(store: ReferenceStore, made: Mosaic) -> None:
    """Print what whole catalogues of one mosaic cost, arrays in memory to catalogue in memory."""
    seconds, found = cpu(lambda: mosaic_catalog(made, store))
    print(f"\n{f'a catalogue of a mosaic, {made.data.shape[0]}²':<44}{'CPU s':>8}{'sources':>9}{'GB':>8}")
    told = f"{seconds:>8.2f}{len(found.table):>9}{peak_memory_bytes() / 1e9:>8.2f}"
    print(f"{'ours: deblended, PSF (must: ≤ 5, aim 2)':<44}{told}", flush=True)
    with tempfile.TemporaryDirectory(prefix="nexus-bench-") as folder:
        l3.write_mosaic(made, f"{folder}/coadd.asdf")
        references = romanisim_ramp().references
        theirs = romancal_catalog(references, Path(folder, "coadd.asdf"), Path(folder), repeats=1)
    told = f"{theirs['seconds'][-1]:>8.2f}{theirs['sources']:>9}{theirs['peak'] / 1e9:>8.2f}"
    print(f"{'  romancal 1.1: not deblended, PSF':<44}{told}", flush=True)
    psf, _ = mosaic_psf_of(made.meta, store, scale_arcsec=0.055)
    image, kernel = in_noise(made), psf.stamp(0, 0, radius=3).astype(np.float32)
    sources = extracted(image, kernel, threshold=detect.PEAK_SIGMA, repeats=2, radii=CIRCLES)
    told = f"{sources['seconds'][-1]:>8.2f}{len(sources['x']):>9}{float(sources['peak']) / 1e9:>8.2f}"
    print(f"{'  sep 1.4: deblended, no PSF':<44}{told}", flush=True)
    sources = photutils("catalog", image=image, kernel=kernel, threshold=detect.PEAK_SIGMA)
    told = f"{float(sources['seconds']):>8.2f}{len(sources['x']):>9}"
    print(f"{'  photutils 3.1: deblended, no PSF':<44}{told}", flush=True)


def show_their_fits(psf: PsfGrid) -> None:
    """Print what photutils takes to fit stars as dense as ours, with their neighbours."""
    rng = np.random.default_rng(SEED)
    x, y = rng.uniform(10, THEIR_SIZE - 10, (2, THEIR_FITS))
    flux = rng.uniform(10, 1_000, THEIR_FITS)
    image = np.zeros((THEIR_SIZE, THEIR_SIZE), np.float32)
    psf.add_to(image, x, y, flux, radii=np.full(THEIR_FITS, 30))
    image += rng.standard_normal(image.shape, dtype=np.float32)
    nodes = np.arange(-40, 41) / psf.oversample
    dx, dy = np.meshgrid(nodes, nodes)
    made = photutils(
        "fits", image=image, error=np.ones_like(image), psf=psf.values(0.0, 0.0, dx=dx, dy=dy),
        oversampling=psf.oversample, x=x, y=y, flux=flux,
    )  # fmt: skip
    seconds = float(made["seconds"])
    title = f"  photutils 3.1: {THEIR_FITS:,} stars, grouped"
    print(f"{title:<44}{seconds:>8.2f}{1e6 * seconds / THEIR_FITS:>9.1f}")


def show_fits(psf: PsfGrid) -> None:
    rng = np.random.default_rng(SEED)
    print(f"\n{'PSF photometry of a detector':<44}{'CPU s':>8}{'µs each':>9}   (must: ≤ 1 s for 10,000)")
    for n in (1_000, 10_000, 100_000):
        x, y = rng.uniform(10, 4078, (2, n))
        # As make_field's stars, 10^0.15 a magnitude from 16.5 to 25.5; 26 mag give 1 DN/s.
        low, high = (10 ** (0.15 * limit) for limit in (16.5, 25.5))
        flux = 10 ** (-0.4 * (np.log10(low + rng.random(n) * (high - low)) / 0.15 - 26.0))
        image = np.zeros((4088, 4088), np.float32)
        psf.add_to(image, x, y, flux, radii=np.full(n, 30))
        image += 0.06 * rng.standard_normal(image.shape, dtype=np.float32)
        level = np.linspace(0, 20_000, 40)
        options: dict[str, Any] = {
            "extra_variance": np.zeros_like(image),
            "psf": psf,
            "noise": fit.NoiseCurve(level, 0.06**2 + 0.004 * level),
            "x": np.rint(x),
            "y": np.rint(y),
        }
        usable = np.ones(image.shape, np.bool_)
        for passes, name in ((1, "alone"), (3, "three times, neighbours off")):
            seconds, _ = cpu(
                lambda: fit.fit_sources(image, np.zeros_like(image), usable, passes=passes, **options)  # noqa: B023
            )
            print(f"{f'{n:7,} stars, {name}':<44}{seconds:>8.2f}{1e6 * seconds / n:>9.1f}")


def show_growth(store: ReferenceStore, size: int) -> None:
    title = f"whole catalogue of a mosaic, {size}²"
    print(f"\n{title:<44}{'CPU s':>8}{'sources':>9}{'GB':>8}   (must: ≤ 5 s at 2,788)")
    for n in (1_000, 3_000, 10_000, 30_000, 100_000):
        made = sky(store, size, n // 5, n - n // 5)
        seconds, found = cpu(lambda: mosaic_catalog(made, store))  # noqa: B023
        print(f"{f'{n:7,} drawn':<44}{seconds:>8.2f}{len(found.table):>9}{peak_memory_bytes() / 1e9:>8.2f}")


def main() -> None:
    memory.keep_freed()
    quick = "quick" in sys.argv[1:]
    parts = [part for part in PARTS if part in sys.argv[1:]] or PARTS
    size = 2000 if quick else 5000
    store = open_store(str(romanisim_ramp().references))
    if "detection" in parts:
        made = sky(store, size, 4_000 * size**2 // 5000**2, 16_000 * size**2 // 5000**2)
        show_detection(made, mosaic_psf_of(made.meta, store, scale_arcsec=0.055)[0])
        del made
    if "catalogues" in parts:
        show_catalogues(store, cell(store, size))
        show_catalogues(store, sky(store, size, *(n * size**2 // 5000**2 for n in DENSE)))
    if "fits" in parts:
        aim = exposure.aim(store, "WFI07", "F158", ra_deg=RA, dec_deg=DEC)
        psf, _ = psf_of(exposure.exposure_meta("WFI07", "F158", pointing=aim), store)
        show_fits(psf)
        show_their_fits(psf)
    if "growth" in parts:
        show_growth(store, size)


if __name__ == "__main__":
    main()
