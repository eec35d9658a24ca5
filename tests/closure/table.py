"""Prints how well stars come back from simulation, calibration and photometry: ``make closure``.

Run it as ``python -m tests.closure.table``. Some 5,300 isolated stars of one brightness at a time, on a
jittered grid of 56 pixels: fluxes where the star truly is and where the fit finds it, honest errors,
positions against the phase in a pixel, and one flux all over a detector and on three detectors. Pulls are
also compared with the width that the coupling of pixels gives them, and without any. Each figure
stands beside its standard error and its limit, which is at least three of them; the exit status is the number
of figures outside.
"""

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from tests.closure.coupling import pull_width
from tests.support import simulator as scene

from nexus_pipeline.instrument.wfi import N_ACTIVE
from nexus_pipeline.measure import compare
from nexus_pipeline.products import l1
from nexus_pipeline.products.model import RateImage
from nexus_pipeline.recipes.catalog import catalog
from nexus_pipeline.recipes.exposure import calibrate
from nexus_pipeline.recipes.forced import forced
from nexus_pipeline.references.make import make_references
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.simulate import exposure
from nexus_pipeline.simulate.catalog import sources_from_table
from nexus_pipeline.simulate.detector import darks
from nexus_pipeline.simulate.optics import epsf_reference
from nexus_pipeline.sky import distortion, wcs

Floats = NDArray[np.float64]

FILTER: Final = "F158"
STARS_ACROSS, PITCH_PIXELS, JITTER_PIXELS = 73, 56.0, 10.0
SPREAD_MAG: Final = 0.1
# Magnitudes from a signal-to-noise ratio of twelve to just below saturation in 139 s; the
# faintest more than once, because 5,300 stars of 12 σ leave their mean uncertain by 0.12 %.
# What is not found, or found because noise made it brighter, would bias them: at 10 σ all that there are
# are measured, where they are.
FAINTEST: Final = (25.093, 2)
UNCOUPLED_MAG: Final = 23.2
BINS: Final = ((24.85, 3), (24.0, 2), (23.2, 1), (22.0, 1), (20.5, 1), (19.0, 1), (18.2, 1))
DETECTORS: Final = ("WFI01", "WFI07", "WFI18")
ELSEWHERE_MAG: Final = 19.0
BLUNDER_SIGMA: Final = 6.0
"""Pixels hit by cosmic rays that were not seen spoil a star in a thousand: no part of a mean."""


@dataclass(frozen=True)
class Stars:
    """Isolated stars of one brightness: flux ratios, free and forced, with relative errors and places."""

    free: Floats
    free_error: Floats
    forced: Floats
    forced_error: Floats
    x: Floats
    y: Floats
    offset: tuple[Floats, Floats]
    pull_width: float

    @property
    def signal_to_noise(self) -> float:
        return float(np.median(1 / self.forced_error))


@dataclass(frozen=True)
class Row:
    """One figure, its standard error, and how far from ``expected`` it may be."""

    name: str
    n: int
    value: float
    error: float
    limit: float
    expected: float = 0.0

    @property
    def good(self) -> bool:
        return abs(self.value - self.expected) <= self.limit

    def line(self) -> str:
        verdict = ("good" if self.good else "OUTSIDE") + ("" if self.limit >= 3 * self.error else ", vague")
        return (
            f"{self.name:<58} {self.n:6d} {self.value:+10.5f} ± {self.error:.5f}  "
            f"{self.expected:+.4f} ± {self.limit:.4f}  {verdict}"
        )


def references(folder: Path) -> ReferenceStore:
    made = make_references(
        folder.as_uri(), distortion.geometry, darks, detectors=list(DETECTORS), filter_names=[FILTER], seed=1
    )
    return made.add([epsf_reference(detector, FILTER) for detector in DETECTORS])


def calibrated(
    store: ReferenceStore, folder: Path, detector: str, magnitude: float, *, seed: int, ipc: bool = True
) -> tuple[RateImage, Table]:
    """Return the image of a detector full of stars of about ``magnitude``, and their truth."""
    aim = exposure.aim(store, detector, FILTER, ra_deg=270.0, dec_deg=66.0, roll_deg=30.0)
    meta = exposure.exposure_meta(detector, FILTER, pointing=aim)
    rng = np.random.default_rng([seed, round(100 * magnitude)])
    x, y = scene.grid_of_stars(STARS_ACROSS, PITCH_PIXELS, jitter=JITTER_PIXELS, rng=rng)
    ra, dec = wcs.build(distortion.synthetic_distortion(detector), aim)(x, y)
    table = scene.star_table(ra, dec, magnitude + rng.uniform(-SPREAD_MAG, SPREAD_MAG, x.size))
    effects = exposure.Effects(ipc=ipc)
    made = exposure.simulate(sources_from_table(table, FILTER), meta, store, seed=seed, effects=effects)
    url = (folder / str(meta.file_name)).as_uri()
    l1.write_ramp(made.ramp, url)
    truth = made.truth
    del made
    return calibrate(url, store), truth


def stars(
    store: ReferenceStore, folder: Path, detector: str, magnitude: float, *, seed: int, ipc: bool = True
) -> Stars:
    """Return what becomes of a detector full of stars of about ``magnitude``."""
    image, truth = calibrated(store, folder, detector, magnitude, seed=seed, ipc=ipc)
    pairs = compare.isolated_stars(truth, catalog(image, store).table, size=N_ACTIVE, isolation=30.0)
    true_x, true_y = (np.asarray(pairs.truth[name], dtype=np.float64) for name in ("x", "y"))
    there = forced(image, store, x=true_x, y=true_y)
    flux = np.asarray(pairs.truth["flux_njy"], dtype=np.float64)
    return Stars(
        free=pairs.flux_ratio,
        free_error=np.asarray(pairs.found["psf_flux_err"], dtype=np.float64) / flux,
        forced=there.flux / flux,
        forced_error=there.flux_err / flux,
        x=true_x,
        y=true_y,
        offset=pairs.offset_pixels,
        pull_width=pull_width(image, store, float(np.median(pairs.truth["flux_dn_s"]))),
    )


def faintest(store: ReferenceStore, folder: Path, magnitude: float, *, seed: int) -> Stars:
    """Return the same at the true positions alone, of all stars inside, found or not."""
    image, truth = calibrated(store, folder, "WFI07", magnitude, seed=seed)
    x, y = (np.asarray(truth[name], dtype=np.float64) for name in ("x", "y"))
    inside = (np.minimum(x, y) > compare.EDGE_PIXELS) & (
        np.maximum(x, y) < N_ACTIVE - 1 - compare.EDGE_PIXELS
    )
    there = forced(image, store, x=x[inside], y=y[inside])
    flux = np.asarray(truth["flux_njy"], dtype=np.float64)[inside]
    good = there.converged & np.isfinite(there.flux_err)
    nothing = np.empty(0)
    return Stars(
        free=nothing,
        free_error=nothing,
        forced=(there.flux / flux)[good],
        forced_error=(there.flux_err / flux)[good],
        x=x[inside][good],
        y=y[inside][good],
        offset=(nothing, nothing),
        pull_width=pull_width(image, store, float(np.median(truth["flux_dn_s"]))),
    )


def joined(parts: list[Stars]) -> Stars:
    def all_of(name: str) -> Floats:
        return np.concatenate([getattr(part, name) for part in parts])

    names = ("free", "free_error", "forced", "forced_error", "x", "y")
    offset = (
        np.concatenate([part.offset[0] for part in parts]),
        np.concatenate([part.offset[1] for part in parts]),
    )
    width = float(np.mean([part.pull_width for part in parts]))
    return Stars(offset=offset, pull_width=width, **{name: all_of(name) for name in names})


def mean_and_error(values: Floats, errors: Floats) -> tuple[float, float]:
    """Return the mean without blunders, and its standard error."""
    near = np.abs(values - np.median(values)) < BLUNDER_SIGMA * errors
    return float(values[near].mean()), float(values[near].std() / np.sqrt(near.sum()))


def flux_rows(found: Stars, label: str) -> Iterator[Row]:
    """Yield bias and pulls at the true and at the fitted position."""
    n, ratio = found.free.size, found.signal_to_noise
    yield from forced_rows(found, label)
    free, free_error = mean_and_error(found.free - 1, found.free_error)
    yield Row(f"{label}: flux bias at the fitted position", n, free, free_error, 0.005, ratio**-2)
    if ratio >= 100:
        median, median_error = compare.median_and_error(found.free - 1)
        yield Row(f"{label}: median flux bias at the fitted position", n, median, median_error, 0.001)
    for name, pulls in (
        ("true", (found.forced - 1) / found.forced_error),
        ("fitted", (found.free - 1) / found.free_error),
    ):
        width, width_error = compare.robust_width(pulls), compare.robust_width_error(pulls)
        yield Row(f"{label}: width of the pulls at the {name} position", n, width, width_error, 0.05, 1.0)


def forced_rows(found: Stars, label: str) -> Iterator[Row]:
    """Yield bias and pulls at the true position, these against the width that the pixels' coupling gives."""
    value, error = mean_and_error(found.forced - 1, found.forced_error)
    n = found.forced.size
    yield Row(f"{label}: flux bias at the true position", n, value, error, 0.005)
    pulls = (found.forced - 1) / found.forced_error
    width, error = compare.robust_width(pulls), compare.robust_width_error(pulls)
    yield Row(f"{label}: their pulls' width, of the kernel", n, width, error, 0.05, found.pull_width)


def position_rows(found: Stars, label: str) -> Iterator[Row]:
    """Yield the offsets of all stars and the worst of five phases within a pixel."""
    for axis, offset, place in zip("xy", found.offset, (found.x, found.y), strict=True):
        value, error = compare.median_and_error(offset)
        yield Row(f"{label}: offset in {axis} (pixels)", offset.size, value, error, 0.01)
        phase = np.floor(5 * (place - np.floor(place))).astype(int)
        by_phase = [compare.median_and_error(offset[phase == k]) for k in range(5)]
        worst, error = max(by_phase, key=lambda pair: abs(pair[0]))
        yield Row(f"{label}: offset in {axis}, worst of 5 phases", offset.size // 5, worst, error, 0.01)


def place_rows(by_detector: dict[str, Stars]) -> Iterator[Row]:
    """Yield how far the flux in each ninth of a detector, and of each detector, is from that of all."""
    everywhere = float(np.median(np.concatenate([found.free for found in by_detector.values()])))
    for detector, found in by_detector.items():
        value, error = compare.median_and_error(found.free / everywhere - 1)
        yield Row(f"{detector}: flux against all three detectors", found.free.size, value, error, 0.001)
        ninth = 3 * (3 * found.y // N_ACTIVE) + 3 * found.x // N_ACTIVE
        each = [compare.median_and_error(found.free[ninth == k] / everywhere - 1) for k in range(9)]
        worst, error = max(each, key=lambda pair: abs(pair[0]))
        yield Row(f"{detector}: flux in the worst of its ninths", found.free.size // 9, worst, error, 0.001)


def rows(store: ReferenceStore, folder: Path) -> Iterator[Row]:
    elsewhere: dict[str, Stars] = {}
    magnitude, repeats = FAINTEST
    found = joined([faintest(store, folder, magnitude, seed=seed) for seed in range(1, repeats + 1)])
    yield from forced_rows(found, f"AB {magnitude:.2f}, S/N {found.signal_to_noise:.1f}, all")
    found = stars(store, folder, "WFI07", UNCOUPLED_MAG, seed=1, ipc=False)
    yield from forced_rows(found, f"AB {UNCOUPLED_MAG:.1f}, no IPC")
    for magnitude, repeats in BINS:
        found = joined(
            [stars(store, folder, "WFI07", magnitude, seed=seed) for seed in range(1, repeats + 1)]
        )
        label = f"AB {magnitude:.1f}, S/N {found.signal_to_noise:.0f}"
        yield from flux_rows(found, label)
        if found.signal_to_noise >= 50:
            yield from position_rows(found, label)
        if magnitude == ELSEWHERE_MAG:
            elsewhere["WFI07"] = found
    for detector in DETECTORS:
        if detector not in elsewhere:
            elsewhere[detector] = stars(store, folder, detector, ELSEWHERE_MAG, seed=1)
    yield from place_rows(elsewhere)


def main() -> None:
    print(f"{'figure':<58} {'stars':>6} {'value':>10} ± {'error':<7}  limits")
    outside = 0
    with tempfile.TemporaryDirectory(prefix="nexus-closure-") as name:
        for row in rows(references(Path(name, "references")), Path(name)):
            print(row.line(), flush=True)
            outside += not row.good
    sys.exit(outside)


if __name__ == "__main__":
    main()
