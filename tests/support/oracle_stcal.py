"""What stcal makes of arrays, run in the peers' environment: ``oracle_stcal.py WHAT IN.npz OUT.npz``."""

import sys
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


if __name__ == "__main__":
    what, source, target = sys.argv[1:]
    np.savez(target, **{"likelihood": likelihood, "saturation": saturation}[what](dict(np.load(source))))
