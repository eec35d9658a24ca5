import numpy as np
from tests.support import pipeline as build

from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.ma_table import MATable
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
