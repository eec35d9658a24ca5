# ruff: noqa: PLR0917 - compiled code takes its arrays one by one
"""The compiled part of ``steps.refpix``."""

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.instrument.wfi import CHANNEL_WIDTH
from nexus_pipeline.steps.bands import compiled

Floats = NDArray[np.float32]
Spectra = NDArray[np.complex64]


@compiled
def mix(
    left: Spectra,
    right: Spectra,
    output: Spectra,
    gamma: Spectra,
    zeta: Spectra,
    alpha: Spectra,
    mixed: Spectra,
) -> None:
    """Write one channel's correction (n, n_frequencies): beyond its coefficients it is as it was."""
    for k in range(left.shape[0]):
        for f in range(gamma.size):
            mixed[k, f] = left[k, f] * gamma[f] + right[k, f] * zeta[f] + output[k, f] * alpha[f]


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
