"""Prints how often isolated stars are found in blank fields, beside Φ(S/N - threshold), and what is no star.

Run it as ``python -m tests.bench.completeness [FIELDS]`` (6 of each kind unless said): white noise of unit
variance on 2000² pixels of a detector and of a mosaic (WFI07, F158), through filter and detection as the
catalogue has them. S/N is that of a star's own place in the pixels. Beside all stars stand those in the
middle of a pixel (a fifth of it) and those where four pixels meet (beyond 0.35 along both axes). At the
default threshold noise makes one source in 4088² pixels: what is no star is counted at lower ones as well,
among stars and in the same noise without them, both where the filter (0.44″) reaches no star.
"""

import sys
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RegularGridInterpolator
from scipy.spatial import cKDTree
from scipy.stats import norm
from tests.bench.shapes import mosaics_psf
from tests.support.romanisim_ramp import romanisim_ramp

from nexus_pipeline.measure import detect
from nexus_pipeline.measure.matched_filter import significance
from nexus_pipeline.psf.grid import PsfGrid
from nexus_pipeline.recipes import measuring
from nexus_pipeline.recipes.epsf import psf_of
from nexus_pipeline.references.store import open_store
from nexus_pipeline.simulate import exposure

Floats = NDArray[np.float64]
Plane = NDArray[np.float32]
SIZE, SEED, THRESHOLD = 2000, 7, detect.PEAK_SIGMA
APART: Final = 5
"""How many times the filter's reach stars stand apart: 2.2″."""
SNR: Final = np.arange(3.5, 8.6, 0.5)
LOWER: Final = (THRESHOLD, 4.5, 4.0)
"""Thresholds at which false sources are counted, falling."""
NEAR = 3.0
"""Pixels within which a star is found."""


class Field(NamedTuple):
    """Stars of a field: S/N, place in the pixel along either axis, found or not; and what is no star.

    The latter as counts at the ``LOWER`` thresholds: of all, of no stars, and of those in noise alone.
    """

    snr: Floats
    inside_x: Floats
    inside_y: Floats
    found: NDArray[np.bool_]
    n_detections: Floats
    n_spurious: Floats
    n_in_noise: Floats


def own_norm(psf: PsfGrid, inside_x: Floats, inside_y: Floats) -> Floats:
    """Return the root of the sum of squares of stars of unit flux at places in a pixel."""
    at, middle = np.linspace(-0.5, 0.5, 21), SIZE // 2
    table = [[np.sum(psf.stamp(middle + dx, middle + dy, radius=12) ** 2) for dx in at] for dy in at]
    found = RegularGridInterpolator((at, at), np.sqrt(table))(np.column_stack([inside_y, inside_x]))
    return np.asarray(found, dtype=np.float64)


def field(psf: PsfGrid, kernel: Plane, *, seed: int) -> Field:
    reach = kernel.shape[0] // 2
    rng = np.random.default_rng([SEED, seed])
    image = rng.standard_normal((SIZE, SIZE), dtype=np.float32)
    inside = measuring.stars_between(psf, kernel)
    in_noise = detections(image, kernel, inside)
    nodes = np.arange(20, SIZE - 20, float(APART * reach))
    x, y = (axis.ravel() for axis in np.meshgrid(nodes, nodes))
    # Not beyond ±0.49: a stamp of ``own_norm`` belongs to the pixel it is about.
    dx, dy = rng.uniform(-0.49, 0.49, (2, x.size))
    snr = rng.uniform(SNR[0], SNR[-1], x.size)
    psf.add_to(image, x + dx, y + dy, snr / own_norm(psf, dx, dy), radii=np.full(x.size, 12))
    found = detections(image, kernel, inside)
    stars = np.column_stack([x + dx, y + dy])
    seen = np.column_stack([found.x, found.y])[found.significance >= THRESHOLD]
    near = cKDTree(seen).query(stars)[0] < NEAR
    whole = np.array([np.count_nonzero(found.significance >= least) for least in LOWER], np.float64)
    return Field(snr, dx, dy, near, whole, away_from(stars, found, reach), away_from(stars, in_noise, reach))


def away_from(stars: Floats, found: detect.Detections, reach: int) -> Floats:
    """Return how many sources there are at ``LOWER`` thresholds more than ``reach`` pixels from any star."""
    lonely = cKDTree(stars).query(np.column_stack([found.x, found.y]))[0] > reach
    return np.array([np.count_nonzero(lonely & (found.significance >= least)) for least in LOWER], np.float64)


def detections(image: Plane, kernel: Plane, inside: measuring.Between) -> detect.Detections:
    usable = np.ones(image.shape, np.bool_)
    filtered = significance(image, np.ones_like(image), usable, kernel)
    return detect.detect(filtered, peak=LOWER[-1], between=inside)


def compared(snr: Floats, found: NDArray[np.bool_], here: NDArray[np.bool_]) -> str:
    """Return the share of stars that were found, its difference from Φ in points, and its standard error."""
    expected = norm.cdf(snr[here] - THRESHOLD).mean()
    error = np.sqrt(expected * (1 - expected) / np.count_nonzero(here))
    share = found[here].mean()
    return f"{share:>8.3f}{100 * (share - expected):>+7.1f} ±{300 * error:>4.1f}"


def show(name: str, psf: PsfGrid, kernel: Plane, n_fields: int) -> None:
    fields = [field(psf, kernel, seed=seed) for seed in range(n_fields)]
    snr, dx, dy, found = (np.concatenate([each[k] for each in fields]) for k in range(4))
    apart, both = np.maximum(abs(dx), abs(dy)), np.minimum(abs(dx), abs(dy))
    kinds = (apart <= 1, apart < 0.22, both > 0.35)
    print(f"\n{name}: {snr.size} stars of S/N {SNR[0]} to {SNR[-1]} (must: within 3 points of Φ)")
    print(f"{'S/N':>9}" + "".join(f"{kind + ', points, 3σ':>22}" for kind in ("all", "middle", "corner")))
    for low in SNR[:-1]:
        here = (snr >= low) & (snr < low + 0.5)
        print(
            f"{low:>5.1f}-{low + 0.5:.1f}"
            + "".join(f"  {compared(snr, found, here & kind)}" for kind in kinds)
        )
    at = np.abs(snr - THRESHOLD - 1.4) < 0.1
    print(f"at threshold + 1.4 σ (must: 0.90; Φ 0.919): {compared(snr, found, at)}")
    n, wrong, noise = (np.sum([each[k] for each in fields], axis=0) for k in (4, 5, 6))
    print(
        f"{'threshold':>9}{'found':>8}{'no stars':>10}{'share':>9}{'in noise':>10}   ratio, 3σ (0.7 to 1.3)"
    )
    for least, whole, false, alone in zip(LOWER, n, wrong, noise, strict=True):
        ratio = false / max(alone, 1)
        # As if the noise were not the same: that makes it rather too large.
        error = 3 * ratio * np.sqrt(1 / max(false, 1) + 1 / max(alone, 1))
        share = f"{false / max(whole, 1):>9.2%}"
        print(f"{least:>9.1f}{whole:>8.0f}{false:>10.0f}{share}{alone:>10.0f}{ratio:>8.2f} ±{error:>5.2f}")
    print(f"(share at {THRESHOLD:.1f} σ must be ≤ 1 %)", flush=True)


def main() -> None:
    n_fields = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    store = open_store(str(romanisim_ramp().references))
    aim = exposure.aim(store, "WFI07", "F158", ra_deg=150.0, dec_deg=2.0)
    meta = exposure.exposure_meta("WFI07", "F158", pointing=aim)
    for name, psf, radius in (
        ("detector, 0.11″", psf_of(meta, store)[0], 4),
        ("mosaic, 0.055″", mosaics_psf(), 8),
    ):
        kernel = psf.stamp(SIZE // 2, SIZE // 2, radius=radius).astype(np.float32)
        show(name, psf, kernel, n_fields)


if __name__ == "__main__":
    main()
