"""Bad pixels as a mask has them: dead, insensitive, telegraph, and those that creep (RC).

Takes the mask's flags; leaves expected electrons per second without those that are not seen, and resultants
(DN) with what the pixels add after the conversion. Hot pixels are the dark current's. The values describe
no real detector.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.ma_table import MATable
from nexus_pipeline.simulate.random import Effect, generator

LOW_RESPONSE: Final = 0.3
"""What is left of the light where quantum efficiency is low."""
TELEGRAPH_DN: Final = (30.0, 300.0)
TELEGRAPH_FLIP: Final = 0.2
"""The chance that a read finds the pixel on its other level."""
RC_DN: Final = (500.0, 5000.0)
RC_S: Final = (10.0, 60.0)
_TOP: Final = 2**16 - 1

Floats = NDArray[np.float64]


def dimmed(electrons_per_s: NDArray[np.float32], dq: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Return the electrons per second (ny, nx) that the pixels of ``dq`` collect of those they should."""
    seen = np.where(dq & np.uint32(DQ.LOW_QE), np.float32(LOW_RESPONSE), np.float32(1))
    seen[(dq & np.uint32(DQ.DEAD)) != 0] = 0
    return electrons_per_s * seen


def disturb(data: NDArray[np.uint16], dq: NDArray[np.uint32], table: MATable, *, seed: int) -> None:
    """Write what telegraph and RC pixels of ``dq`` add into the resultants ``data`` (n, ny, nx), DN."""
    rng = generator(seed, Effect.BAD_PIXELS)
    for flag, added in ((DQ.TELEGRAPH, _telegraph), (DQ.OTHER_BAD_PIXEL, _creeping)):
        y, x = np.nonzero(dq & np.uint32(flag))
        disturbed = data[:, y, x] + added(len(y), table, rng)
        data[:, y, x] = np.clip(np.rint(disturbed), 0, _TOP).astype(np.uint16)


def _telegraph(n: int, table: MATable, rng: np.random.Generator) -> Floats:
    """Return the mean of two levels, one of them 0, over the reads of each resultant, (n_resultants, n)."""
    height = rng.uniform(*TELEGRAPH_DN, n)
    flips = rng.random((table.n_reads, n)) < TELEGRAPH_FLIP
    high = (rng.random(n) < 0.5) ^ (np.cumsum(flips, axis=0) % 2 == 1)
    return np.array([height * high[np.array(reads) - 1].mean(axis=0) for reads in table.read_pattern])


def _creeping(n: int, table: MATable, rng: np.random.Generator) -> Floats:
    """Return a level approached exponentially, (n_resultants, n)."""
    level, constant = rng.uniform(*RC_DN, n), rng.uniform(*RC_S, n)
    return level * -np.expm1(-table.mean_times_s[:, None] / constant)
