"""refpix beside romancal's own, and what it leaves of the noise that the simulator's outputs share."""

from dataclasses import replace

import numpy as np
import pytest
from tests.support import pipeline as build
from tests.support.oracle import stcal
from tests.support.oracle_stcal import random_filters, refpix_ramps

from nexus_pipeline.errors import MismatchedReferenceError, StepSkipped
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.ma_table import IMAGING, MATable
from nexus_pipeline.instrument.wfi import CHANNEL_WIDTH
from nexus_pipeline.products.model import WorkingRamp, border_of
from nexus_pipeline.references import irrc
from nexus_pipeline.references.kinds import RefpixReference
from nexus_pipeline.references.make import READ_NOISE_DN, Maker
from nexus_pipeline.simulate.detector import darks
from nexus_pipeline.simulate.electronics import CLOCKS_TOGETHER, Electronics
from nexus_pipeline.steps import refpix

ROWS = np.array([0, 3, 4, 76, 77, 2000, 4000, 4094, 4095])
TWO = MATable("two", 9, ((1,), (2,)))
N_ROWS = 512


def frame_of(data: np.ndarray, amp33: np.ndarray, dq: np.ndarray, table: MATable = IMAGING) -> WorkingRamp:
    ramp = build.working_ramp(data, ma_table=table, border=False)
    return replace(ramp, amp33=amp33, dq=dq, border=border_of(ramp.data, dq))


def filters(seed: int) -> RefpixReference:
    gamma, zeta, alpha = (each.astype(np.complex64) for each in random_filters(seed))
    return RefpixReference(
        detector=build.DETECTOR, gamma=gamma, zeta=zeta, alpha=alpha, n_frequencies=gamma.shape[1]
    )


@pytest.mark.parametrize(
    "switches", [(True, True, True, True), (False, False, False, False)], ids=["all", "none"]
)
def test_arbitrary_coefficients_give_what_romancal_gives(switches: tuple[bool, ...]) -> None:
    theirs = stcal("refpix", TWO, seed=21, n=2, switches=np.array(switches), rows=ROWS)["data"]
    data, amp33, dq = refpix_ramps(21, 2)
    names = ("remove_offset", "remove_trends", "cosine_interpolate", "fft_interpolate")
    ours = refpix.subtract(
        frame_of(data, amp33, dq, TWO), filters(21), **dict(zip(names, switches, strict=True))
    )
    # Pixels that it makes zero in the border stay at their own value with us: the correction is the same.
    good = dq[ROWS] == 0
    worst = np.abs(ours.data[:, ROWS] - theirs)[:, good].max()
    taken = np.std(ours.data - data)
    print(f"taken out {taken:.2f} DN rms, worst difference {worst:.4f} DN")
    assert taken > 1
    assert worst < 0.01


def dark(seed: int) -> WorkingRamp:
    noise = Maker(build.DETECTOR, 1, N_ROWS).read_noise().read_noise
    data, amp33 = darks(noise, seed)
    return frame_of(data, amp33, np.zeros((N_ROWS, N_ROWS), np.uint32))


@pytest.fixture(scope="module")
def coefficients() -> RefpixReference:
    return Maker(build.DETECTOR, 1, N_ROWS).refpix(darks)


def shared_power(data: np.ndarray) -> np.ndarray:
    """Return the power of what the channels share (n,): the mean cross-spectrum of even and odd channels."""
    less = data - data.mean(axis=0)
    channels = irrc.in_reading_order(less).transpose(0, 2, 1, 3)
    even, odd = (channels[:, first::2].mean(axis=1).reshape(len(data), -1) for first in (0, 1))
    return np.asarray(np.mean(even * (odd - odd.mean(axis=1, keepdims=True)), axis=1))


def removable(electronics: Electronics, read_noise: float) -> float:
    """Return the share of the 1/f noise that the best linear filter of the 33rd output takes out.

    What that output has of its own, white and 1/f, is in its way.
    """
    frequency = np.arange(1, N_ROWS * irrc.ROW_SAMPLES // 2 + 1)
    shared = electronics.pink_dn**2 / frequency / np.sum(1 / frequency)
    slow = np.where(frequency <= N_ROWS * irrc.ROW_SAMPLES // CLOCKS_TOGETHER // 2, 1 / frequency, 0)
    own = read_noise**2 / frequency.size + electronics.channel_pink_dn**2 * slow / slow.sum()
    return float(np.sum(shared**2 / (shared + own)) / np.sum(shared))


def test_most_of_the_noise_that_outputs_share_goes_and_little_comes_in(coefficients: RefpixReference) -> None:
    ramps = [dark(seed=seed) for seed in (77, 78, 79)]
    done = [refpix.subtract(ramp, coefficients) for ramp in ramps]
    before, after = (np.concatenate([shared_power(each.data) for each in some]) for some in (ramps, done))
    # What is white is what a pixel does not share with the next: differences along a row, halved.
    white = [
        np.mean([np.diff(each.data[:, 4:-4, 4:-4], axis=2).var() for each in some]) for some in (ramps, done)
    ]
    best = removable(Electronics(), READ_NOISE_DN)
    gone, rise = 1 - after.sum() / before.sum(), white[1] / white[0] - 1
    error = np.std(after - (1 - gone) * before) * np.sqrt(len(before)) / before.sum()
    print(
        f"shared noise: {gone:.1%} ± {error:.1%} of its power gone, {best:.1%} can; white noise {rise:+.2%}"
    )
    assert gone >= 0.8 * best
    assert rise <= 0.02


def test_coefficients_are_estimated_and_end_where_they_cease_to_matter(coefficients: RefpixReference) -> None:
    assert 0.5 < np.abs(coefficients.alpha[:, 5]).mean() < 1.5
    used = np.flatnonzero(np.abs(coefficients.alpha).any(axis=0))[-1] + 1
    assert 100 < used < coefficients.n_frequencies


def test_bad_reference_pixels_are_not_believed(coefficients: RefpixReference) -> None:
    ramp = dark(seed=78)
    spoilt = ramp.data.copy()
    spoilt[3, 1, 30], spoilt[4, 100, 2], spoilt[5, 200, -2] = 5e4, -5e4, 4e4
    flags = np.zeros((N_ROWS, N_ROWS), np.uint32)
    flags[1, 30] = flags[100, 2] = flags[200, -2] = DQ.BAD_REF_PIXEL
    wanted = refpix.subtract(frame_of(ramp.data, ramp.amp33, flags), coefficients).data
    found = refpix.subtract(frame_of(spoilt, ramp.amp33, flags), coefficients).data
    np.testing.assert_array_equal(found[:, 4:-4, 4:-4], wanted[:, 4:-4, 4:-4])


def test_an_empty_33rd_output_skips_the_step_with_the_reason(coefficients: RefpixReference) -> None:
    ramp = dark(seed=79)
    with pytest.raises(StepSkipped, match="33rd output is all zero"):
        refpix.subtract(replace(ramp, amp33=np.zeros_like(ramp.amp33)), coefficients)


def test_coefficients_of_another_frame_or_detector_are_refused(coefficients: RefpixReference) -> None:
    ramp = dark(seed=80)
    short = replace(coefficients, n_frequencies=1000)
    with pytest.raises(
        MismatchedReferenceError, match="4 channels of 1000 frequencies, the exposure wants 4 of"
    ):
        refpix.subtract(ramp, short)
    with pytest.raises(MismatchedReferenceError, match="refpix reference is of WFI01"):
        refpix.subtract(ramp, replace(coefficients, detector="WFI01"))


def test_rows_are_put_into_the_order_in_which_they_are_read() -> None:
    row = np.arange(2 * CHANNEL_WIDTH, dtype=np.float32)[None]
    channels = irrc.in_reading_order(row)
    assert channels[0, 0, 0] == 0
    assert channels[0, 1, 0] == 2 * CHANNEL_WIDTH - 1
