"""How many pixels of a synthetic detector are bad besides the hot ones, and in what way."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.instrument.dq import DQ

SHARES: Final = {DQ.DEAD: 2e-4, DQ.LOW_QE: 2e-4, DQ.TELEGRAPH: 1e-4, DQ.OTHER_BAD_PIXEL: 1e-4}
"""Of all pixels, by what is wrong. ``OTHER_BAD_PIXEL`` are those whose signal creeps up as behind a
resistor and a capacitor (RC): the mission has no flag of its own for them."""


def sprinkled(dq: NDArray[np.uint32], rng: np.random.Generator) -> NDArray[np.uint32]:
    """Return the mask ``dq`` (ny, nx) with bad pixels of each kind among those it says nothing of."""
    drawn, free = rng.random(dq.shape, dtype=np.float32), dq == DQ.GOOD
    bad, low = dq.copy(), 0.0
    for flag, share in SHARES.items():
        bad[free & (drawn >= low) & (drawn < low + share)] = flag | DQ.DO_NOT_USE
        low += share
    return bad
