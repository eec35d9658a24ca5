import numpy as np
import pytest
from tests.support import pipeline as build
from tests.support.oracle import stcal

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.ma_table import IMAGING, SHORT_IMAGING, MATable
from nexus_pipeline.products.model import WorkingRamp
from nexus_pipeline.references.kinds import SaturationReference
from nexus_pipeline.steps import saturation

SHAPE = (16, 16)
# Resultants of 1, 4 and 4 reads.
TABLE = MATable("1 4 4", 1, ((1,), (2, 3, 4, 5), (6, 7, 8, 9)), read_time_s=1.0)
THRESHOLD = 50_000.0


def flagged(*resultants: float, threshold: float = THRESHOLD) -> WorkingRamp:
    """Flag a frame whose pixels all have these resultants."""
    ramp = build.working_ramp(np.ones((3, *SHAPE)) * np.array(resultants)[:, None, None], ma_table=TABLE)
    plane = build.plane(threshold, SHAPE)
    reference = SaturationReference(detector=build.DETECTOR, threshold=plane, dq=build.good(SHAPE))
    return saturation.flag(ramp, reference)


def test_a_pixel_is_saturated_from_its_first_saturated_resultant_on() -> None:
    flags = flagged(1000, 50_000, 20_000).resultant_dq[:, 8, 8]
    assert list(flags) == [0, DQ.SATURATED, DQ.SATURATED]


def test_below_the_threshold_nothing_is_flagged() -> None:
    assert not flagged(1000, 25_000, 49_999).resultant_dq.any()


def test_a_mean_that_may_hide_saturated_reads_is_not_used() -> None:
    # A straight ramp that reaches 50 000 DN in read 5 has a mean over reads 2 to 5 of 50 000 × 3.5 / 5.
    assert list(flagged(7000, 35_001, 60_000).resultant_dq[:, 8, 8]) == [0, DQ.DO_NOT_USE, DQ.SATURATED]
    assert list(flagged(7000, 34_999, 60_000).resultant_dq[:, 8, 8]) == [0, 0, DQ.SATURATED]


def test_a_converter_at_its_floor_is_flagged_in_that_resultant_only() -> None:
    assert list(flagged(1000, 0, 3000).resultant_dq[:, 8, 8]) == [0, DQ.AD_FLOOR | DQ.DO_NOT_USE, 0]


def test_reference_pixels_see_no_light_and_get_no_flag() -> None:
    flags = flagged(0, 60_000, 60_000).resultant_dq
    assert not flags[:, :4].any()
    assert flags[1, 4, 4] == DQ.SATURATED


def test_an_unknown_threshold_is_said_and_not_guessed() -> None:
    done = flagged(1000, 60_000, 65_000, threshold=np.nan)
    assert not done.resultant_dq.any()
    assert done.dq[8, 8] == DQ.NO_SAT_CHECK


def test_the_ramp_given_is_left_as_it_was() -> None:
    ramp = build.working_ramp(np.full((3, *SHAPE), 60_000), ma_table=TABLE)
    plane = build.plane(THRESHOLD, SHAPE)
    saturation.flag(ramp, SaturationReference(detector=build.DETECTOR, threshold=plane, dq=build.good(SHAPE)))
    assert not ramp.resultant_dq.any()


def spot(*resultants: float, **options: int) -> np.ndarray:
    """Return the flags of a frame of 1 000 DN whose middle pixel has these resultants."""
    data = np.full((3, *SHAPE), 1000.0)
    data[:, 8, 8] = resultants
    ramp = build.working_ramp(data, ma_table=TABLE)
    plane = build.plane(THRESHOLD, SHAPE)
    reference = SaturationReference(detector=build.DETECTOR, threshold=plane, dq=build.good(SHAPE))
    return saturation.flag(ramp, reference, **options).resultant_dq


@pytest.mark.parametrize("reach", [0, 1, 2])
def test_saturation_spreads_as_far_as_asked_and_in_its_resultants_only(reach: int) -> None:
    flags = spot(1000, 1000, 60_000, grow_pixels=reach)
    expected = np.zeros_like(flags)
    expected[2, 8 - reach : 9 + reach, 8 - reach : 9 + reach] = DQ.SATURATED
    np.testing.assert_array_equal(flags, expected)


def test_a_mean_that_may_hide_saturated_reads_spoils_its_neighbours_too() -> None:
    flags = spot(7000, 36_000, 60_000)
    assert (flags[1, 7:10, 7:10] == DQ.DO_NOT_USE).all()
    assert np.count_nonzero(flags[1]) == 9
    assert not flags[0].any()


def test_a_second_resultant_that_one_saturated_read_explains_is_not_used() -> None:
    # 1 000 DN in read 1 foretell 9 000 in read 9. One read of four at 50 000 DN adds 12 250 DN to the mean;
    # 20 000 DN is below what a straight ramp to the threshold would give (35 000).
    assert list(spot(1000, 13_251, 60_000, grow_pixels=0)[:, 8, 8]) == [0, DQ.DO_NOT_USE, DQ.SATURATED]
    assert list(spot(1000, 13_249, 60_000, grow_pixels=0)[:, 8, 8]) == [0, 0, DQ.SATURATED]
    # A ramp whose first resultant foretells it is no surprise.
    assert list(spot(6000, 20_000, 60_000, grow_pixels=0)[:, 8, 8]) == [0, 0, DQ.SATURATED]


def test_saturation_does_not_grow_into_reference_pixels_nor_round_the_frame() -> None:
    data = np.full((3, *SHAPE), 1000.0)
    data[2, 4, 11] = 60_000
    ramp = build.working_ramp(data, ma_table=TABLE)
    plane = build.plane(THRESHOLD, SHAPE)
    reference = SaturationReference(detector=build.DETECTOR, threshold=plane, dq=build.good(SHAPE))
    flags = saturation.flag(ramp, reference).resultant_dq
    assert np.count_nonzero(flags) == 4
    assert (flags[2, 4:6, 10:12] == DQ.SATURATED).all()


@pytest.mark.parametrize("reach", [-1, 9])
def test_a_growth_that_makes_no_sense_is_refused(reach: int) -> None:
    with pytest.raises(InputError, match=f"grow_pixels must be 0 to 8, not {reach}"):
        spot(1, 2, 3, grow_pixels=reach)


@pytest.mark.slow
@pytest.mark.parametrize("reach", [0, 1, 2])
@pytest.mark.parametrize("table", [TABLE, IMAGING, SHORT_IMAGING])
def test_stcal_sets_the_same_flags(table: MATable, reach: int) -> None:
    shape, rng = (96, 112), np.random.default_rng(51)
    # Most ramps saturate nowhere, some on their way, some by a jump; some converters are at their floor.
    ends = 10 ** rng.uniform(3, 5.5, shape) * (rng.random(shape) < 0.1)
    times = table.mean_times_s[:, None, None] / table.exposure_time_s
    data = rng.normal(300, 20, (table.n_resultants, *shape)) + times * ends
    first = rng.integers(0, 4 * table.n_resultants, shape)
    data += np.where(np.arange(table.n_resultants)[:, None, None] >= first, rng.uniform(0, 9e4, shape), 0)
    data = np.clip(np.rint(np.where(rng.random(data.shape) < 0.002, 0, data)), 0, 65_535).astype(np.float32)
    flags = np.where(rng.random(data.shape) < 0.01, np.uint8(DQ.DO_NOT_USE), np.uint8(0))
    threshold = rng.uniform(3e4, 6e4, shape).astype(np.float32)
    threshold[rng.random(shape) < 0.01] = np.nan
    threshold_dq = np.where(rng.random(shape) < 0.01, np.uint32(DQ.NO_SAT_CHECK), np.uint32(0))
    ramp = build.working_ramp(data, ma_table=table, border=False)
    ramp.resultant_dq[...] = flags
    reference = SaturationReference(detector=build.DETECTOR, threshold=threshold, dq=threshold_dq)
    ours = saturation.flag(ramp, reference, grow_pixels=reach)
    theirs = stcal(
        "saturation", table,
        data=data, flags=flags, threshold=threshold, threshold_dq=threshold_dq, growth=reach,
    )  # fmt: skip
    hidden = (ours.resultant_dq & (DQ.DO_NOT_USE | DQ.AD_FLOOR) == DQ.DO_NOT_USE) & (flags == 0)
    assert np.count_nonzero(ours.resultant_dq & DQ.SATURATED) > 1000
    assert np.count_nonzero(hidden) > 50
    np.testing.assert_array_equal(ours.resultant_dq, theirs["resultant_flags"])
    np.testing.assert_array_equal(ours.dq, theirs["dq"])
