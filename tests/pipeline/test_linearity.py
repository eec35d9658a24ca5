from dataclasses import replace

import numpy as np
import pytest
from tests.support import pipeline as build
from tests.support.oracle import stcal

from nexus_pipeline.errors import MismatchedReferenceError
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.ma_table import IMAGING, MATable
from nexus_pipeline.products.model import WorkingRamp
from nexus_pipeline.references import kinds
from nexus_pipeline.references.make import Maker
from nexus_pipeline.steps import linearity

SHAPE = (100, 70)  # more than one band of rows, not square
GAPS = MATable("gaps", 9, ((1,), (3, 4), (6, 7, 8, 9), (12, 14, 15, 16, 21), (25, 27), (30, 31, 34)))
"""Resultants of one to five reads, unevenly spaced."""
STRAIGHT = (0.0, 1.0)


def reference(*terms: float, shape: tuple[int, int] = SHAPE) -> kinds.LinearityReference:
    coefficients = np.ones((len(terms), *shape), np.float32) * np.float32(terms)[:, None, None]
    return kinds.LinearityReference(detector=build.DETECTOR, coefficients=coefficients, dq=build.good(shape))


def inverse(*terms: float, shape: tuple[int, int] = SHAPE) -> kinds.InverseLinearityReference:
    same = reference(*terms, shape=shape)
    return kinds.InverseLinearityReference(
        detector=build.DETECTOR, coefficients=same.coefficients, dq=same.dq
    )


def no_inl() -> kinds.IntegralNonlinearityReference:
    return kinds.IntegralNonlinearityReference(
        detector=build.DETECTOR, value=np.array([0, 65535], np.uint16), correction=np.zeros((32, 2))
    )


def correct(
    ramp: WorkingRamp, forth: kinds.LinearityReference, back: kinds.InverseLinearityReference | None = None
) -> WorkingRamp:
    return linearity.correct(ramp, forth, back or inverse(*STRAIGHT), no_inl())


def curved_ramps(maker: Maker, table: MATable, seed: int) -> tuple[WorkingRamp, np.ndarray]:
    """Return ramps whose reads went through the inverse polynomial and the INL, and the linear means."""
    rng = np.random.default_rng(seed)
    shape, back, inl = maker.shape, maker.inverse_linearity(), maker.integral_nonlinearity()
    rate = 10 ** rng.uniform(0, np.log10(1300), shape)
    linear = 5000 + rate * np.arange(1, table.n_reads + 1)[:, None, None]
    powers = np.stack([linear**k for k in range(4)])
    bent = np.einsum("krYX,kYX->rYX", powers, back.coefficients.astype(float))
    channel = np.arange(shape[1]) // 128
    outputs = np.arange(2.0**16)
    measured = np.empty_like(bent)
    for x in range(shape[1]):
        true = outputs + np.interp(outputs, inl.value, inl.correction[channel[x]])
        measured[:, :, x] = np.interp(bent[:, :, x], true, outputs)
    means = [np.array(reads) - 1 for reads in table.read_pattern]
    data = np.stack([measured[reads].mean(axis=0) for reads in means])
    truth = np.stack([linear[reads].mean(axis=0) for reads in means])
    return build.working_ramp(data, border=False, ma_table=table), truth


@pytest.mark.parametrize("table", [IMAGING, GAPS])
def test_three_nodes_do_for_all_reads_and_both_return_what_fell_on_the_detector(table: MATable) -> None:
    maker = Maker(build.DETECTOR, 3, 256)
    ramp, truth = curved_ramps(maker, table, seed=4)
    references = maker.linearity(), maker.inverse_linearity(), maker.integral_nonlinearity()
    few, every = (
        linearity.correct(ramp, *references, every_read=all_of_them).data for all_of_them in (False, True)
    )
    # A resultant is uncertain by 1.6 DN at least: a fiftieth of that, seldom, does not matter to a slope.
    print(f"three nodes against every read: worst {np.abs(few - every).max():.4f} DN")
    assert np.abs(few - every).max() < 0.03
    assert np.sqrt(np.mean((few - every) ** 2)) < 0.003
    # The series inverse of the references is right to 1 DN near saturation.
    assert np.median(np.abs(few - truth)) < 0.02
    assert np.abs(few - truth).max() < 1.5
    plain = np.abs(linearity.correct(ramp, *references, integral=False).data - truth)
    assert np.median(plain) > 20 * np.median(np.abs(few - truth))


@pytest.mark.parametrize("table", [IMAGING, GAPS])
def test_it_is_what_stcal_makes_of_the_same_reads(table: MATable) -> None:
    maker = Maker(build.DETECTOR, 5, 256)
    ramp, _ = curved_ramps(maker, table, seed=6)
    forth, back, inl = maker.linearity(), maker.inverse_linearity(), maker.integral_nonlinearity()
    full = np.random.default_rng(7).integers(0, table.n_resultants + 1, maker.shape)
    late = np.arange(table.n_resultants)[:, None, None] >= np.maximum(full, 3)
    ramp.resultant_dq[late] = DQ.SATURATED
    theirs = stcal(
        "linearity", table, data=ramp.data, flags=ramp.resultant_dq, linear=forth.coefficients,
        inverse=back.coefficients, value=inl.value, correction=inl.correction,
    )["data"]  # fmt: skip
    ours = linearity.correct(ramp, forth, back, inl).data
    # 65 000 DN in single precision, through two polynomials and a mean of up to ten reads.
    np.testing.assert_allclose(ours, theirs, atol=0.06)
    assert np.median(np.abs(ours - theirs)) < 0.005


def test_the_polynomial_is_applied_to_single_reads_as_they_are() -> None:
    data = np.random.default_rng(2).uniform(0, 5e4, (9, *SHAPE))
    done = correct(build.working_ramp(data, border=False), reference(3, 1, 1e-6, 2e-12)).data
    # The first, second and last resultants are one read each. Single precision: 1e-7 of 5e4 thrice.
    single = data[[0, 1, 8]]
    np.testing.assert_allclose(done[[0, 1, 8]], 3 + single + 1e-6 * single**2 + 2e-12 * single**3, atol=0.02)


def test_a_pixel_without_finite_polynomials_is_left_and_flagged() -> None:
    forth, back = reference(0, 2), inverse(0, 0.5)
    forth.coefficients[1, 50, 60] = back.coefficients[0, 51, 60] = np.nan
    forth.coefficients[1, 52, 60] = 0
    forth.dq[3, 4] = DQ.NO_LIN_CORR
    done = correct(build.working_ramp(np.full((9, *SHAPE), 100.0), border=False), forth, back)
    unknown = [(50, 60), (51, 60), (52, 60), (3, 4)]
    for at in unknown:
        assert done.data[0][at] == 100
        assert done.dq[at] == DQ.NO_LIN_CORR
    assert done.data[0, 0, 0] == 200
    assert np.count_nonzero(done.dq) == len(unknown)


def test_saturated_resultants_and_reference_pixels_are_left() -> None:
    ramp = build.working_ramp(np.full((9, *SHAPE), 100.0))
    ramp.resultant_dq[5:, 20, 20] = DQ.SATURATED
    done = correct(ramp, reference(0, 2), inverse(0, 0.5)).data
    assert list(done[:, 20, 20]) == [200] * 5 + [100] * 4
    assert (done[:, :4] == 100).all()


def test_what_cannot_be_true_is_held_and_its_resultant_not_used() -> None:
    data = np.full((9, *SHAPE), 100.0)
    data[8] = 40_000
    done = correct(build.working_ramp(data, border=False), reference(0, 1, 1e-3))
    assert (done.data[8] == 1e6).all()
    assert (done.resultant_dq[8] == DQ.DO_NOT_USE).all()
    assert not done.resultant_dq[:8].any()


def test_references_of_another_size_or_detector_are_refused() -> None:
    ramp = build.working_ramp(np.zeros((9, *SHAPE)))
    with pytest.raises(MismatchedReferenceError, match="linearity"):
        correct(ramp, reference(0, 1, shape=(64, 64)))
    with pytest.raises(MismatchedReferenceError, match="inverselinearity"):
        correct(ramp, reference(0, 1), inverse(0, 1, shape=(64, 64)))
    with pytest.raises(MismatchedReferenceError, match="integralnonlinearity reference is of WFI01"):
        linearity.correct(ramp, reference(0, 1), inverse(0, 1), replace(no_inl(), detector="WFI01"))
