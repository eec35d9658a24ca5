"""Prints the CPU seconds and memory of a mosaic of four exposures, beside romancal's, and their growth.

Run it as ``python -m tests.bench.mosaic [N ...]``; N are the numbers of exposures whose growth is shown
(4 8 16 32). Both work on the same four L2 images of our simulator, dithered, with cosmic rays, and put them
on the same skycell of 5000² pixels: flux, skymatch, outlier_detection and resample. CPU seconds are user and
system of all threads, reading and writing apart; each runs in a process of its own, ours after a mosaic of
few pixels that loads the compiled code. Memory is the peak of the process, reading included. More exposures
are the four again.
"""

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from tests.support.romancal_run import SCRIPT, peer
from tests.support.romanisim_ramp import DETECTOR, FILTER, romanisim_ramp

from nexus_pipeline.products import associations, l2, names
from nexus_pipeline.products.associations import Association
from nexus_pipeline.products.model import RateImage, ScienceImage
from nexus_pipeline.products.names import ExposureId
from nexus_pipeline.recipes import mosaic
from nexus_pipeline.recipes.mosaic import Member
from nexus_pipeline.references.store import open_store
from nexus_pipeline.runner import peak_memory_bytes
from nexus_pipeline.scale import memory
from nexus_pipeline.simulate import exposure
from nexus_pipeline.simulate.catalog import sources_from_table
from nexus_pipeline.simulate.field import make_field
from nexus_pipeline.sky import sky_grid, tessellation
from nexus_pipeline.sky.skymap import Skymap
from nexus_pipeline.sky.skymap_file import write_skymap

RA, DEC = 150.1, 2.2
SEED: Final = 9
# Offsets in arcsec and roll in degrees.
DITHERS: Final = ((0, 0, 20.0), (11, -7, 20.0), (-6, 13, 20.4), (8, 9, 200.0))
HITS: Final = 30_000
MUST_S, AIM_S, MUST_GB, MOST_GB = 16, 8, 2.5, 4.0
GROWTH: Final = (4, 8, 16, 32)


def scene(folder: Path) -> tuple[Path, Path]:
    """Write the images, their association and the skymap; return the latter two."""
    sky = tessellation.skymap(tessellation.regions_near(RA, DEC, 0.1)[:1])
    write_skymap(sky, str(folder / "skycells.asdf"))
    cell = nearest(sky)
    info = sky.wcs_info(cell)
    store = open_store(romanisim_ramp().references.as_uri())
    ra, dec, rng = info["ra_center"], info["dec_center"], np.random.default_rng(SEED)
    sources = sources_from_table(
        make_field(ra, dec, n_stars=1500, n_galaxies=1500, rng=rng, filter_name=FILTER), FILTER
    )
    members = []
    for number, (east, north, roll) in enumerate(DITHERS, start=1):
        at = exposure.aim(
            store, DETECTOR, FILTER, ra_deg=ra + east / 3600, dec_deg=dec + north / 3600, roll_deg=roll
        )
        identity = ExposureId(exposure=number)
        meta = exposure.exposure_meta(DETECTOR, FILTER, pointing=at, exposure_id=identity)
        image, _ = exposure.simulate_ideal(sources, meta, store, seed=SEED + number)
        members.append(names.file_name(identity, DETECTOR, FILTER, level="L2"))
        l2.write_rate_image(struck(image, rng), str(folder / members[-1]))
    made = Association(f"r00001_p_v01001001001001_{info['name']}_f158", tuple(members), 1, "p", info)
    target = folder / associations.file_name(made)
    associations.write_association(made, str(target))
    return target, folder / "skycells.asdf"


def nearest(sky: Skymap) -> int:
    away = np.hypot(sky.skycells["ra_center"] - RA, sky.skycells["dec_center"] - DEC)
    return int(np.argmin(away))


def struck(image: RateImage, rng: np.random.Generator) -> RateImage:
    """Return ``image`` with what rays left that the ramp fit did not see: 5 to 200 σ."""
    y, x = rng.integers(0, image.rate.shape[0], (2, HITS))
    rate = image.rate.copy()
    rate[y, x] += rng.uniform(5, 200, HITS).astype(np.float32) * image.err[y, x]
    return replace(image, rate=rate)


def ours(association: str, n: int, out: str | None) -> dict[str, Any]:
    """Return CPU seconds without reading, wall seconds by step and the memory; the planes go to ``out``."""
    memory.keep_freed()
    asked = associations.read_association(association)
    grid = sky_grid.on_skycell(asked.skycell)
    reading = [0.0]
    folder = str(Path(association).parent)

    def load(name: str, number: int) -> Callable[[], ScienceImage]:
        def read() -> ScienceImage:
            start = time.process_time()
            image = l2.read_science_image(f"{folder}/{name}")
            image = replace(image, meta=replace(image.meta, exposure_id=ExposureId(exposure=number)))
            reading[0] += time.process_time() - start
            return image

        return read

    members = [
        Member(f"{number}", load(asked.members[number % len(asked.members)], number)) for number in range(n)
    ]
    few = replace(grid, nx=100, ny=100, reference=tuple(at - 2450 for at in grid.reference))
    mosaic.coadd(members[:2], few)
    reading[0], start = 0.0, time.process_time()
    made = mosaic.coadd(members, grid)
    seconds = time.process_time() - start - reading[0]
    if out is not None:
        planes = ("data", "err", "weight", "var_rnoise", "context")
        np.savez(out, time=made.coadd.time_s, **{name: getattr(made.coadd, name) for name in planes})
    walls = {step.name: step.seconds for step in made.steps}
    told = {"seconds": seconds, "read": reading[0], "walls": walls, "peak": peak_memory_bytes()}
    return told | {"rejected": len(made.rejected)}


def alone(function: Callable[..., dict[str, Any]], *arguments: object) -> dict[str, Any]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def show_difference(ours_: Any, theirs: Any) -> None:
    """Print how both mosaics differ inside, where both have four images."""
    inner = np.s_[5:-5, 5:-5]
    both = (ours_["context"][0][inner] == 15) & (theirs["context"][0][inner] == 15)
    apart = np.abs(ours_["data"][inner] - theirs["data"][inner])[both] / theirs["err"][inner][both]
    shares = ", ".join(f"{share:g} % ≤ {np.percentile(apart, share):.1e}" for share in (50, 90, 99, 99.9))
    print(f"|Δ data| / σ on {both.mean():.1%} of the pixels: {shares}")
    for name in ("weight", "var_rnoise"):
        ratio = ours_[name][inner][both] / theirs[name][inner][both]
        print(f"  {name}: ours / theirs {np.percentile(ratio, [1, 50, 99])}")


def main() -> None:
    counts = [int(each) for each in sys.argv[1:]] or list(GROWTH)
    with tempfile.TemporaryDirectory(prefix="nexus-bench-") as name:
        folder = Path(name)
        association, skymap = scene(folder)
        told = alone(ours, str(association), 4, str(folder / "ours.npz"))
        theirs = peer(
            SCRIPT.with_name("romancal_mosaic.py"), association, skymap, folder / "theirs.npz", crds=folder
        )
        print(f"{'four exposures, 5000²':<34}{'CPU s':>8}{'GB':>8}{'read, CPU s':>14}")
        label = f"ours (must: ≤ {MUST_S} s, {MUST_GB} GB; aim {AIM_S} s)"
        print(f"{label:<34}{told['seconds']:8.1f}{told['peak'] / 1e9:8.2f}{told['read']:14.1f}")
        reading = theirs["seconds"].pop("read")
        total = sum(theirs["seconds"].values())
        print(f"{'romancal 1.1':<34}{total:8.1f}{theirs['peak'] / 1e9:8.2f}{reading:14.1f}")
        print("  by step: " + ", ".join(f"{key} {value:.1f}" for key, value in theirs["seconds"].items()))
        print("  ours, wall: " + ", ".join(f"{key} {value:.1f}" for key, value in told["walls"].items()))
        print(f"  {told['rejected']} pixels rejected; {HITS} rays fell on each image")
        show_difference(np.load(folder / "ours.npz"), np.load(folder / "theirs.npz"))
        print(f"\n{'exposures':<12}{'CPU s':>8}{'GB':>8}{'read, CPU s':>14}   (must: ≤ {MOST_GB} GB)")
        for n in counts:
            grown = alone(ours, str(association), n, None)
            print(
                f"{n:<12}{grown['seconds']:8.1f}{grown['peak'] / 1e9:8.2f}{grown['read']:14.1f}", flush=True
            )


if __name__ == "__main__":
    main()
