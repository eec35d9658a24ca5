"""refpix: take the drift of the electronics out, as the reference border shows it.

Takes and leaves a working ramp (DN). Of every resultant are subtracted: the level of each
channel (from the reference rows above and below it) and what all channels share from row to row
(from the reference columns left and right, smoothed). Amp33 is not used, nor is there a
correction within a row: the mission's IRRC does both, and comes later.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.wfi import BORDER, CHANNEL_WIDTH
from nexus_pipeline.products.model import BorderPixels, WorkingRamp

SMOOTHING_ROWS: Final = 32.0
"""Standard deviation of the smoothing along y. Eight reference pixels of 5 DN give a row's level to
1.8 DN; over 113 effective rows (√(4π) σ) that becomes 0.17 DN, well below the noise of a pixel."""
_UNUSABLE: Final = np.uint32(DQ.DO_NOT_USE | DQ.BAD_REF_PIXEL)

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Drift:
    """DN to take out of each resultant: ``across`` (n, nx), the same in all rows, and ``rows`` (n, ny)."""

    across: Floats
    rows: Floats


def subtract(
    ramp: WorkingRamp, *, channel_width: int = CHANNEL_WIDTH, smoothing_rows: float = SMOOTHING_ROWS
) -> WorkingRamp:
    """Return ``ramp`` without the offsets and row-to-row drift its reference pixels show; see ``measure``."""
    return take_out(ramp, measure(ramp.border, channel_width=channel_width, smoothing_rows=smoothing_rows))


def measure(
    border: BorderPixels, *, channel_width: int = CHANNEL_WIDTH, smoothing_rows: float = SMOOTHING_ROWS
) -> Drift:
    """Return what the reference border of a frame shows.

    ``channel_width`` must divide the frame. A channel or a row without a usable reference pixel
    is interpolated (rows) or takes the mean of the others (channels). Raises InputError for a
    smoothing that is no positive number of rows.
    """
    if not (np.isfinite(smoothing_rows) and smoothing_rows > 0):
        raise InputError(f"refpix.smoothing_rows must be a number of rows above 0, not {smoothing_rows}")
    levels = channel_levels(border, channel_width)
    across = np.repeat(levels, channel_width, axis=1)
    return Drift(across, row_drift(border, across, smoothing_rows))


def take_out(ramp: WorkingRamp, drift: Drift) -> WorkingRamp:
    """Return ``ramp``, a whole one or a band of rows, without ``drift``."""
    rows = slice(ramp.first_row, ramp.first_row + ramp.data.shape[1])
    data = ramp.data - drift.across[:, None, :]
    data -= drift.rows[:, rows, None]
    return replace(ramp, data=data)


def channel_levels(border: BorderPixels, channel_width: int = CHANNEL_WIDTH) -> Floats:
    """Return the mean of the reference rows above and below each channel, (n_resultants, n_channels) DN."""
    usable = np.concatenate([border.dq_bottom, border.dq_top]) & _UNUSABLE == 0
    frames = np.concatenate([border.bottom, border.top], axis=1)
    return np.array([_levels(frame, usable, channel_width) for frame in frames])


def _levels(frame: Floats, usable: NDArray[np.bool_], channel_width: int) -> Floats:
    values = np.where(usable, frame, 0).reshape(2 * BORDER, -1, channel_width)
    counts = usable.reshape(values.shape).sum(axis=(0, 2))
    sums = values.sum(axis=(0, 2), dtype=np.float64)
    seen = counts > 0
    levels = np.divide(sums, counts, out=np.zeros_like(sums), where=seen)
    levels[~seen] = levels[seen].mean() if seen.any() else 0.0
    return levels.astype(np.float32)


def row_drift(border: BorderPixels, across: Floats, smoothing_rows: float) -> Floats:
    """Return what the reference columns show beyond ``across``, smoothed, (n_resultants, ny) DN."""
    usable = np.concatenate([border.dq_left, border.dq_right], axis=1) & _UNUSABLE == 0
    frames = np.concatenate([border.left, border.right], axis=2)
    columns = np.r_[0:BORDER, -BORDER:0]
    return np.array(
        [
            _smoothed(frame - level[columns], usable, smoothing_rows)
            for frame, level in zip(frames, across, strict=True)
        ]
    )


def _smoothed(beyond: Floats, seen: NDArray[np.bool_], smoothing_rows: float) -> Floats:
    values = np.where(seen, beyond, 0)
    # Weighing by the number of usable pixels makes the smoothing bridge rows that have none.
    sums = gaussian_filter1d(values.sum(axis=1, dtype=np.float64), smoothing_rows, mode="reflect")
    counts = gaussian_filter1d(seen.sum(axis=1).astype(np.float64), smoothing_rows, mode="reflect")
    return np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 1e-6).astype(np.float32)
