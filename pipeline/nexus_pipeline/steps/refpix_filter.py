"""The filter of ``refpix``: what each channel is to lose, from the reference signals and coefficients.

Takes ``ReferenceSignals`` (DN) and three coefficients per channel and frequency; leaves the correction
(DN) of every pixel, made as one series per channel and resultant.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from nexus_pipeline.instrument.wfi import BORDER, CHANNEL_WIDTH
from nexus_pipeline.steps.bands import available_cores, compiled
from nexus_pipeline.steps.reference_signals import ROW_SAMPLES, ReferenceSignals, sample_times

Floats = NDArray[np.float32]
Spectra = NDArray[np.complex64]


def spectra(signals: ReferenceSignals) -> Spectra:
    """Return the spectra (n_resultants, 3, frequencies) of left, right and amp33 as coefficients want them.

    The side columns fill 4 of 140 samples and are scaled up by as much. The factor (N + 2) / N of
    N samples is the mission's own (romancal 1.1 normalises by frequencies, not by samples).
    """
    n, size = signals.amp33.shape
    factor = (size + 2) / size
    made = np.empty((n, 3, size // 2 + 1), np.complex64)
    scaled = ((signals.left, ROW_SAMPLES / BORDER), (signals.right, ROW_SAMPLES / BORDER), (signals.amp33, 1))
    for i, (series, gain) in enumerate(scaled):
        for k in range(n):
            np.multiply(scipy.fft.rfft(series[k]), np.float32(gain * factor), out=made[k, i])
    return made


def filtered(
    signals: ReferenceSignals, coefficients: tuple[Spectra, Spectra, Spectra], *, threads: int | None = None
) -> Floats:
    """Return the correction (n_resultants, ny, nx) DN, lines included, of frames with ``signals``.

    ``coefficients`` are gamma, zeta and alpha (n_channels, frequencies) of left, right and amp33.
    """
    n, size = signals.amp33.shape
    n_rows, n_channels = size // ROW_SAMPLES, len(coefficients[0])
    inputs, time = spectra(signals), sample_times(n_rows)
    out = np.empty((n, n_rows, n_channels * CHANNEL_WIDTH), np.float32)

    def work(channel: int) -> None:
        gamma, zeta, alpha = (each[channel] for each in coefficients)
        target = out[:, :, channel * CHANNEL_WIDTH : (channel + 1) * CHANNEL_WIDTH]
        if channel % 2:
            target = target[:, :, ::-1]
        spectrum = np.empty(size // 2 + 1, np.complex64)
        for k in range(n):
            _combine(inputs[k], (gamma, zeta, alpha), spectrum)
            series = scipy.fft.irfft(spectrum, size).reshape(n_rows, ROW_SAMPLES)
            slope, level = signals.slope[k, channel], signals.level[k, channel]
            line = (slope * time[:, :CHANNEL_WIDTH] + level).astype(np.float32)
            np.add(series[:, :CHANNEL_WIDTH], line, out=target[k])

    with ThreadPoolExecutor(threads or available_cores()) as pool:
        list(pool.map(work, range(n_channels)))
    return out


@compiled
def _combine(inputs: Spectra, coefficients: tuple[Spectra, Spectra, Spectra], spectrum: Spectra) -> None:
    """Write the sum of ``inputs`` (3, frequencies) times ``coefficients`` into ``spectrum``."""
    gamma, zeta, alpha = coefficients
    for i in range(spectrum.size):
        spectrum[i] = gamma[i] * inputs[0, i] + zeta[i] * inputs[1, i] + alpha[i] * inputs[2, i]
