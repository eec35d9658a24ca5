"""Prints what the whole sky's skymap costs, and how fast 10,000 exposures find the skycells they touch.

Run it as ``python -m tests.bench.skymap [N_EXPOSURES]``. Exposures lie at random over 2,000 square
degrees, 18 detectors each; one in a hundred is compared with all skycells near it, plane by plane in space.
"""

import sys
import time
from typing import Final

import numpy as np
from tests.pipeline.test_skymap import by_brute_force

from nexus_pipeline.instrument.wfi import DETECTORS
from nexus_pipeline.products.model import Pointing
from nexus_pipeline.runner import peak_memory_bytes
from nexus_pipeline.sky import tessellation
from nexus_pipeline.sky.distortion import synthetic_distortion
from nexus_pipeline.sky.footprint import footprints

N_EXPOSURES: Final = 10_000
MUST_S: Final = 20.0
# About 2,000 square degrees, RA 0 within.
RA_DEG, DEC_DEG = (330.0, 390.0), (-52.0, -6.0)
SEED: Final = 1


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else N_EXPOSURES
    start = time.perf_counter()
    skymap = tessellation.skymap()
    print(
        f"whole sky: {len(skymap.regions)} projection regions, {len(skymap.skycells):,} skycells in "
        f"{time.perf_counter() - start:.1f} s, peak {peak_memory_bytes() / 1e9:.1f} GB"
    )
    rng = np.random.default_rng(SEED)
    dec = np.rad2deg(np.arcsin(rng.uniform(*np.sin(np.deg2rad(DEC_DEG)), n)))
    ra, roll = rng.uniform(*RA_DEG, n) % 360, rng.uniform(0, 360, n)
    pointings = [Pointing(*map(float, each)) for each in zip(ra, dec, roll, strict=True)]
    transforms = [synthetic_distortion(name) for name in DETECTORS]
    start = time.perf_counter()
    outlines = footprints(transforms, pointings)
    middle = time.perf_counter()
    which, cells = skymap.touched_by(outlines)
    end = time.perf_counter()
    print(
        f"{n:,} exposures × {len(DETECTORS)} detectors: outlines {middle - start:.1f} s, skycells "
        f"{end - middle:.1f} s (must: ≤ {MUST_S:.0f} s), {len(which):,} pairs, "
        f"{len(which) / len(outlines):.1f} skycells a detector"
    )
    sample = rng.choice(len(outlines), max(1, len(outlines) // 100), replace=False)
    slow = {(int(sample[row]), cell) for row, cell in by_brute_force(skymap, outlines[sample])}
    picked = np.isin(which, sample)
    fast = set(zip(which[picked].tolist(), cells[picked].tolist(), strict=True))
    print(f"1 % by brute force: {len(slow):,} pairs, {len(fast ^ slow)} of them otherwise")


if __name__ == "__main__":
    main()
