# ruff: noqa: PLR0917 - compiled code takes its arrays one by one
"""The compiled part of ``steps.refpix``."""

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled
from nexus_pipeline.instrument.wfi import CHANNEL_WIDTH

_MAGNITUDE = np.uint32(0x7FFFFFFF)
_OFFSET = np.int32(1 << 15)

Floats = NDArray[np.float32]
Spectra = NDArray[np.complex64]


@compiled
def mix(
    told: tuple[Spectra, Spectra, Spectra],
    filters: tuple[Spectra, Spectra, Spectra],
    factor: np.float32,
    mixed: Spectra,
) -> None:
    """Write ``factor`` × the sum of what is ``told`` times its filter; beyond the filters nothing changes."""
    left, right, output = told
    gamma, zeta, alpha = filters
    for f in range(gamma.size):
        mixed[f] = factor * (left[f] * gamma[f] + right[f] * zeta[f] + output[f] * alpha[f])


@compiled
def quantise(signal: Floats, bits: NDArray[np.uint32], steps: NDArray[np.int16], top: int) -> float:
    """Write ``signal`` (ny, 140) without the pauses into ``steps`` (ny, 128); return what a step is, DN.

    ``top`` steps are the largest of the signal. ``bits`` are the signal's own, without whose sign sizes
    compare as whole numbers do: that and truncation, unlike floor and maximum of floats, go in vectors.
    """
    width = steps.shape[1]
    largest_bits = np.uint32(0)
    for row in range(steps.shape[0]):
        for phase in range(width):
            largest_bits = max(largest_bits, bits[row, phase] & _MAGNITUDE)
    holder = np.empty(1, np.uint32)
    holder[0] = largest_bits
    largest = max(holder.view(np.float32)[0], np.float32(1e-6))
    inverse, half = np.float32(top) / largest, np.float32(_OFFSET + 0.5)
    for row in range(steps.shape[0]):
        for phase in range(width):
            steps[row, phase] = np.int16(np.int32(signal[row, phase] * inverse + half) - _OFFSET)
    return float(largest) / top


@compiled
def subtract_rows(
    data: Floats,
    signal: NDArray[np.int16],
    scale: Floats,
    level: NDArray[np.float64],
    slope: NDArray[np.float64],
    row_samples: int,
    first_row: int,
    n_rows: int,
) -> None:
    """Subtract in place from ``data`` (n, band, nx), whose first row is ``first_row`` of ``n_rows``."""
    middle = (n_rows * row_samples - 1) / 2
    for k in range(data.shape[0]):
        for row in range(data.shape[1]):
            for channel in range(scale.shape[1]):
                start = level[k, channel] + slope[k, channel] * ((first_row + row) * row_samples - middle)
                begin, step = channel * CHANNEL_WIDTH, 1
                if channel % 2 == 1:
                    begin, step = begin + CHANNEL_WIDTH - 1, -1
                for phase in range(CHANNEL_WIDTH):
                    taken = scale[k, channel] * signal[k, channel, first_row + row, phase]
                    data[k, row, begin + step * phase] -= np.float32(
                        taken + start + slope[k, channel] * phase
                    )
