"""Reference pixels as signals in time: what ``refpix`` filters.

Takes the reference border and amp33 (DN); leaves, for each resultant, the left and right columns and
amp33 as series in the order they were read, and the straight line of each channel. A channel reads
its row (odd channels from right to left) and waits; a wait is as long as 12 pixels, so a row is
140 samples and a frame one evenly sampled series. As in the mission's IRRC (Rauscher et al. 2022;
romancal 1.1), a value of exactly 0 stands for a pixel that was not read.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.wfi import BORDER, CHANNEL_WIDTH, N_CHANNELS
from nexus_pipeline.products.model import BorderPixels
from nexus_pipeline.steps.bands import compiled

PAUSE: Final = 12
"""Samples that pass between two rows of a channel."""
ROW_SAMPLES: Final = CHANNEL_WIDTH + PAUSE
SMOOTHINGS: Final = 3
"""Times the pauses of amp33 are smoothed."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ReferenceSignals:
    """Series (n_resultants, ny × 140) DN of left and right columns (0 where nothing was read) and amp33.

    ``slope`` (DN per sample) and ``level`` (DN at the frame's middle) are (n_resultants, n_channels + 1),
    amp33 last: the lines that were taken out of the series and are to be taken out of the channels.
    """

    left: Floats
    right: Floats
    amp33: Floats
    slope: NDArray[np.float64]
    level: NDArray[np.float64]


def reference_signals(
    border: BorderPixels,
    amp33: NDArray[np.uint16],
    *,
    remove_offset: bool = True,
    remove_trends: bool = True,
    cosine_interpolate: bool = True,
    fft_interpolate: bool = True,
) -> ReferenceSignals:
    """Return the signals of a frame with an even number of channels of 128 columns.

    ``remove_offset`` takes each pixel's mean over the resultants out first, ``remove_trends`` a line in
    time from each channel, ``cosine_interpolate`` fills the gaps of amp33 from 32 samples around, and
    ``fft_interpolate`` smooths its pauses. Raises InputError for a frame of other channels.
    """
    if border.bottom.shape[2] % (2 * CHANNEL_WIDTH):
        raise InputError(
            f"refpix needs pairs of channels of {CHANNEL_WIDTH} columns, not {border.bottom.shape}"
        )
    sides, ends, output = _sides(border), _ends(border), amp33.astype(np.float32)
    if remove_offset:
        sides, ends, output = _without_mean(sides), _without_mean(ends), _without_mean(output)
    slope, level = _no_lines(ends) if not remove_trends else _lines(ends, output)
    time = sample_times(output.shape[1])
    series = np.zeros((3, len(output), *time.shape), np.float32)
    for each, values, channel in zip(series, (*np.split(sides, 2, axis=2), output), (0, -2, -1), strict=True):
        width = values.shape[2]
        line = slope[:, channel, None, None] * time[:, :width] + level[:, channel, None, None]
        each[:, :, :width] = np.where(values != 0, values - line, 0)
    if cosine_interpolate:
        series[2] = _gaps_filled(series[2])
    if fft_interpolate:
        _smooth_pauses(series[2])
    left, right, last = series.reshape(3, len(output), -1)
    return ReferenceSignals(left, right, last, slope, level)


def sample_times(n_rows: int) -> NDArray[np.float64]:
    """Return when each sample (n_rows, 140) is read, in samples from the middle of the frame."""
    count = n_rows * ROW_SAMPLES
    times: NDArray[np.float64] = np.arange(count, dtype=np.float64) - (count - 1) / 2
    return times.reshape(n_rows, ROW_SAMPLES)


def _sides(border: BorderPixels) -> Floats:
    """Return the left and right columns (n, ny, 8), each as its channel reads them."""
    left, right = _good(border.left, border.dq_left), _good(border.right, border.dq_right)
    return np.concatenate([left, right[:, :, ::-1]], axis=2)


def _ends(border: BorderPixels) -> Floats:
    """Return the bottom and top rows (n, 8, n_channels, 128), each channel as it is read."""
    rows = [_good(border.bottom, border.dq_bottom), _good(border.top, border.dq_top)]
    ends = np.concatenate(rows, axis=1).reshape(len(border.bottom), 2 * BORDER, -1, CHANNEL_WIDTH)
    ends[:, :, 1::2] = ends[:, :, 1::2, ::-1].copy()
    return ends


def _good(values: Floats, dq: NDArray[np.uint32]) -> Floats:
    return np.where(dq & np.uint32(DQ.BAD_REF_PIXEL) == 0, values, np.float32(0))


def _without_mean(values: Floats) -> Floats:
    return values - values.mean(axis=0, dtype=np.float64).astype(np.float32)


def _no_lines(ends: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    nothing = np.zeros((len(ends), ends.shape[2] + 1))
    return nothing, nothing


def _lines(ends: Floats, output: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return slope and level of the least-squares line through the end rows of each channel and of amp33."""
    rows = np.r_[0:BORDER, -BORDER:0]
    y = np.concatenate([ends, output[:, rows, None]], axis=2).astype(np.float64)
    seen = y != 0
    time = np.broadcast_to(sample_times(output.shape[1])[rows, None, :CHANNEL_WIDTH], y.shape)
    count = np.maximum(seen.sum(axis=(1, 3)), 1)
    middle = np.sum(time, axis=(1, 3), where=seen) / count
    mean = y.sum(axis=(1, 3)) / count
    away = np.where(seen, time - middle[:, None, :, None], 0)
    spread = np.sum(away**2, axis=(1, 3))
    slope = np.divide(np.sum(away * y, axis=(1, 3)), spread, out=np.zeros_like(spread), where=spread > 0)
    return slope, mean - slope * middle


def _gaps_filled(frames: Floats) -> Floats:
    """Return ``frames`` (n, ny, 140) with means, weighted by a half wave of sine, where there is a 0."""
    weights = np.sin(np.arange(1, N_CHANNELS + 1) * np.pi / N_CHANNELS)
    filled = frames.copy()
    for series, target in zip(frames.reshape(len(frames), -1), filled.reshape(len(frames), -1), strict=True):
        _fill_gaps(series, weights, target)
    return filled


@compiled
def _fill_gaps(series: Floats, weights: NDArray[np.float64], filled: Floats) -> None:
    """Write into ``filled`` at the zeros of ``series``; where all around is zero too, it stays so."""
    # The centre that numpy gives to an even number of weights: 16 samples before, 15 after.
    after = weights.size // 2 - 1
    for i in range(series.size):
        if series[i] != 0:
            continue
        total, weight = 0.0, 0.0
        for k in range(weights.size):
            j = i + after - k
            if 0 <= j < series.size and series[j] != 0:
                total += weights[k] * series[j]
                weight += weights[k]
        filled[i] = total / weight if weight > 0 else 0.0


def _smooth_pauses(frames: Floats) -> None:
    """Smooth, in place, the pauses of ``frames`` (n, ny, 140) towards the pixels before and after.

    The mission multiplies the spectrum by (1 + cos 2πf) / 2 and keeps the pauses of what comes back:
    that is the mean of neighbours weighted ¼, ½, ¼, without a transform.
    """
    after = np.roll(frames[:, :, 0], -1, axis=1)
    # The series is a ring: after the last row comes the first, and not the next resultant's.
    window = np.concatenate([frames[:, :, CHANNEL_WIDTH - 1 :], after[:, :, None]], axis=2)
    for _ in range(SMOOTHINGS):
        window[:, :, 1:-1] = (window[:, :, :-2] + 2 * window[:, :, 1:-1] + window[:, :, 2:]) / 4
    frames[:, :, CHANNEL_WIDTH:] = window[:, :, 1:-1]
