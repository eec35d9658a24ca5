"""Prints what linearity, dark_decay and wfi18_transient cost alone, beside romancal's, and how they agree.

Run it as ``python -m tests.bench.steps``. One detector of 9 resultants; each step runs warm, in a process of
its own, in bands of rows as the recipe takes them. linearity is timed on a band of rows and scaled to 4096;
romancal's other two know whole frames only. CPU seconds are user and system of all threads; memory
is what the step needs beyond the ramp it is given (romancal's writes into it).
"""

import multiprocessing
from collections.abc import Callable, Mapping
from dataclasses import replace
from statistics import median
from typing import Any, Final

import numpy as np
from tests.support import pipeline as build
from tests.support.oracle import stcal
from tests.support.oracle_stcal import cost, transient_ramps

from nexus_pipeline.bands import over_rows
from nexus_pipeline.instrument.ma_table import IMAGING
from nexus_pipeline.instrument.readout import read_times_s
from nexus_pipeline.instrument.wfi import N_PIXELS
from nexus_pipeline.products.model import WorkingRamp
from nexus_pipeline.references import kinds
from nexus_pipeline.references.make import Maker
from nexus_pipeline.steps import dark_decay, linearity, ramp_fitting, wfi18_transient

LINEARITY_ROWS, REPEATS, THEIR_REPEATS = 256, 7, 2
DECAY_DN, DECAY_S, NOISE_DN, SEED = 12.0, 25.0, 5.0, 71
TRANSIENT_DETECTOR: Final = 18
PATIENCE_S: Final = 1800
COMPARED: Final = np.arange(7, N_PIXELS, 97)
"""Rows that are compared where both work on whole frames."""

Told = dict[str, Any]


def bent_ramps() -> tuple[WorkingRamp, tuple[Any, Any, Any]]:
    """Return a band of sky with brighter pixels up to saturation, seen through our references, and those."""
    maker = Maker(build.DETECTOR, SEED, 8)
    maker.shape = (LINEARITY_ROWS, N_PIXELS)
    references = maker.linearity(), maker.inverse_linearity(), maker.integral_nonlinearity()
    rng = np.random.default_rng(SEED)
    rates = np.where(rng.random(maker.shape) < 0.02, 10 ** rng.uniform(0, 2.3, maker.shape), 0.5)
    linear = build.noisy_ramps(rates, seed=SEED)
    bent = np.zeros_like(linear)
    for term in references[1].coefficients[::-1].astype(float):
        bent = bent * linear + term
    return build.working_ramp(bent, border=False), references


def transient_profile() -> np.ndarray:
    """Return a sky of 2 DN/s with a transient in the first read, (n, 4096): a value for each row."""
    rows, columns = read_times_s(f"WFI{TRANSIENT_DETECTOR}", IMAGING.read_time_s)
    times = rows + columns.mean()
    profile = 6000 + 2 * IMAGING.mean_times_s[:, None] + np.zeros(N_PIXELS)
    profile[0] += 60 * np.exp(-times / 0.35) - 6 * np.exp(-times / 1.2)
    return profile


def whole_frame(number: int) -> WorkingRamp:
    ramp = build.working_ramp(transient_ramps(transient_profile(), SEED, NOISE_DN), border=False)
    return replace(ramp, meta=build.meta(detector=f"WFI{number:02d}"))


def our_linearity() -> Told:
    ramp, references = bent_ramps()
    told = cost(lambda: linearity.correct(ramp, *references), REPEATS)
    return {**told, "rates": rates(ramp, linearity.correct(ramp, *references).data)}


def rates(ramp: WorkingRamp, data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    shape = ramp.data.shape[1:]
    given = replace(ramp, data=np.ascontiguousarray(data, dtype=np.float32))
    image = ramp_fitting.fit(given, build.gain(shape), build.read_noise(shape), jump_threshold_sigma=1e6)
    return image.rate, image.err


def in_bands(ramp: WorkingRamp, work: Callable[[WorkingRamp], object]) -> None:
    """Call ``work`` with each band of ``ramp``, as the recipe's pass does."""

    def one(first: int, last: int) -> None:
        planes = {name: getattr(ramp, name)[..., first:last, :] for name in ("data", "dq", "resultant_dq")}
        work(replace(ramp, first_row=first, **planes))

    over_rows(one, N_PIXELS)


def our_dark_decay() -> Told:
    number = int(build.DETECTOR[3:])
    ramp = whole_frame(number)
    reference = kinds.DarkDecayReference(
        detector=build.DETECTOR, amplitude_dn=DECAY_DN, time_constant_s=DECAY_S
    )

    def step() -> None:
        decay = dark_decay.measure(ramp.meta, reference, N_PIXELS)
        in_bands(ramp, lambda band: dark_decay.take_out(band, decay))

    told = cost(step, REPEATS)
    zero = replace(ramp, data=np.zeros_like(ramp.data))
    return {**told, "taken": -dark_decay.subtract(zero, reference).data[:, COMPARED]}


def our_transient() -> Told:
    ramp = whole_frame(TRANSIENT_DETECTOR)

    def transient() -> Any:
        residuals = np.empty(N_PIXELS)

        def look(band: WorkingRamp) -> None:
            here = slice(band.first_row, band.first_row + band.data.shape[1])
            residuals[here] = wfi18_transient.row_residuals(band)

        in_bands(ramp, look)
        return wfi18_transient.measure(ramp.meta, residuals)

    def step() -> None:
        found = transient()
        in_bands(ramp, lambda band: wfi18_transient.take_out(band, found))

    told = cost(step, REPEATS)
    done = wfi18_transient.take_out(ramp, transient())
    return {**told, "taken": (ramp.data[0] - done.data[0])[COMPARED]}


def apart(name: str, differences: np.ndarray, unit: str) -> None:
    shares = ", ".join(f"{share:g} % ≤ {np.percentile(differences, share):.1e}" for share in (50, 99.9))
    print(f"  {name}: |Δ| {shares}, worst {differences.max():.1e} {unit}")


def show(what: str, told: Mapping[str, Any], *, scale: float = 1.0, beside: float | None = None) -> float:
    """Print one line and return the CPU seconds of a detector."""
    seconds = [float(second) * scale for second in told["seconds"]]
    middle, spread = median(seconds), f"{min(seconds):.2f} to {max(seconds):.2f}"
    ratio = "" if beside is None else f"{middle / beside:8.1f}×"
    peak = float(told["peak"]) * scale / 1e9
    print(f"{what:<34} {middle:8.2f} {spread:>18} {peak:8.2f} {ratio:>10}", flush=True)
    return middle


def ours(work: Callable[[], Told]) -> Told:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work)


def show_linearity() -> None:
    scale, told = N_PIXELS / LINEARITY_ROWS, ours(our_linearity)
    seconds = show("linearity", told, scale=scale)
    ramp, (linear, inverse, inl) = bent_ramps()
    given = {
        "data": ramp.data, "flags": ramp.resultant_dq, "linear": linear.coefficients,
        "inverse": inverse.coefficients, "value": inl.value, "correction": inl.correction,
    }  # fmt: skip
    theirs = stcal("linearity_cost", IMAGING, repeats=THEIR_REPEATS, **given)
    show("  stcal 1.20", theirs, scale=scale, beside=seconds)
    (one, error), (other, _) = told["rates"], rates(ramp, theirs["data"])
    usable = np.isfinite(one) & np.isfinite(other) & (error > 0)
    apart("rates", (np.abs(one - other) / error)[usable], "σ")


def show_whole_frame(name: str, work: Callable[[], Told], **given: Any) -> None:
    told = ours(work)
    seconds = show(name, told)
    theirs = stcal(f"{name}_cost", IMAGING, repeats=1, timeout_s=PATIENCE_S, rows=COMPARED, **given)
    show("  romancal 1.1", theirs, beside=seconds)
    inner = np.s_[..., 4:-4]
    apart("taken out", np.abs(told["taken"] - theirs["taken"])[inner].ravel(), "DN")


def main() -> None:
    print(f"{'one detector, 9 resultants':<34} {'CPU s':>8} {'range':>18} {'GB more':>8} {'to ours':>10}")
    show_linearity()
    number = int(build.DETECTOR[3:])
    show_whole_frame("dark_decay", our_dark_decay, amplitude=DECAY_DN, constant=DECAY_S, number=number)
    profile = transient_profile()
    show_whole_frame("wfi18_transient", our_transient, profile=profile, seed=SEED, noise=NOISE_DN)


if __name__ == "__main__":
    main()
