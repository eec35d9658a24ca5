"""Prints the bias of sheared galaxies' shapes beside GalSim's HSM: ``python -m tests.bench.shapes [PAIRS]``.

Pairs of Sérsic galaxies, turned by 90° from each other and sheared by g = ±0.05, behind the PSF of a mosaic
of WFI07 in F158 (drop and pixel in it), at a signal over noise of 50 and more: 20,200 pairs unless said
otherwise. m is the relative bias, c the additive one; both components are sheared in turn. HSM's
re-Gaussianization sees the first few hundred of the same galaxies.
"""

import sys
import time
from typing import Final

import galsim
import numpy as np
from numpy.typing import NDArray
from tests.support import sheared
from tests.support.romanisim_ramp import romanisim_ramp
from tests.support.sheared import Kind

from nexus_pipeline.psf.grid import PsfGrid
from nexus_pipeline.psf.mosaic import mosaic_psf
from nexus_pipeline.recipes.epsf import psf_of
from nexus_pipeline.references.store import open_store
from nexus_pipeline.simulate import exposure

SHEAR, SEED, SIDE, PITCH = 0.05, 81, 20, 96
SIGNALS: Final = (50.0, 200.0)
KINDS: Final = {
    "discs and bulges, n 1 to 4": Kind((1.0, 1.5, 2.5, 4.0), (2.2, 6.0)),
    "discs, n = 1": Kind((1.0,), (2.2, 6.0)),
    "bulges, n = 4": Kind((4.0,), (2.2, 6.0)),
}
PEER_FRAMES: Final = 1
Floats = NDArray[np.float64]


def mosaics_psf() -> PsfGrid:
    store = open_store(str(romanisim_ramp().references))
    aim = exposure.aim(store, "WFI07", "F158", ra_deg=150.0, dec_deg=2.0)
    meta = exposure.exposure_meta("WFI07", "F158", pointing=aim)
    return mosaic_psf(psf_of(meta, store)[0], finer=2, spread_pixels=(2.0, 1.0))


def hsm(seen: sheared.Scene, star: NDArray[np.float32], sigma: float, rng: np.random.Generator) -> Floats:
    """Return g1 and g2 (2, n) of GalSim's re-Gaussianization."""
    kernel = galsim.Image(star[20:-20, 20:-20].copy())
    noisy = seen.image + sigma * rng.standard_normal(seen.image.shape, dtype=np.float32)
    out = np.full((2, len(seen.x)), np.nan)
    for k, (x, y) in enumerate(zip(np.rint(seen.x).astype(int), np.rint(seen.y).astype(int), strict=True)):
        stamp = galsim.Image(noisy[y - 32 : y + 32, x - 32 : x + 32].copy())
        found = galsim.hsm.EstimateShear(stamp, kernel, sky_var=sigma**2, strict=False)
        size = np.hypot(found.corrected_e1, found.corrected_e2)
        if not found.error_message and size < 1:
            shape = galsim.Shear(e1=found.corrected_e1, e2=found.corrected_e2)
            out[:, k] = shape.g1, shape.g2
    return out


def shown(name: str, plus: Floats, minus: Floats, seconds: float) -> None:
    """Print m and c with three standard errors, from shapes (pairs) under a shear and its opposite."""
    both = np.isfinite(plus) & np.isfinite(minus)
    gain, offset = (plus - minus)[both] / (2 * SHEAR) - 1, (plus + minus)[both] / 2
    errors = [3 * each.std() / each.size**0.5 for each in (gain, offset)]
    m, c, lost = 100 * gain.mean(), 1e3 * offset.mean(), 1 - both.mean()
    print(
        f"{name:<42}{m:>8.2f} ±{100 * errors[0]:>5.2f}{c:>9.2f} ±{1e3 * errors[1]:>5.2f}"
        f"{both.sum():>9}{lost:>8.1%}{1e6 * seconds / (4 * plus.size):>9.0f}",
        flush=True,
    )


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 20_200
    psf = mosaics_psf()
    frames = max(1, round(pairs / (SIDE * SIDE)))
    title = "(must: |m| ≤ 2 %, |c| ≤ 1e-3)"
    print(f"{title:<42}{'m %, 3σ':>15}{'c 1e-3, 3σ':>16}{'pairs':>9}{'lost':>8}{'µs each':>9}")
    for name, kind in KINDS.items():
        for signal in SIGNALS:
            show(f"{name}, S/N {signal:.0f}", kind, psf, signal=signal, frames=frames)


def show(name: str, kind: Kind, psf: PsfGrid, *, signal: float, frames: int) -> None:
    """Measure both components of the shear in half of the frames each, so that pairs are counted once."""
    star = psf.stamp(0, 0, radius=80).astype(np.float32)
    ours: dict[int, list[Floats]] = {1: [], -1: []}
    theirs: dict[int, list[Floats]] = {1: [], -1: []}
    cost = [0.0, 0.0]
    for frame in range(2 * frames):
        component = frame % 2
        for sign in (1, -1):
            rng = np.random.default_rng([SEED, frame])
            shear = sign * SHEAR * (1j if component else 1)
            seen = sheared.scene(psf, kind, shear=shear, side=SIDE, pitch=PITCH, rng=rng)
            start = time.process_time()
            made = sheared.measured(seen, star, signal=signal, rng=rng)
            cost[0] += time.process_time() - start
            ours[sign].append(sheared.mean_of_pairs((made.g1, made.g2)[component]))
            if frame < 2 * PEER_FRAMES:
                sigma = float(np.sqrt(np.sum(seen.image.astype(np.float64) ** 2) / len(seen.x))) / signal
                start = time.process_time()
                found = hsm(seen, star, sigma, rng)[component]
                cost[1] += time.process_time() - start
                theirs[sign].append(sheared.mean_of_pairs(found))
    shown(name, np.concatenate(ours[1]), np.concatenate(ours[-1]), cost[0])
    shown(
        "  GalSim's HSM, re-Gaussianization", np.concatenate(theirs[1]), np.concatenate(theirs[-1]), cost[1]
    )


if __name__ == "__main__":
    main()
