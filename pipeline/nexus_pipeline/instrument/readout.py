"""When each pixel is read within a read of the detector.

A channel reads its rows one after the other, a few idle clocks between them and an excursion to the guide
window every 256 rows; all channels go side by side. So the time of a pixel is that of its row plus that
of its column. Figures: romancal 1.1 ``basic_utils.frame_read_times``, which calls them provisional.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.instrument.wfi import CHANNEL_WIDTH, N_PIXELS

PIXEL_TIME_S: Final = 4.915263e-06
IDLE_CLOCKS: Final = 14
"""Between the last pixel of a row and the first of the next."""
GUIDE_WINDOW_ROWS: Final = 256
GUIDE_WINDOW_FACTOR: Final = 1.5
"""By how much longer an excursion counts than it takes: transients decay faster in it."""
FLIPPED_IN_X: Final = 3
"""Detectors whose number it divides have their columns mirrored, the others their rows."""

Floats = NDArray[np.float64]


def read_times_s(detector: str, read_time_s: float, *, n_pixels: int = N_PIXELS) -> tuple[Floats, Floats]:
    """Return row times (ny,) and column times (nx,): pixel (y, x) is read at their sum after a read begins.

    ``n_pixels`` is the edge of the frame, border included; the guide window takes the time that a full
    frame leaves.
    """
    per_row = CHANNEL_WIDTH + IDLE_CLOCKS
    excursions = N_PIXELS // GUIDE_WINDOW_ROWS
    last = CHANNEL_WIDTH - 1 + (N_PIXELS - 1) * per_row
    excursion = (read_time_s / PIXEL_TIME_S - last) / excursions * GUIDE_WINDOW_FACTOR
    row = np.arange(n_pixels)
    rows = row * per_row + row // GUIDE_WINDOW_ROWS * excursion
    clock_s = read_time_s / (last + excursions * excursion)
    column = np.arange(n_pixels)
    forward = column % CHANNEL_WIDTH
    columns = np.where(column // CHANNEL_WIDTH % 2 == 0, forward, CHANNEL_WIDTH - 1 - forward).astype(float)
    if int(detector[3:]) % FLIPPED_IN_X == 0:
        columns = columns[::-1]
    else:
        rows = rows[::-1]
    return rows * clock_s, columns * clock_s
