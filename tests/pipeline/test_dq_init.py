import numpy as np
import pytest
from tests.support import pipeline as build

from nexus_pipeline.errors import MismatchedReferenceError
from nexus_pipeline.instrument.dq import DQ
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


def test_a_mask_of_another_detector_or_size_is_refused() -> None:
    ramp = build.ramp(np.ones(SHAPE, np.uint16))
    with pytest.raises(MismatchedReferenceError, match="mask reference is of WFI01, the exposure of WFI07"):
        dq_init.begin(ramp, mask(detector="WFI01"))
    with pytest.raises(MismatchedReferenceError, match=r"frames of \(16, 16\), the exposure of \(32, 32\)"):
        dq_init.begin(ramp, MaskReference(detector=build.DETECTOR, dq=build.good((16, 16))))
