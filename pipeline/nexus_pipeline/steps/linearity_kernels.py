# ruff: noqa: PLR0913, PLR0917 - compiled code takes its arrays one by one
"""The compiled part of ``steps.linearity``: a row at a time, so that its inner loops run over pixels."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled
from nexus_pipeline.instrument.dq import DQ

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
    """Write rows ``first`` to ``last`` of ``data``, NO_LIN_CORR into ``dq``, DO_NOT_USE into ``flags``.

    ``integral`` (n_channels, m, 2) holds the correction at each whole DN and the step to the next.
    """
    n, width = raw.shape[0], channel_width
    forth, back = _room(linear.shape[0], width), _room(inverse.shape[0], width)
    near, flag = np.zeros((n, width), np.float32), np.zeros((n, width), np.uint8)
    line, value = np.empty((2, width), np.float32), np.empty((nodes.shape[1], width), np.float32)
    work, result = np.empty((2, width), np.float32), np.empty(width, np.float32)
    seen = np.empty(width, np.uint8)
    for y in range(first, last):
        for low in range(0, raw.shape[2], width):
            own = slice(low, min(low + width, raw.shape[2]))
            _copy(linear[:, y, own], forth)
            _copy(inverse[:, y, own], back)
            _copy(raw[:, y, own], near)
            _copy(flags[:, y, own], flag)
            _flag_unknown(forth, linear.shape[0], seen, dq[y, own])
            _flag_unknown(back, inverse.shape[0], seen, dq[y, own])
            _lines(near, forth, mean_reads, flag, seen, line, work)
            for i in range(n):
                used = np.count_nonzero(weights[i])
                at, weight = nodes[i, :used] - mean_reads[0], weights[i, :used].astype(np.float32)
                _predict(back, at, weight, line, near[i], value, work)
                result[:] = 0
                for k in range(used):
                    _add_integral(integral[low // channel_width], value[k])
                    _polynomial(forth, value[k], work[0])
                    _add(result, weight[k], work[0])
                _store(near[i], result, dq[y, own], flags[i, y, own], data[i, y, own])


@compiled
def _copy(rows: Any, block: Any) -> None:
    """Write ``rows`` (n, up to 128) into ``block`` (n, 128): closed in memory, in a core's own cache."""
    for k in range(rows.shape[0]):
        for x in range(rows.shape[1]):
            block[k, x] = rows[k, x]


@compiled
def _add(result: Floats, weight: np.float32, value: Floats) -> None:
    for x in range(result.size):
        result[x] += weight * value[x]


@compiled
def _predict(
    inverse: Floats,
    at: NDArray[np.float64],
    weight: Floats,
    line: Floats,
    measured: Floats,
    value: Floats,
    work: Floats,
) -> None:
    """Write into ``value`` (n_nodes, nx) the reads ``at`` (since the first) whose mean is ``measured``."""
    if at.size == 1:
        value[0] = measured
        return
    linear, mean = work[0], work[1]
    mean[:] = 0
    for k in range(at.size):
        since = np.float32(at[k])
        for x in range(linear.size):
            linear[x] = line[0, x] + line[1, x] * since
        _polynomial(inverse, linear, value[k])
        _add(mean, weight[k], value[k])
    for x in range(mean.size):
        mean[x] = measured[x] - mean[x]
    for k in range(at.size):
        _add(value[k], np.float32(1), mean)


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
def _room(n_terms: int, width: int) -> Any:
    """Return zeros for polynomials of ``n_terms``, filled up to a multiple of three terms."""
    return np.zeros((-(-n_terms // 3) * 3, width), np.float32)


@compiled
def _flag_unknown(
    polynomial: Floats, n_terms: int, unknown: NDArray[np.uint8], dq: NDArray[np.uint32]
) -> None:
    slope = polynomial[1]
    for x in range(unknown.size):
        unknown[x] = slope[x] == 0
    for k in range(n_terms):
        term = polynomial[k]
        for x in range(unknown.size):
            unknown[x] |= not abs(term[x]) < np.inf
    for x in range(dq.size):
        dq[x] |= _NO_LIN_CORR if unknown[x] else np.uint32(0)


@compiled
def _polynomial(coefficients: Floats, at: Floats, out: Floats) -> None:
    """Write the polynomials (3, 6, 9 … terms, nx) at ``at`` (nx,) into ``out``, another array.

    Three terms in a loop: fewer, and memory sets the pace.
    """
    for x in range(out.size):
        out[x] = 0
    for k in range(coefficients.shape[0] - 1, 1, -3):
        high, middle, low = coefficients[k], coefficients[k - 1], coefficients[k - 2]
        for x in range(out.size):
            out[x] = ((out[x] * at[x] + high[x]) * at[x] + middle[x]) * at[x] + low[x]


@compiled
def _lines(
    raw: Floats,
    linear: Floats,
    mean_reads: NDArray[np.float64],
    flags: NDArray[np.uint8],
    flagged: NDArray[np.uint8],
    line: Floats,
    work: Floats,
) -> None:
    """Write linear DN at the first resultant's mean read, and DN per read from there on.

    The last usable resultant is left out where there are three: it may have filled up on its way.
    """
    n = raw.shape[0]
    end = n - 2 if n > 2 else n - 1
    per_read = np.float32(1 / (mean_reads[end] - mean_reads[0])) if end > 0 else np.float32(0)
    _polynomial(linear, raw[0], work[0])
    _polynomial(linear, raw[end], work[1])
    flagged[:] = 0
    for i in range(n):
        own = flags[i]
        for x in range(flagged.size):
            flagged[x] |= own[x] & _UNUSABLE
    line[0] = work[0]
    for x in range(flagged.size):
        line[1, x] = (work[1, x] - work[0, x]) * per_read
    for x in range(flagged.size):
        if flagged[x]:
            line[0, x], line[1, x] = _line(raw[:, x], linear[:, x], mean_reads, flags[:, x])


@compiled
def _line(raw: Floats, linear: Floats, mean_reads: NDArray[np.float64], flags: NDArray[np.uint8]) -> Any:
    """Return the line of one pixel with resultants that may not be used."""
    begin, count = 0, 0
    for i in range(raw.size):
        if not flags[i] & _UNUSABLE:
            if count == 0:
                begin = i
            count += 1
    end, seen = begin, 0
    for i in range(begin, raw.size):
        if not flags[i] & _UNUSABLE:
            seen += 1
            if seen <= max(count - 1, 2):
                end = i
    low, slope = _at(linear, raw[begin]), np.float32(0)
    if end > begin:
        slope = (_at(linear, raw[end]) - low) / np.float32(mean_reads[end] - mean_reads[begin])
    return low - slope * np.float32(mean_reads[begin] - mean_reads[0]), slope


@compiled
def _at(coefficients: Floats, at: np.float32) -> np.float32:
    value = np.float32(0)
    for k in range(coefficients.size - 1, -1, -1):
        value = value * at + coefficients[k]
    return value


@compiled
def _add_integral(integral: Floats, value: Floats) -> None:
    """Add to ``value`` (nx,), in place, a channel's correction (m, 2), linear between whole DN."""
    top = np.float32(integral.shape[0] - 1)
    for x in range(value.size):
        at = value[x]
        at = at if at > np.float32(0) else np.float32(0)
        at = at if at < top else top
        low = np.int64(at)
        value[x] += integral[low, 0] + (at - np.float32(low)) * integral[low, 1]
