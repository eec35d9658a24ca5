# ruff: noqa: PLR0913, PLR0917 - compiled code takes its arrays one by one
"""The compiled part of ``steps.linearity``: a row at a time, so that its inner loops run over pixels."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.steps.bands import compiled

MAX_NODES: Final = 3
PLAUSIBLE_DN: Final = np.float32(1e6)
"""Full well is 65 535 DN: what comes out beyond this says the polynomial does not hold there."""
_NO_LIN_CORR = np.uint32(DQ.NO_LIN_CORR)
_UNTOUCHED = np.uint32(DQ.NO_LIN_CORR | DQ.REFERENCE_PIXEL)
_SATURATED = np.uint8(DQ.SATURATED)
_UNUSABLE = np.uint8(DQ.SATURATED | DQ.DO_NOT_USE)
_DO_NOT_USE = np.uint8(DQ.DO_NOT_USE)

Floats = NDArray[np.float32]


@compiled
def correct_rows(
    raw: Floats,
    linear: Floats,
    inverse: Floats,
    integral: Floats,
    nodes: NDArray[np.float64],
    weights: NDArray[np.float64],
    mean_reads: NDArray[np.float64],
    channel_width: int,
    flags: NDArray[np.uint8],
    dq: NDArray[np.uint32],
    data: Floats,
    first: int,
    last: int,
) -> None:
    """Write rows ``first`` to ``last`` of ``data``, NO_LIN_CORR into ``dq``, DO_NOT_USE into ``flags``."""
    width = raw.shape[2]
    start, rate = np.empty(width, np.float32), np.empty(width, np.float32)
    value, work = np.empty((nodes.shape[1], width), np.float32), np.empty((2, width), np.float32)
    result = np.empty(width, np.float32)
    for y in range(first, last):
        _flag_unknown(linear, inverse, dq, y)
        _line(raw, linear, mean_reads, flags, y, start, rate)
        for i in range(raw.shape[0]):
            used = np.count_nonzero(weights[i])
            at, weight = nodes[i, :used] - mean_reads[0], weights[i, :used].astype(np.float32)
            _predict(inverse, y, at, weight, start, rate, raw[i, y], value, work)
            result[:] = 0
            for k in range(used):
                if integral.shape[1] > 1:
                    _add_integral(integral, channel_width, value[k])
                _polynomial(linear, y, value[k], work[0])
                for x in range(width):
                    result[x] += weight[k] * work[0, x]
            _store(raw[i, y], result, dq[y], flags[i, y], data[i, y])


@compiled
def _predict(
    inverse: Floats,
    y: int,
    at: NDArray[np.float64],
    weight: Floats,
    start: Floats,
    rate: Floats,
    measured: Floats,
    value: Floats,
    work: Floats,
) -> None:
    """Write into ``value`` (n_nodes, nx) the reads ``at`` (since the first) whose mean is ``measured``."""
    line, mean = work[0], work[1]
    mean[:] = 0
    for k in range(at.size):
        since = np.float32(at[k])
        for x in range(line.size):
            line[x] = start[x] + rate[x] * since
        _polynomial(inverse, y, line, value[k])
        for x in range(line.size):
            mean[x] += weight[k] * value[k, x]
    for k in range(at.size):
        for x in range(line.size):
            value[k, x] += measured[x] - mean[x]


@compiled
def _store(
    measured: Floats, result: Floats, dq: NDArray[np.uint32], flags: NDArray[np.uint8], data: Floats
) -> None:
    """Write ``result`` into ``data`` where it may be, DO_NOT_USE into ``flags`` where it cannot be true."""
    for x in range(data.size):
        if dq[x] & _UNTOUCHED or flags[x] & _SATURATED:
            data[x] = measured[x]
        elif abs(result[x]) <= PLAUSIBLE_DN:
            data[x] = result[x]
        else:
            data[x] = PLAUSIBLE_DN if result[x] > 0 else -PLAUSIBLE_DN
            flags[x] |= _DO_NOT_USE


@compiled
def _flag_unknown(linear: Floats, inverse: Floats, dq: NDArray[np.uint32], y: int) -> None:
    for k in range(linear.shape[0]):
        for x in range(dq.shape[1]):
            if not np.isfinite(linear[k, y, x]):
                dq[y, x] |= _NO_LIN_CORR
    for k in range(inverse.shape[0]):
        for x in range(dq.shape[1]):
            if not np.isfinite(inverse[k, y, x]):
                dq[y, x] |= _NO_LIN_CORR
    for x in range(dq.shape[1]):
        if linear[1, y, x] == 0 or inverse[1, y, x] == 0:
            dq[y, x] |= _NO_LIN_CORR


@compiled
def _polynomial(coefficients: Floats, y: int, at: Floats, out: Floats) -> None:
    """Write the polynomials of row ``y`` at ``at`` (nx,) into ``out``, another array."""
    top = coefficients.shape[0] - 1
    for x in range(at.size):
        out[x] = coefficients[top, y, x]
    for k in range(top - 1, -1, -1):
        for x in range(at.size):
            out[x] = out[x] * at[x] + coefficients[k, y, x]


@compiled
def _line(
    raw: Floats,
    linear: Floats,
    mean_reads: NDArray[np.float64],
    flags: NDArray[np.uint8],
    y: int,
    start: Floats,
    rate: Floats,
) -> None:
    """Write linear DN at the first resultant's mean read, and DN per read from there on.

    The last usable resultant is left out where there are three: it may have filled up on its way.
    """
    n = raw.shape[0]
    for x in range(raw.shape[2]):
        begin, count = 0, 0
        for i in range(n):
            if not flags[i, y, x] & _UNUSABLE:
                if count == 0:
                    begin = i
                count += 1
        end, seen = begin, 0
        for i in range(begin, n):
            if not flags[i, y, x] & _UNUSABLE:
                seen += 1
                if seen <= max(count - 1, 2):
                    end = i
        low = _at_pixel(linear, y, x, raw[begin, y, x])
        slope = np.float32(0)
        if end > begin:
            high = _at_pixel(linear, y, x, raw[end, y, x])
            slope = (high - low) / np.float32(mean_reads[end] - mean_reads[begin])
        start[x] = low - slope * np.float32(mean_reads[begin] - mean_reads[0])
        rate[x] = slope


@compiled
def _at_pixel(coefficients: Floats, y: int, x: int, at: float) -> float:
    value: float = coefficients[coefficients.shape[0] - 1, y, x]
    for k in range(coefficients.shape[0] - 2, -1, -1):
        value = value * at + coefficients[k, y, x]
    return value


@compiled
def _add_integral(integral: Floats, channel_width: int, value: Floats) -> None:
    """Add to ``value`` (nx,), in place, its channel's correction, linear between whole DN."""
    top = np.float32(integral.shape[1] - 1)
    for x in range(value.size):
        table = integral[x // channel_width]
        at = min(max(value[x], np.float32(0)), top)
        low = min(int(at), integral.shape[1] - 2)
        share = at - np.float32(low)
        value[x] += table[low] + share * (table[low + 1] - table[low])
