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


def linearity(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Correct ``data`` (n, ny, nx) as romancal 1.1's ``linearity`` step does."""
    from romancal.linearity.linearity_step import make_inl_correction  # noqa: PLC0415
    from stcal.linearity.linearity import linearity_correction  # noqa: PLC0415

    rows = {
        f"science_channel_{channel + 1:02d}": SimpleNamespace(correction=row)
        for channel, row in enumerate(given["correction"])
    }
    inl = SimpleNamespace(value=given["value"], inl_table=SimpleNamespace(**rows))
    pattern = [list(reads) for reads in np.split(given["read_numbers"], np.cumsum(given["reads"])[:-1])]
    nothing = np.zeros(given["data"].shape[1:], np.uint32)
    data, dq, _ = linearity_correction(
        given["data"][None].copy(),
        given["flags"][None],
        nothing.copy(),
        given["linear"].copy(),
        nothing.copy(),
        {"SATURATED": SATURATED, "NO_LIN_CORR": 1 << 20},
        ilin_coeffs=given["inverse"].copy(),
        additional_correction=make_inl_correction(inl, given["data"].shape[2]),
        read_pattern=pattern,
    )
    return {"data": data[0], "dq": dq}


def dark_decay(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what romancal 1.1's ``dark_decay`` step takes out of ``rows`` of a whole frame."""
    from romancal.dark_decay.dark_decay import subtract_dark_decay  # noqa: PLC0415

    pattern = [list(reads) for reads in np.split(given["read_numbers"], np.cumsum(given["reads"])[:-1])]
    data = np.zeros((len(pattern), 4096, 4096), np.float32)
    read_time = float(given["read_times"][0] / given["read_numbers"][0])
    subtract_dark_decay(
        data, float(given["amplitude"]), float(given["constant"]), read_time, pattern, int(given["number"])
    )
    return {"taken": -data[:, given["rows"]]}


def transient_ramps(profile: np.ndarray, seed: int, noise: float) -> np.ndarray:
    """Return ramps (n, 4096, 4096) of noise about ``profile`` (n, 4096): a value for each resultant's row."""
    rng = np.random.default_rng(seed)
    data = rng.standard_normal((*profile.shape, 4096), dtype=np.float32)
    data *= np.float32(noise)
    data += profile[:, :, None].astype(np.float32)
    return data


def wfi18_transient(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what romancal 1.1's ``wfi18_transient`` step takes out of the first of ``transient_ramps``."""
    from romancal.wfi18_transient.wfi18_transient import correct_anomaly  # noqa: PLC0415

    pattern = [list(reads) for reads in np.split(given["read_numbers"], np.cumsum(given["reads"])[:-1])]
    read_time = float(given["read_times"][0] / given["read_numbers"][0])
    exposure = SimpleNamespace(frame_time=read_time, read_pattern=pattern)
    data = transient_ramps(given["profile"], int(given["seed"]), float(given["noise"]))
    before = data[0].copy()
    model = SimpleNamespace(data=data, groupdq=None, meta=SimpleNamespace(exposure=exposure))
    return {"taken": (before - correct_anomaly(model).data[0])[given["rows"]]}


def refpix(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return ``rows`` of ``refpix_ramps`` as romancal 1.1's ``refpix`` step leaves them."""
    from romancal.refpix.refpix import run_steps  # noqa: PLC0415

    data, amp33, dq = refpix_ramps(int(given["seed"]), int(given["n"]))
    model = SimpleNamespace(
        data=data, amp33=amp33, pixeldq=dq, border_ref_pix_left=None, border_ref_pix_right=None
    )
    gamma, zeta, alpha = random_filters(int(given["seed"]))
    switches = [bool(each) for each in given["switches"]]
    run_steps(model, SimpleNamespace(gamma=gamma, zeta=zeta, alpha=alpha), True, *switches)
    return {"data": model.data[:, given["rows"]]}


def refpix_ramps(seed: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return resultants (n, 4096, 4096) of noise about levels of their own, the 33rd output, and bad
    pixels.
    """
    rng = np.random.default_rng(seed)
    data = rng.standard_normal((n, 4096, 4096), dtype=np.float32)
    data *= np.float32(6)
    data += rng.uniform(100, 400, (n, 1, 1)).astype(np.float32)
    data += np.linspace(-30, 30, 4096, dtype=np.float32)[None, :, None]
    amp33 = np.rint(300 + 8 * rng.standard_normal((n, 4096, 128))).astype(np.uint16)
    dq = np.zeros((4096, 4096), np.uint32)
    dq[1, 300:310] = dq[77, 2] = dq[4000, 4094] = dq[4094, 4000] = 1 << 17
    return data, amp33, dq


def refpix_l1(seed: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ``refpix_ramps`` as they come down, uint16; all three planes."""
    data, amp33, dq = refpix_ramps(seed, n)
    return np.rint(data, out=data).astype(np.uint16), amp33, dq


def refpix_cost(given: dict[str, np.ndarray]) -> dict[str, object]:
    """Return CPU seconds, after a first run, and peak memory of romancal 1.1's ``refpix``; and ``rows``."""
    import roman_datamodels.datamodels as rdm  # noqa: PLC0415
    from romancal.refpix.refpix import run_steps  # noqa: PLC0415

    data, amp33, dq = refpix_l1(int(given["seed"]), int(given["reads"].size))
    seconds, kept = [], np.empty(0)
    forget_peak()
    for _ in range(int(given["repeats"]) + 1):
        model = SimpleNamespace(
            data=data.astype(np.float32), amp33=amp33.copy(), pixeldq=dq, border_ref_pix_left=None,
            border_ref_pix_right=None,
        )  # fmt: skip
        with rdm.open(str(given["url"])) as coefficients:
            for name in ("gamma", "zeta", "alpha"):
                np.asarray(getattr(coefficients, name))
            start = time.process_time()
            run_steps(model, coefficients)
            seconds.append(time.process_time() - start)
        kept = model.data[:, given["rows"]]
    return {"seconds": seconds[1:], "peak": resident_bytes("VmHWM"), "data": kept}


def random_filters(seed: int) -> list[np.ndarray]:
    """Return arbitrary gamma, zeta and alpha, (32, 286721) each."""
    rng = np.random.default_rng(seed + 1)
    shape = (32, 4096 * 140 // 2 + 1)
    return [
        size * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) for size in (0.02, 0.03, 0.2)
    ]


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


def linearity_cost(given: dict[str, np.ndarray]) -> dict[str, object]:
    """As ``cost``, with what comes out."""
    return {**cost(lambda: linearity(given), int(given["repeats"])), **linearity(given)}


def dark_decay_cost(given: dict[str, np.ndarray]) -> dict[str, object]:
    """As ``cost`` for a whole frame, with what is taken out."""
    from romancal.dark_decay.dark_decay import subtract_dark_decay  # noqa: PLC0415

    pattern = [list(reads) for reads in np.split(given["read_numbers"], np.cumsum(given["reads"])[:-1])]
    read_time = float(given["read_times"][0] / given["read_numbers"][0])
    constants = float(given["amplitude"]), float(given["constant"]), read_time, pattern, int(given["number"])
    data = np.zeros((len(pattern), 4096, 4096), np.float32)
    taken: list[np.ndarray] = []

    def step() -> None:
        subtract_dark_decay(data, *constants)
        taken.append(-data[:, given["rows"]] if not taken else taken[0])

    return {**cost(step, int(given["repeats"])), "taken": taken[0]}


def wfi18_transient_cost(given: dict[str, np.ndarray]) -> dict[str, object]:
    """As ``cost`` for a whole frame, with what is taken out."""
    from romancal.wfi18_transient.wfi18_transient import correct_anomaly  # noqa: PLC0415

    pattern = [list(reads) for reads in np.split(given["read_numbers"], np.cumsum(given["reads"])[:-1])]
    read_time = float(given["read_times"][0] / given["read_numbers"][0])
    exposure = SimpleNamespace(frame_time=read_time, read_pattern=pattern)
    data = transient_ramps(given["profile"], int(given["seed"]), float(given["noise"]))
    before = data[0].copy()

    def step() -> None:
        data[0] = before
        correct_anomaly(SimpleNamespace(data=data, groupdq=None, meta=SimpleNamespace(exposure=exposure)))

    told = cost(step, int(given["repeats"]))
    return {**told, "taken": (before - data[0])[given["rows"]]}


def tweakwcs(given: dict[str, np.ndarray]) -> dict[str, object]:
    """Fit matched stars of detectors together as romancal 1.1's ``tweakreg`` does; the sky at ``grid`` then.

    ``wcs_file`` is an ASDF file with a list of WCS, ``owner`` the place in it of each star's own. Each fit is
    of one of ``geometries`` to the first of the detectors, as many as ``numbers`` says beside it.
    """
    import asdf  # noqa: PLC0415
    from astropy.table import Table  # noqa: PLC0415
    from tweakwcs import RomanWCSCorrector  # noqa: PLC0415
    from tweakwcs.wcsimage import RefCatalog, WCSGroupCatalog, WCSImageCatalog  # noqa: PLC0415

    angles = dict(zip(("v2_ref", "v3_ref", "roll_ref"), given["angles"].tolist(), strict=True))
    with asdf.open(str(given["wcs_file"]), lazy_load=False) as file:
        wcs = list(file["wcs"])
    told: dict[str, object] = {}
    for n, geometry in zip(given["numbers"].tolist(), given["geometries"].tolist(), strict=True):
        images = []
        for k in range(n):
            columns = {name: given[name][given["owner"] == k] for name in ("x", "y", "weight")}
            images.append(WCSImageCatalog(Table(columns), RomanWCSCorrector(wcs[k], angles), name=str(k)))
        mine = given["owner"] < n
        references = RefCatalog(Table({"RA": given["ra"][mine], "DEC": given["dec"][mine]}), name="gaia")
        group = WCSGroupCatalog(images, name="exposure")
        assert group.align_to_ref(references, fitgeom=geometry, nclip=0)
        sky = [each.corrector.wcs(*given["grid"], with_bounding_box=False) for each in group]
        told[f"{geometry}_{n}"] = np.array(sky)
    return told


WHAT = {
    "likelihood": likelihood,
    "saturation": saturation,
    "linearity": linearity,
    "refpix": refpix,
    "dark_decay": dark_decay,
    "wfi18_transient": wfi18_transient,
    "likelihood_cost": likelihood_cost,
    "linearity_cost": linearity_cost,
    "dark_decay_cost": dark_decay_cost,
    "wfi18_transient_cost": wfi18_transient_cost,
    "refpix_cost": refpix_cost,
    "tweakwcs": tweakwcs,
    "casertano_cost": lambda given: cost(lambda: casertano(given), int(given["repeats"])),
}

if __name__ == "__main__":
    what, source, target = sys.argv[1:]
    np.savez(target, **WHAT[what](dict(np.load(source))))
