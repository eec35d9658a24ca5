"""linearity: from what the detector counted to what fell on it.

Takes and leaves a working ramp (DN, offsets removed); saturated resultants stay as they are.
The polynomial is applied to resultants, which differs from the mean of corrected reads by
|c₂| × the variance of the reads' signals: below 1e-4 of the signal.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.products.model import WorkingRamp
from nexus_pipeline.references.kinds import LinearityReference
from nexus_pipeline.steps.bands import compiled, over_rows
from nexus_pipeline.steps.checks import require_detector, require_shape

_NO_LIN_CORR = np.uint32(DQ.NO_LIN_CORR)
_UNTOUCHED = np.uint32(DQ.NO_LIN_CORR | DQ.REFERENCE_PIXEL)
_SATURATED = np.uint8(DQ.SATURATED)


def correct(ramp: WorkingRamp, linearity: LinearityReference) -> WorkingRamp:
    """Return ``ramp`` in linear DN; pixels without a finite polynomial get NO_LIN_CORR and stay as they are.

    Raises MismatchedReferenceError.
    """
    require_detector(linearity, ramp.meta.detector)
    require_shape(linearity.coefficients, ramp.data.shape, linearity)
    data = np.empty_like(ramp.data)
    dq = ramp.dq | (linearity.dq & _NO_LIN_CORR)

    def work(first: int, last: int) -> None:
        _correct_rows(ramp.data, linearity.coefficients, ramp.resultant_dq, dq, data, first, last)

    over_rows(work, data.shape[1])
    return replace(ramp, data=data, dq=dq)


@compiled
def _correct_rows(  # noqa: PLR0917 - numba takes no keyword-only arguments
    raw: NDArray[np.float32],
    coefficients: NDArray[np.float32],
    flags: NDArray[np.uint8],
    dq: NDArray[np.uint32],
    data: NDArray[np.float32],
    first: int,
    last: int,
) -> Any:
    """Write rows ``first`` to ``last`` of ``data``, and NO_LIN_CORR into ``dq`` where it is needed."""
    top = coefficients.shape[0] - 1
    for y in range(first, last):
        for x in range(raw.shape[2]):
            for k in range(top + 1):
                if not np.isfinite(coefficients[k, y, x]):
                    dq[y, x] |= _NO_LIN_CORR
        for i in range(raw.shape[0]):
            for x in range(raw.shape[2]):
                value = raw[i, y, x]
                if not (dq[y, x] & _UNTOUCHED or flags[i, y, x] & _SATURATED):
                    result = coefficients[top, y, x]
                    for k in range(top - 1, -1, -1):
                        result = result * value + coefficients[k, y, x]
                    value = result
                data[i, y, x] = value
