"""What stcal makes of arrays, run in the peers' environment: ``oracle_stcal.py WHAT IN.npz OUT.npz``."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np

DO_NOT_USE, SATURATED, JUMP_DET, AD_FLOOR, NO_SAT_CHECK = 1, 2, 4, 64, 1 << 21


def likelihood(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Fit ``data`` (n, ny, nx) as romancal 1.1's ``rampfit`` step does."""
    from stcal.ramp_fitting.likely_fit import likely_ramp_fit  # noqa: PLC0415

    times = np.split(given["read_times"], np.cumsum(given["reads"])[:-1])
    ramp = SimpleNamespace(
        data=given["data"][None],
        groupdq=given["flags"][None].copy(),
        pixeldq=np.zeros(given["data"].shape[1:], np.uint32),
        read_pattern=times,
        zeroframe=None,
        average_dark_current=np.zeros(given["data"].shape[1:]),
        rejection_threshold=float(given["threshold"]),
        flags_do_not_use=DO_NOT_USE,
        flags_saturated=SATURATED,
        flags_jump_det=JUMP_DET,
    )
    # The step's own factor: stcal wants the noise of a difference of two reads.
    image, _, _ = likely_ramp_fit(ramp, given["read_noise"] * np.sqrt(2), given["gain"])
    return {**image, "resultant_flags": ramp.groupdq[0]}


def saturation(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Flag ``data`` (n, ny, nx) as romancal 1.1's ``saturation`` step does."""
    from stcal.saturation.saturation import flag_saturated_pixels  # noqa: PLC0415

    names = {
        "DO_NOT_USE": DO_NOT_USE,
        "SATURATED": SATURATED,
        "AD_FLOOR": AD_FLOOR,
        "NO_SAT_CHECK": NO_SAT_CHECK,
    }
    pattern = [list(reads) for reads in np.split(given["read_numbers"], np.cumsum(given["reads"])[:-1])]
    flags, dq, _ = flag_saturated_pixels(
        given["data"][None],
        given["flags"][None].copy(),
        np.zeros(given["data"].shape[1:], np.uint32),
        given["threshold"].copy(),
        given["threshold_dq"].copy(),
        65535.0,
        names,
        n_pix_grow_sat=int(given["growth"]),
        read_pattern=pattern,
    )
    return {"resultant_flags": flags[0], "dq": dq}


def casertano(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Fit ``data`` (n, ny, nx) as romancal 1.1's ``ols_cas22`` does; slopes in electrons."""
    from stcal.ramp_fitting import ols_cas22_fit  # noqa: PLC0415

    pattern = [list(reads) for reads in np.split(given["read_numbers"], np.cumsum(given["reads"])[:-1])]
    made = ols_cas22_fit.fit_ramps_casertano(
        given["data"] * given["gain"],
        given["flags"].copy(),
        given["read_noise"] * given["gain"],
        float(given["read_times"][0] / given["read_numbers"][0]),
        read_pattern=pattern,
        use_jump=True,
    )
    return {"parameters": made.parameters}


def resident_bytes(field: str) -> int:
    """Return ``VmRSS`` or, the most since it was last forgotten, ``VmHWM`` of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field))


def forget_peak() -> None:
    """Let ``VmHWM`` begin anew: a new process inherits its parent's."""
    Path("/proc/self/clear_refs").write_text("5")


def cost(fit: Callable[[], object], repeats: int) -> dict[str, object]:
    """Return CPU seconds of runs after the first, and the bytes they needed beyond what was there."""
    fit()
    forget_peak()
    before = resident_bytes("VmRSS")
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        fit()
        seconds.append(time.process_time() - start)
    return {"seconds": seconds, "peak": resident_bytes("VmHWM") - before}


def likelihood_cost(given: dict[str, np.ndarray]) -> dict[str, object]:
    """As ``cost``; and the CPU seconds of one row's look at the flags of a whole frame.

    stcal 1.20 makes a plane of ones the size of the whole cube for every row (mended in its pull
    request 580): a cost that grows with the square of the rows, and must not be scaled from a band.
    """
    from stcal.ramp_fitting.likely_fit import determine_diffs2use  # noqa: PLC0415

    n, side = given["data"].shape[0], int(given["side"])
    told = cost(lambda: likelihood(given), int(given["repeats"]))
    flags, shape = np.zeros((n, side, side), np.uint8), np.broadcast_to(np.float64(0), (n - 1, side, side))
    start = time.process_time()
    for row in range(10):
        determine_diffs2use(row, shape, flags)
    return {**told, "one_row_of_a_frame": (time.process_time() - start) / 10}


WHAT = {
    "likelihood": likelihood,
    "saturation": saturation,
    "likelihood_cost": likelihood_cost,
    "casertano_cost": lambda given: cost(lambda: casertano(given), int(given["repeats"])),
}

if __name__ == "__main__":
    what, source, target = sys.argv[1:]
    np.savez(target, **WHAT[what](dict(np.load(source))))
