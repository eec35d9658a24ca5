from dataclasses import replace

import numpy as np
import pytest
from tests.support import pipeline as build

from nexus_pipeline.errors import MismatchedReferenceError
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.products.model import Ramp
from nexus_pipeline.references.kinds import MaskReference
from nexus_pipeline.steps import dq_init

SHAPE = (9, 32, 32)


def mask(detector: str = build.DETECTOR) -> MaskReference:
    dq = build.good((32, 32))
    dq[10, 20] = DQ.HOT | DQ.DO_NOT_USE
    return MaskReference(detector=detector, dq=dq)


def test_a_ramp_begins_with_the_masks_flags_and_its_own_numbers() -> None:
    ramp = build.ramp(np.arange(9 * 32 * 32, dtype=np.uint16).reshape(SHAPE))
    begun = dq_init.begin(ramp, mask())
    assert begun.data.dtype == np.float32
    np.testing.assert_array_equal(begun.data, ramp.data)
    assert begun.dq[10, 20] == DQ.HOT | DQ.DO_NOT_USE
    assert np.count_nonzero(begun.dq) == 1
    assert not begun.resultant_dq.any()


def test_the_reference_border_is_kept_as_it_came() -> None:
    ramp = build.ramp(np.random.default_rng(1).integers(0, 9000, SHAPE).astype(np.uint16))
    border = dq_init.begin(ramp, mask()).border
    np.testing.assert_array_equal(border.left, ramp.data[:, :, :4])
    np.testing.assert_array_equal(border.right, ramp.data[:, :, 28:])
    np.testing.assert_array_equal(border.bottom, ramp.data[:, :4, :])
    np.testing.assert_array_equal(border.top, ramp.data[:, 28:, :])


def test_a_reference_read_is_added_back_without_wrapping_round() -> None:
    ramp = build.ramp(np.full(SHAPE, 60_000, np.uint16), reference_read=np.full((32, 32), 10_000, np.uint16))
    assert (dq_init.begin(ramp, mask()).data == 70_000).all()


def test_flags_set_on_board_stay_with_their_resultant() -> None:
    flags = np.zeros(SHAPE, np.uint8)
    flags[3, 5, 6] = DQ.DROPOUT | DQ.DO_NOT_USE
    begun = dq_init.begin(build.ramp(np.ones(SHAPE, np.uint16), resultant_dq=flags), mask())
    assert begun.resultant_dq[3, 5, 6] == DQ.DROPOUT | DQ.DO_NOT_USE
    # The pixel can still be used: the other eight resultants are sound.
    assert begun.dq[5, 6] == DQ.DROPOUT


def with_told(**carried: object) -> Ramp:
    """Return a ramp of ones whose L1 says ``carried`` in its metadata."""
    return build.ramp(np.full(SHAPE, 500, np.uint16), meta=build.meta(carried=carried))


def window(x: tuple[int, int], y: tuple[int, int]) -> dict[str, int]:
    return {"window_xstart": x[0], "window_xstop": x[1], "window_ystart": y[0], "window_ystop": y[1]}


@pytest.mark.parametrize("expand", [0, 2])
def test_the_columns_of_the_guide_window_are_affected_and_the_window_is_unusable(expand: int) -> None:
    ramp = with_told(guide_star=window(x=(18, 24), y=(9, 12)))
    dq = dq_init.begin(ramp, mask(), expand_gw_flagging=expand).dq
    affected, unusable = np.zeros((2, 32, 32), bool)
    unusable[9 - expand : 12 + expand, 18 - expand : 24 + expand] = True
    affected[:, 18:24] = True
    np.testing.assert_array_equal(dq & DQ.GW_AFFECTED_DATA != 0, affected | unusable)
    # One hot pixel of the mask lies in the window.
    np.testing.assert_array_equal(dq & DQ.DO_NOT_USE != 0, unusable)
    assert dq[10, 20] & DQ.HOT


def test_a_guide_window_at_the_edge_grows_no_further_than_the_frame() -> None:
    ramp = with_told(guide_star=window(x=(0, 3), y=(30, 32)))
    unusable = dq_init.begin(ramp, mask(), expand_gw_flagging=4).dq & DQ.DO_NOT_USE != 0
    assert unusable[26:, :7].all()
    assert unusable.sum() == 6 * 7 + 1


@pytest.mark.parametrize(
    "where", [window((-999999, -999999), (-999999, -999999)), window((32, 40), (5, 9)), {}]
)
def test_where_no_guide_window_is_told_nothing_is_flagged(where: dict[str, int]) -> None:
    assert np.count_nonzero(dq_init.begin(with_told(guide_star=where), mask()).dq) == 1


def test_what_was_done_on_board_is_undone_in_the_33rd_output_too() -> None:
    ramp = replace(
        with_told(instrument={"data_encoding_offset": 300}),
        reference_read=np.full((32, 32), 70, np.uint16),
        reference_amp33=np.full((32, 128), 900, np.uint16),
    )
    begun = dq_init.begin(ramp, mask())
    assert (begun.data == 500 + 70 - 300).all()
    assert (begun.border.left == 270).all()
    assert (begun.amp33 == 600).all()
    # Zeros of the 33rd output: what cannot be is not wrapped round.
    assert (dq_init.begin(replace(ramp, reference_amp33=None), mask()).amp33 == 0).all()


def test_an_offset_nobody_knows_is_none() -> None:
    begun = dq_init.begin(with_told(instrument={"data_encoding_offset": -999999}), mask())
    assert (begun.data == 500).all()


def test_a_mask_of_another_detector_or_size_is_refused() -> None:
    ramp = build.ramp(np.ones(SHAPE, np.uint16))
    with pytest.raises(MismatchedReferenceError, match="mask reference is of WFI01, the exposure of WFI07"):
        dq_init.begin(ramp, mask(detector="WFI01"))
    with pytest.raises(MismatchedReferenceError, match=r"frames of \(16, 16\), the exposure of \(32, 32\)"):
        dq_init.begin(ramp, MaskReference(detector=build.DETECTOR, dq=build.good((16, 16))))
