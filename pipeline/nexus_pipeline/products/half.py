"""Half precision, as rad's schemas want it.

numpy's own cast takes some 25 times as long where values lie below 2⁻¹⁴, as variances do.
"""

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled, over_rows

_MAGNITUDE, _SIGN = np.uint32(0x7FFFFFFF), np.uint32(0x8000)
_INFINITY, _NAN = np.uint32(0x7F800000), np.uint16(0x7E00)
# The largest half, 65504, and the smallest with all its digits, 2⁻¹⁴, as singles; 1/2, whose last digit as
# a single is the smallest half there is.
_LARGEST, _SMALLEST_NORMAL, _HALF = np.uint32(0x477FE000), np.uint32(0x38800000), np.uint32(0x3F000000)
# What the exponents' offsets differ by, and the 13 digits a half has less.
_REBIAS, _DIGITS, _ROUND = np.uint32(0x38000000), np.uint32(13), np.uint32(0xFFF)


def half(plane: NDArray[np.float32]) -> NDArray[np.float16]:
    """Return ``plane`` (ny, nx) in half precision, rounded to the nearest as numpy does.

    Values beyond ±65504 are clipped: as infinity they would read as "no value".
    """
    single = np.ascontiguousarray(plane, np.float32)
    result = np.empty(single.shape, np.float16)

    def work(first: int, last: int) -> None:
        rows = np.s_[first:last]
        _convert(
            single[rows].reshape(-1),
            single[rows].view(np.uint32).reshape(-1),
            result[rows].view(np.uint16).reshape(-1),
        )

    over_rows(work, len(single))
    return result


@compiled
def _convert(single: NDArray[np.float32], bits: NDArray[np.uint32], result: NDArray[np.uint16]) -> None:
    small = np.empty(1024, np.float32)
    small_bits = small.view(np.uint32)
    for start in range(0, bits.size, small.size):
        size = min(small.size, bits.size - start)
        # The processor's own addition rounds the halves below 2⁻¹⁴.
        for x in range(size):
            small[x] = abs(single[start + x]) + np.float32(0.5)
        for x in range(size):
            all_bits = bits[start + x]
            size_bits = all_bits & _MAGNITUDE
            kept = min(size_bits, _LARGEST)
            odd = (kept >> _DIGITS) & np.uint32(1)
            normal = (kept - _REBIAS + _ROUND + odd) >> _DIGITS
            value = small_bits[x] - _HALF if kept < _SMALLEST_NORMAL else normal
            value |= (all_bits >> np.uint32(16)) & _SIGN
            result[start + x] = np.uint16(value) if size_bits <= _INFINITY else _NAN
