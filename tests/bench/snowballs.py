"""Prints what growing snowballs (``expand_large_events``) changes on a whole detector, and what it costs.

Run it as ``python -m tests.bench.snowballs``. One simulated wide-area exposure with snowballs at ten times
their rate and the same without; by brightness of the halo: the share of pixels flagged, and by how much
their rates are too high (DN/s, with the standard error), without and with growth. CPU seconds are those of
the whole of L1 to L2, warm.
"""

import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tests.support.romanisim_ramp import DETECTOR, FILTER, romanisim_ramp

from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.wfi import N_ACTIVE
from nexus_pipeline.products import l1
from nexus_pipeline.products.model import RateImage
from nexus_pipeline.recipes.exposure import calibrate
from nexus_pipeline.references.store import ReferenceStore, open_store
from nexus_pipeline.runner import Settings
from nexus_pipeline.simulate import exposure, snowballs
from nexus_pipeline.simulate.catalog import sources_from_table
from nexus_pipeline.simulate.field import make_field
from nexus_pipeline.simulate.snowballs import RATE_PER_CM2_S, Snowballs
from nexus_pipeline.steps.ramp_fitting import ALGORITHMS

HALOS: Final = ((1, 5), (5, 20), (20, 60), (60, 300), (300, 3000))
"""Electrons a pixel; one pixel's jump search sees some 50 to 70."""
SEED: Final = 5


def ramp(store: ReferenceStore, rate: float, url: str) -> Any:
    """Write a ramp of stars and galaxies with snowballs at ``rate``; return the snowballs."""
    sources = make_field(150.1, 2.2, n_stars=1500, n_galaxies=500, rng=np.random.default_rng(SEED))
    aim = exposure.aim(store, DETECTOR, FILTER, ra_deg=150.1, dec_deg=2.2)
    meta = exposure.exposure_meta(DETECTOR, FILTER, pointing=aim)
    effects = exposure.Effects(snowballs=Snowballs(rate))
    made = exposure.simulate(sources_from_table(sources, FILTER), meta, store, seed=SEED, effects=effects)
    l1.write_ramp(made.ramp, url)
    return made.snowballs


def halo_of(balls: Any) -> NDArray[np.float32]:
    """Return the electrons that halos leave in each pixel, infinite in cores."""
    halo = np.zeros((N_ACTIVE, N_ACTIVE), np.float32)
    for ball in balls:
        reach = ball["core_radius"] + 12 * ball["halo_scale"]
        rows, columns = (
            np.arange(max(int(ball[axis] - reach), 0), min(int(ball[axis] + reach) + 1, N_ACTIVE))
            for axis in ("y", "x")
        )
        distance = np.hypot(columns[None] - ball["x"], rows[:, None] - ball["y"])
        electrons = snowballs.HALO_E * np.exp(-(distance - ball["core_radius"]) / ball["halo_scale"])
        halo[np.ix_(rows, columns)] += np.where(distance <= ball["core_radius"], np.inf, electrons)
    return halo


def fitted(store: ReferenceStore, url: str, algorithm: str, *, grow: bool) -> tuple[RateImage, float]:
    """Return the image of the ramp at ``url`` and the CPU seconds of the second of two runs."""
    settings = Settings({"ramp_fitting": {"algorithm": algorithm, "expand_large_events": grow}})
    for _ in range(2):
        start = time.process_time()
        image = calibrate(url, store, settings=settings)
        cost = time.process_time() - start
    return image, cost


def show(halo: NDArray[np.float32], truth: RateImage, images: tuple[RateImage, RateImage]) -> None:
    spent = np.uint32(DQ.DO_NOT_USE | DQ.SATURATED)
    usable = (truth.dq | images[0].dq | images[1].dq) & spent == 0
    for low, high in HALOS:
        here = usable & (halo > low) & (halo <= high)
        shares = [np.mean(image.dq[here] & np.uint32(DQ.JUMP_DET) != 0) for image in images]
        high_by = [float((image.rate - truth.rate)[here].mean(dtype=float)) for image in images]
        errors = [float(np.sqrt(np.mean(image.err[here] ** 2) / here.sum())) for image in images]
        cells = "".join(
            f"{share:9.1%} {bias:+9.4f} ± {error:.4f}"
            for share, bias, error in zip(shares, high_by, errors, strict=True)
        )
        print(f"  {low:>4} to {high:>4} e-  {here.sum():>8}{cells}")


def main() -> None:
    store = open_store(romanisim_ramp().references.as_uri())
    with tempfile.TemporaryDirectory(prefix="nexus-bench-") as name:
        urls = [str(Path(name) / f"{kind}_uncal.asdf") for kind in ("struck", "clean")]
        balls, _ = (ramp(store, rate, url) for rate, url in zip((10 * RATE_PER_CM2_S, 0), urls, strict=True))
        halo = halo_of(balls)
        print(f"{len(balls)} snowballs; halo, pixels, without and with growth: flagged, rate too high by")
        for algorithm in ALGORITHMS:
            truth, _ = fitted(store, urls[1], algorithm, grow=False)
            (off, cost), (on, more) = (fitted(store, urls[0], algorithm, grow=grow) for grow in (False, True))
            print(f"{algorithm}: {cost:.1f} CPU s, with growth {more:.1f}")
            show(halo, truth, (off, on))


if __name__ == "__main__":
    main()
