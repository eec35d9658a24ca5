import numpy as np
import pytest
from tests.support import pipeline as build

from nexus_pipeline.errors import MismatchedReferenceError
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.references.kinds import LinearityReference
from nexus_pipeline.steps import linearity

SHAPE = (100, 70)  # more than one band of rows, not square


def reference(*terms: float, shape: tuple[int, int] = SHAPE) -> LinearityReference:
    coefficients = np.ones((len(terms), *shape), np.float32) * np.float32(terms)[:, None, None]
    return LinearityReference(detector=build.DETECTOR, coefficients=coefficients, dq=build.good(shape))


def test_the_polynomial_is_applied_to_every_resultant() -> None:
    data = np.random.default_rng(2).uniform(0, 5e4, (9, *SHAPE))
    ramp = build.working_ramp(data, border=False)
    done = linearity.correct(ramp, reference(3, 1, 1e-6, 2e-12)).data
    # Single precision: 1e-7 of 5e4 in each of three terms.
    np.testing.assert_allclose(done, 3 + data + 1e-6 * data**2 + 2e-12 * data**3, atol=0.02)


def test_a_pixel_without_a_finite_polynomial_is_left_and_flagged() -> None:
    given = reference(0, 2)
    given.coefficients[1, 50, 60] = np.nan
    given.dq[3, 4] = DQ.NO_LIN_CORR
    done = linearity.correct(build.working_ramp(np.full((9, *SHAPE), 100.0), border=False), given)
    assert done.data[0, 50, 60] == done.data[0, 3, 4] == 100
    assert done.data[0, 0, 0] == 200
    assert done.dq[50, 60] == done.dq[3, 4] == DQ.NO_LIN_CORR
    assert np.count_nonzero(done.dq) == 2


def test_saturated_resultants_and_reference_pixels_are_left() -> None:
    ramp = build.working_ramp(np.full((9, *SHAPE), 100.0))
    ramp.resultant_dq[5:, 20, 20] = DQ.SATURATED
    done = linearity.correct(ramp, reference(0, 2)).data
    assert list(done[:, 20, 20]) == [200] * 5 + [100] * 4
    assert (done[:, :4] == 100).all()


def test_a_reference_of_another_size_is_refused() -> None:
    with pytest.raises(MismatchedReferenceError, match="linearity"):
        linearity.correct(build.working_ramp(np.zeros((9, *SHAPE))), reference(0, 1, shape=(64, 64)))
