"""wfi18_transient: take the transient out of the first read of WFI18.

Takes and leaves a working ramp (DN). What the first resultant of a row has beyond the line through the
second and third is fitted by two exponentials of the time at which the row is read (romancal 1.1). Where
that is impossible, the rows read first may not be used in the first resultant.
"""

import warnings
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from astropy.stats import sigma_clipped_stats
from numpy.typing import NDArray
from scipy.optimize import OptimizeWarning, curve_fit

from nexus_pipeline.instrument.dq import DQ, WFI18_TRANSIENT
from nexus_pipeline.instrument.readout import read_times_s
from nexus_pipeline.instrument.wfi import BORDER
from nexus_pipeline.products.model import ExposureMeta, WorkingRamp

DETECTOR: Final = "WFI18"
SPOILT_ROWS: Final = 1000
_MIN_RESULTANTS: Final = 5
_FIRST_GUESS_ROWS: Final = (300, 1000)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Transient:
    """Two exponentials, DN and s, of the time of a pixel (row time plus column time)."""

    amplitudes_dn: tuple[float, float]
    constants_s: tuple[float, float]
    rows_s: Floats
    columns_s: Floats


def not_for(meta: ExposureMeta) -> str | None:
    return None if meta.detector == DETECTOR else f"only {DETECTOR} has the transient"


def subtract(ramp: WorkingRamp, *, mask_rows: bool = False) -> WorkingRamp:
    """Return ``ramp`` without the transient, or with its rows marked if ``mask_rows`` or no fit is found."""
    rows = row_residuals(ramp) if may_be_fitted(ramp.meta, mask_rows=mask_rows) else None
    return take_out(ramp, measure(ramp.meta, rows))


def may_be_fitted(meta: ExposureMeta, *, mask_rows: bool) -> bool:
    """Say whether there are resultants enough: the second to fifth tell the true first one."""
    return not mask_rows and meta.ma_table.n_resultants >= _MIN_RESULTANTS


def row_residuals(ramp: WorkingRamp) -> Floats:
    """Return the clipped mean surplus of the first resultant (DN) for each row of ``ramp``, frame or band.

    The fainter half of the row counts, told by two resultants that the surplus does not depend on.
    """
    inner = ramp.data[:5, :, BORDER:-BORDER]
    times = np.diff(ramp.meta.ma_table.mean_times_s)
    expected = inner[1] - (inner[2] - inner[1]) * np.float32(times[0] / times[1])
    light = inner[4] - inner[3]
    bright = light > np.median(light, axis=1, keepdims=True)
    mean, _, _ = sigma_clipped_stats(inner[0] - expected, mask=bright, sigma=3.0, axis=1)
    return np.asarray(mean, dtype=np.float64)


def measure(meta: ExposureMeta, residuals: Floats | None) -> Transient | None:
    """Return the fit to the ``residuals`` of all rows of a frame (border included), None if there is none."""
    if residuals is None:
        return None
    n_pixels = len(residuals)
    rows, columns = read_times_s(meta.detector, meta.ma_table.read_time_s, n_pixels=n_pixels)
    inner = slice(BORDER, n_pixels - BORDER)
    times, surplus = rows[inner] + columns[inner].mean(), residuals[inner]
    guess = [times[min(row, times.size - 1)] for row in _FIRST_GUESS_ROWS]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OptimizeWarning)
            fit, _ = curve_fit(_two, times, surplus, p0=[1.1 * surplus[0], -0.1 * surplus[0], *guess])
    except (ValueError, RuntimeError):
        return None
    a, b, first, second = (float(value) for value in fit)
    return Transient((a, b), (first, second), rows, columns)


def take_out(ramp: WorkingRamp, transient: Transient | None) -> WorkingRamp:
    """Return ``ramp`` less ``transient``, or with its spoilt rows marked if there is none."""
    first, n_rows = ramp.first_row, ramp.data.shape[1]
    if transient is None:
        flags = ramp.resultant_dq.copy()
        flags[0, : max(SPOILT_ROWS - first, 0)] |= np.uint8(DQ.DO_NOT_USE | WFI18_TRANSIENT)
        return replace(ramp, resultant_dq=flags)
    rows = transient.rows_s[first : first + n_rows]
    data = ramp.data.copy()
    for amplitude, constant in zip(transient.amplitudes_dn, transient.constants_s, strict=True):
        signal = amplitude * np.outer(np.exp(-rows / constant), np.exp(-transient.columns_s / constant))
        # Reference pixels see no light, nor this: romancal leaves them alone too.
        data[0, :, BORDER:-BORDER] -= signal[:, BORDER:-BORDER].astype(np.float32)
    return replace(ramp, data=data)


def _two(t: Floats, *parameters: float) -> Floats:
    """Return the sum of two exponentials: amplitudes, then time constants."""
    a, b, first, second = parameters
    result: Floats = a * np.exp(-t / first) + b * np.exp(-t / second)
    return result
