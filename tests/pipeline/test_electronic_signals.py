"""dark_decay and wfi18_transient: what they take out, beside romancal's own."""

from dataclasses import replace

import numpy as np
import pytest
from tests.support import pipeline as build
from tests.support.oracle import stcal
from tests.support.oracle_stcal import transient_ramps

from nexus_pipeline.errors import MismatchedReferenceError, StepSkipped
from nexus_pipeline.instrument.dq import DQ, WFI18_TRANSIENT
from nexus_pipeline.instrument.ma_table import IMAGING, MATable
from nexus_pipeline.instrument.readout import read_times_s
from nexus_pipeline.products.model import WorkingRamp
from nexus_pipeline.references.kinds import DarkDecayReference
from nexus_pipeline.steps import dark_decay, wfi18_transient

ROWS = np.array([0, 4, 5, 255, 256, 1000, 2047, 4000, 4095])
DECAY = DarkDecayReference(detector=build.DETECTOR, amplitude_dn=12.0, time_constant_s=25.0)
FIVE = MATable("five", 9, ((1,), (2,), (3,), (4, 5), (6, 7)))
TWO = MATable("two", 9, ((1,), (3, 4)))
NOISE_DN = 5.0


def of_detector(ramp: WorkingRamp, detector: str) -> WorkingRamp:
    return replace(ramp, meta=replace(ramp.meta, detector=detector))


@pytest.mark.parametrize("detector", ["WFI07", "WFI12"])
def test_the_decay_is_romancal_s_on_detectors_read_either_way(detector: str) -> None:
    theirs = stcal("dark_decay", TWO, amplitude=12.0, constant=25.0, number=int(detector[3:]), rows=ROWS)[
        "taken"
    ]
    meta = build.meta(TWO, detector=detector)
    decay = dark_decay.measure(meta, replace(DECAY, detector=detector), 4096)
    ours = decay.resultants[:, None, None] * np.outer(decay.rows[ROWS], decay.columns)
    # Single precision of 12 DN.
    np.testing.assert_allclose(ours, theirs, atol=3e-6)


def test_a_band_of_rows_loses_what_the_whole_frame_would() -> None:
    ramp = build.working_ramp(np.zeros((9, build.SMALL, build.SMALL)))
    whole = dark_decay.subtract(ramp, DECAY).data
    decay = dark_decay.measure(ramp.meta, DECAY, build.SMALL)
    band = replace(ramp, data=ramp.data[:, 64:128], first_row=64)
    np.testing.assert_array_equal(dark_decay.take_out(band, decay).data, whole[:, 64:128])
    assert -whole[0].mean() > 3 * -whole[-1].mean() > 0


@pytest.mark.parametrize(("amplitude", "constant"), [(None, 25.0), (12.0, None), (np.nan, 25.0), (12.0, 0.0)])
def test_a_decay_nobody_knows_is_left_in_with_the_reason(
    amplitude: float | None, constant: float | None
) -> None:
    unknown = replace(DECAY, amplitude_dn=amplitude, time_constant_s=constant)
    with pytest.raises(StepSkipped, match="knows no decay of WFI07"):
        dark_decay.subtract(build.working_ramp(np.zeros((9, 64, 64))), unknown)


def test_another_detector_s_decay_is_refused() -> None:
    with pytest.raises(MismatchedReferenceError, match="darkdecaysignal"):
        dark_decay.subtract(build.working_ramp(np.zeros((9, 64, 64))), replace(DECAY, detector="WFI01"))


def transient_profile(table: MATable) -> tuple[np.ndarray, np.ndarray]:
    """Return a sky of 2 DN/s with the transient in the first read (n, 4096), and the transient (4096,)."""
    rows, columns = read_times_s("WFI18", table.read_time_s)
    times = rows + columns.mean()
    transient = 60 * np.exp(-times / 0.35) - 6 * np.exp(-times / 1.2)
    profile = 6000 + 2 * table.mean_times_s[:, None] + np.zeros(4096)
    profile[0] += transient
    return profile, transient


def test_the_transient_of_the_first_read_goes_as_with_romancal() -> None:
    profile, transient = transient_profile(FIVE)
    theirs = stcal("wfi18_transient", FIVE, profile=profile, seed=8, noise=NOISE_DN, rows=ROWS)["taken"]
    data = transient_ramps(profile, 8, NOISE_DN)
    ramp = of_detector(build.working_ramp(data, ma_table=FIVE), "WFI18")
    done = wfi18_transient.subtract(ramp)
    taken = (ramp.data[0] - done.data[0])[ROWS]
    np.testing.assert_array_equal(done.data[1:], ramp.data[1:])
    residual = done.data[0].mean(axis=1) - (profile[0] - transient)
    error = NOISE_DN / np.sqrt(4096)
    print(f"transient of 54 DN: left {residual[8:1000].mean():+.4f} ± {error / np.sqrt(992):.4f} DN")
    # romancal compares a pixel's light with the median of another row: the halves differ, not the mean.
    np.testing.assert_allclose(taken[1:-1], theirs[1:-1], atol=0.1)
    assert np.abs(residual[4:-4]).max() < 6 * error + 0.1


def test_with_too_few_resultants_the_first_rows_read_are_not_used() -> None:
    table = MATable("four", 9, ((1,), (2,), (3,), (4,)))
    data = np.zeros((4, 1100, 1100), np.float32)
    ramp = of_detector(build.working_ramp(data, ma_table=table), "WFI18")
    flags = wfi18_transient.subtract(ramp).resultant_dq
    assert (flags[0, :1000] == DQ.DO_NOT_USE | WFI18_TRANSIENT).all()
    assert not flags[0, 1000:].any()
    assert not flags[1:].any()
    band = replace(ramp, data=data[:, 960:1024], resultant_dq=flags[:, 960:1024] * 0, first_row=960)
    np.testing.assert_array_equal(wfi18_transient.take_out(band, None).resultant_dq, flags[:, 960:1024])


def test_rows_are_marked_on_request_and_when_no_fit_is_found() -> None:
    ramp = of_detector(build.working_ramp(np.zeros((9, 64, 64))), "WFI18")
    assert wfi18_transient.subtract(ramp, mask_rows=True).resultant_dq[0].all()
    assert wfi18_transient.measure(ramp.meta, np.full(64, np.nan)) is None


def test_only_wfi18_has_it() -> None:
    assert wfi18_transient.not_for(build.meta(IMAGING)) == "only WFI18 has the transient"
    assert wfi18_transient.not_for(build.meta(IMAGING, detector="WFI18")) is None
