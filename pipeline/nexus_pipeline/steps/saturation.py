"""saturation: flag resultants at or above the well's edge, and those at the converter's floor.

Takes and leaves a working ramp (raw DN); only flags change.
"""

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled, over_rows
from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.ma_table import MATable
from nexus_pipeline.instrument.wfi import SATURATION_DN
from nexus_pipeline.products.model import WorkingRamp
from nexus_pipeline.references.kinds import SaturationReference
from nexus_pipeline.steps.checks import require_detector, require_shape

MAX_GROW_PIXELS: Final = 8
_SATURATED = np.uint8(DQ.SATURATED)
_FLOOR = np.uint8(DQ.AD_FLOOR | DQ.DO_NOT_USE)
_DO_NOT_USE = np.uint8(DQ.DO_NOT_USE)
_SPENT = np.uint8(DQ.DO_NOT_USE | DQ.SATURATED)
_REFERENCE_PIXEL = np.uint32(DQ.REFERENCE_PIXEL)


def flag(ramp: WorkingRamp, saturation: SaturationReference, *, grow_pixels: int = 1) -> WorkingRamp:
    """Return ``ramp`` with SATURATED from the first saturated resultant of a pixel on.

    A resultant is a mean of reads: one whose last reads saturated may lie below the threshold.
    Where the next resultant is saturated and this one exceeds threshold × mean/last read number
    (what a straight ramp that just reaches the threshold would give), it is not used either, nor
    is a second resultant that rose as one read at the threshold would make it rise. Both flags
    spread to neighbours ``grow_pixels`` away, for charge spills; the second resultant's own does not.
    Source: stcal 1.20 ``flag_saturated_pixels``, save that reference pixels keep their flags.
    Raises MismatchedReferenceError, and InputError for a growth outside 0 to 8.
    """
    if not 0 <= grow_pixels <= MAX_GROW_PIXELS:
        raise InputError(f"saturation.grow_pixels must be 0 to {MAX_GROW_PIXELS}, not {grow_pixels}")
    require_detector(saturation, ramp.meta.detector)
    require_shape(saturation.threshold, ramp.data.shape, saturation)
    unknown = ~np.isfinite(saturation.threshold) | (saturation.dq & np.uint32(DQ.NO_SAT_CHECK) != 0)
    threshold = np.where(unknown, np.float32(SATURATION_DN + 1), saturation.threshold).astype(np.float32)
    flags = ramp.resultant_dq.copy()

    def work(first: int, last: int) -> None:
        _flag_rows(ramp.data, threshold, ramp.dq, flags, first, last)

    over_rows(work, ramp.data.shape[1])
    _grow(flags, ramp.dq, grow_pixels)
    _flag_hidden(ramp, threshold, flags, grow_pixels)
    no_check = np.where(unknown, np.uint32(DQ.NO_SAT_CHECK), np.uint32(0))
    return replace(ramp, resultant_dq=flags, dq=ramp.dq | no_check)


def reach(*, grow_pixels: int) -> int:
    """Return from how many rows away a pixel's flags may come: they spread twice."""
    return 2 * grow_pixels


def _grow(flags: NDArray[np.uint8], dq: NDArray[np.uint32], reach: int) -> None:
    """Write SATURATED into the neighbours of saturated pixels, resultant by resultant."""
    if reach > 0:
        ever, _ = _saturated(flags)
        y, x = np.nonzero(ever)
        _spread(flags[:, y, x] & _SATURATED, y, x, reach, flags, dq)


def _flag_hidden(
    ramp: WorkingRamp, threshold: NDArray[np.float32], flags: NDArray[np.uint8], reach: int
) -> None:
    """Write DO_NOT_USE where saturated reads hide in a mean: in ramps that saturate on their way."""
    ever, always = _saturated(flags)
    y, x = np.nonzero(ever & ~always)
    data, limit, seen = ramp.data[:, y, x], threshold[y, x], flags[:, y, x]
    table = ramp.meta.ma_table
    _spread(_hidden_in_mean(data, limit, seen, table), y, x, reach, flags, ramp.dq)
    if table.n_resultants > 2:
        flags[1, y, x] |= _hidden_in_second(data, limit, seen, table)


def _saturated(flags: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return (ny, nx) where a pixel is saturated in any resultant, and where in all."""
    ever, always = flags[0].copy(), flags[0].copy()
    for plane in flags[1:]:
        ever |= plane
        always &= plane
    return ever & _SATURATED != 0, always & _SATURATED != 0


def _hidden_in_mean(
    data: NDArray[np.float32], limit: NDArray[np.float32], seen: NDArray[np.uint8], table: MATable
) -> NDArray[np.uint8]:
    """Return (n, m) DO_NOT_USE where the next resultant is saturated and this one may be in part."""
    hidden = np.zeros_like(seen)
    for i, reads in enumerate(table.read_pattern[:-1]):
        dilution = np.mean(reads) / reads[-1]
        if dilution < 1:
            due = (seen[i] & _SPENT == 0) & (seen[i + 1] & _SATURATED != 0) & (data[i] >= limit * dilution)
            hidden[i, due] = _DO_NOT_USE
    # A pixel whose threshold is unknown has its neighbours' flags at most.
    hidden[:, limit > SATURATION_DN] = 0
    return hidden


def _hidden_in_second(
    data: NDArray[np.float32], limit: NDArray[np.float32], seen: NDArray[np.uint8], table: MATable
) -> NDArray[np.uint8]:
    """Return DO_NOT_USE where the third resultant is saturated as the first did not foretell.

    And where the second is above the first by what its last read alone, at the threshold, would add.
    """
    first, second, third = table.read_pattern[:3]
    foretold = data[0] / np.mean(first) * third[-1] >= limit
    rose = data[1] - data[0] > (limit - data[0]) / len(second)
    new = (seen[2] & _SATURATED != 0) & (seen[1] & _SATURATED == 0)
    return np.where(new & rose & ~foretold, _DO_NOT_USE, np.uint8(0))


@compiled
def _spread(  # noqa: PLR0917 - numba takes no keyword-only arguments
    bits: NDArray[np.uint8],
    y: NDArray[np.int64],
    x: NDArray[np.int64],
    reach: int,
    flags: NDArray[np.uint8],
    dq: NDArray[np.uint32],
) -> Any:
    """Add ``bits`` (n, m) of pixels (``y``, ``x``) to ``flags`` of all pixels within ``reach`` of them."""
    n, ny, nx = flags.shape
    for m in range(y.shape[0]):
        for v in range(max(y[m] - reach, 0), min(y[m] + reach + 1, ny)):
            for u in range(max(x[m] - reach, 0), min(x[m] + reach + 1, nx)):
                if dq[v, u] & _REFERENCE_PIXEL:
                    continue
                for i in range(n):
                    flags[i, v, u] |= bits[i, m]


@compiled
def _flag_rows(  # noqa: PLR0917 - numba takes no keyword-only arguments
    data: NDArray[np.float32],
    threshold: NDArray[np.float32],
    dq: NDArray[np.uint32],
    flags: NDArray[np.uint8],
    first: int,
    last: int,
) -> Any:
    """Write ``flags`` of rows ``first`` to ``last``; reference pixels see no light and keep theirs."""
    for y in range(first, last):
        for x in range(data.shape[2]):
            if dq[y, x] & _REFERENCE_PIXEL:
                continue
            saturated = False
            for i in range(data.shape[0]):
                saturated = saturated or data[i, y, x] >= threshold[y, x]
                if saturated:
                    flags[i, y, x] |= _SATURATED
                if data[i, y, x] <= 0:
                    flags[i, y, x] |= _FLOOR
