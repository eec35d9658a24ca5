"""Prints how well fluxes of stars with a neighbour are measured, against its distance, beside sep.

Run it as ``python -m tests.bench.blends [quick]``. Pairs of stars stand on a mosaic's pixels (0.055″) in
white noise: one of S/N 50 and a neighbour as bright, or of a third of its light. Ours are found, taken apart
and fitted as in a catalogue. sep finds them on the same image with the same filter; its fluxes are those of a
circle of 0.165″ without the pixels of other sources, over a single star's share in it. A star counts if
something was found within 1.5 pixels of it. Bias is the median of flux over truth less 1, with its standard
error; scatter is 1.48 times the median deviation, over the error of a lone star's flux at its known place.
"""

import sys
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from tests.bench.catalog import detections
from tests.bench.shapes import mosaics_psf
from tests.support.sep_run import extracted

from nexus_pipeline.measure import sources
from nexus_pipeline.measure.compare import median_and_error, robust_width
from nexus_pipeline.psf import fit
from nexus_pipeline.psf.fit_kernels import window_radius
from nexus_pipeline.psf.grid import PsfGrid

Floats = NDArray[np.float64]

SEED: Final = 5
PAIRS: Final = 2_000
STEP: Final = 50
"""Pixels between pairs."""
DISTANCES: Final = (1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 18.0)
SIGNAL: Final = 50.0
RADIUS: Final = 3.0
NEAR: Final = 1.5
THRESHOLD: Final = 5.0


def pairs(psf: PsfGrid, distance: float, ratio: float, n: int) -> tuple[NDArray[np.float32], Floats, Floats]:
    """Return an image of noise 1, places (x and y, n, 2) and fluxes (n, 2): star and neighbour."""
    rng = np.random.default_rng(SEED)
    edge = int(np.ceil(np.sqrt(n)))
    nodes = STEP // 2 + STEP * np.arange(edge)
    x, y = (each.ravel()[:n] + rng.uniform(-0.5, 0.5, n) for each in np.meshgrid(nodes, nodes))
    angle = rng.uniform(0, 2 * np.pi, n)
    away = distance * np.stack([np.cos(angle), np.sin(angle)])
    at = np.stack([np.stack([x, y]), np.stack([x, y]) + away], axis=-1)
    norm = np.sqrt(np.sum(psf.stamp(0, 0, radius=window_radius(psf.oversample)) ** 2))
    flux = np.broadcast_to(SIGNAL / norm * np.array([1.0, ratio]), (n, 2))
    image = rng.standard_normal((edge * STEP, edge * STEP), dtype=np.float32)
    psf.add_to(image, at[0].ravel(), at[1].ravel(), flux.ravel(), radii=np.full(2 * n, 20))
    return image, at, flux


def ours(image: NDArray[np.float32], psf: PsfGrid) -> tuple[Floats, Floats, Floats]:
    """Return places and fluxes."""
    found = detections(image, psf.stamp(0, 0, radius=8).astype(np.float32))
    nothing, usable = np.zeros_like(image), np.ones(image.shape, np.bool_)
    noise = fit.NoiseCurve(np.array([-1e6, 1e6]), np.ones(2))
    x, y = found.x.astype(np.float64), found.y.astype(np.float64)
    made = fit.fit_sources(image, nothing, usable, extra_variance=nothing, psf=psf, noise=noise, x=x, y=y)
    good = made.converged
    return made.x[good], made.y[good], made.flux[good]


def theirs(image: NDArray[np.float32], psf: PsfGrid) -> tuple[Floats, Floats, Floats]:
    kernel = psf.stamp(0, 0, radius=8).astype(np.float32)
    share = sources.circle_share(psf.stamp(0, 0, radius=12), RADIUS)
    made = extracted(image, kernel, threshold=THRESHOLD, radii=(RADIUS,))
    return made["x"], made["y"], made["circles"][:, 0] / share


def judged(found: tuple[Floats, Floats, Floats], at: Floats, flux: Floats, sigma: float) -> str:
    """Return how many pairs were taken apart, how many stars found, bias and scatter of the latter."""
    tree = cKDTree(np.column_stack(found[:2]))
    (far, which), (far_other, other) = (tree.query(at[:, :, k].T) for k in (0, 1))
    there = far < NEAR
    apart = there & (far_other < NEAR) & (which != other)
    off = found[2][which[there]] / flux[there, 0] - 1
    if off.size < 10:
        return f"{apart.mean():>8.2f}{there.mean():>8.2f}{'-':>9}{'-':>8}{'-':>9}"
    median, error = median_and_error(off)
    scatter = robust_width(off) / sigma
    return f"{apart.mean():>8.2f}{there.mean():>8.2f}{median:>9.2%}{error:>8.2%}{scatter:>9.2f}"


def main() -> None:
    psf = mosaics_psf()
    n = 400 if "quick" in sys.argv[1:] else PAIRS
    columns = f"{'apart':>8}{'found':>8}{'bias':>9}{'±':>8}{'scatter':>9}"
    for ratio in (1.0, 1 / 3):
        print(f"\n{n:,} stars of S/N {SIGNAL:.0f}, a neighbour of {ratio:.2f} of the light")
        print(f"{'pixels':<10}{'ours':>42}   {'sep 1.4':>42}\n{'':<10}{columns}   {columns}")
        for distance in DISTANCES:
            image, at, flux = pairs(psf, distance, ratio, n)
            told = [judged(each(image, psf), at, flux, 1 / SIGNAL) for each in (ours, theirs)]
            print(f"{distance:<10.1f}{told[0]}   {told[1]}", flush=True)


if __name__ == "__main__":
    main()
