"""saturation: flag resultants at or above the well's edge, and those at the converter's floor.

Takes and leaves a working ramp (raw DN); only flags change.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.wfi import SATURATION_DN
from nexus_pipeline.products.model import WorkingRamp
from nexus_pipeline.references.kinds import SaturationReference
from nexus_pipeline.steps.bands import compiled, over_rows
from nexus_pipeline.steps.checks import require_detector, require_shape

_SATURATED = np.uint8(DQ.SATURATED)
_FLOOR = np.uint8(DQ.AD_FLOOR | DQ.DO_NOT_USE)
_DO_NOT_USE = np.uint8(DQ.DO_NOT_USE)
_REFERENCE_PIXEL = np.uint32(DQ.REFERENCE_PIXEL)


def flag(ramp: WorkingRamp, saturation: SaturationReference) -> WorkingRamp:
    """Return ``ramp`` with SATURATED from the first saturated resultant of a pixel on.

    A resultant is a mean of reads: one whose last reads saturated may lie below the threshold.
    Where the next resultant is saturated and this one exceeds threshold × mean/last read number
    (what a straight ramp that just reaches the threshold would give), it is not used either;
    source: stcal 1.20 ``flag_saturated_pixels``. Growth to neighbours is not done.
    """
    require_detector(saturation, ramp.meta.detector)
    require_shape(saturation.threshold, ramp.data.shape, saturation)
    unknown = ~np.isfinite(saturation.threshold) | (saturation.dq & np.uint32(DQ.NO_SAT_CHECK) != 0)
    threshold = np.where(unknown, np.float32(SATURATION_DN + 1), saturation.threshold).astype(np.float32)
    pattern = ramp.meta.ma_table.read_pattern
    dilution = np.array([np.mean(reads) / reads[-1] for reads in pattern], dtype=np.float32)
    flags = ramp.resultant_dq.copy()

    def work(first: int, last: int) -> None:
        _flag_rows(ramp.data, threshold, dilution, ramp.dq, flags, first, last)

    over_rows(work, ramp.data.shape[1])
    no_check = np.where(unknown, np.uint32(DQ.NO_SAT_CHECK), np.uint32(0))
    return replace(ramp, resultant_dq=flags, dq=ramp.dq | no_check)


@compiled
def _flag_rows(  # noqa: PLR0917 - numba takes no keyword-only arguments
    data: NDArray[np.float32],
    threshold: NDArray[np.float32],
    dilution: NDArray[np.float32],
    dq: NDArray[np.uint32],
    flags: NDArray[np.uint8],
    first: int,
    last: int,
) -> Any:
    """Write ``flags`` of rows ``first`` to ``last``; reference pixels see no light and keep theirs."""
    n = data.shape[0]
    for y in range(first, last):
        for x in range(data.shape[2]):
            if dq[y, x] & _REFERENCE_PIXEL:
                continue
            limit = threshold[y, x]
            saturated = False
            for i in range(n):
                saturated = saturated or data[i, y, x] >= limit
                if saturated:
                    flags[i, y, x] |= _SATURATED
                if data[i, y, x] <= 0:
                    flags[i, y, x] |= _FLOOR
            if not saturated:
                continue
            for i in range(n - 1):
                just_before = flags[i + 1, y, x] & _SATURATED and not flags[i, y, x] & _SATURATED
                if just_before and dilution[i] < 1 and data[i, y, x] >= limit * dilution[i]:
                    flags[i, y, x] |= _DO_NOT_USE
