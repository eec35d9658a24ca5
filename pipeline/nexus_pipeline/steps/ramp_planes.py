"""What either ramp fit reads and writes, beside the ramp itself."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.instrument.dq import DQ

Floats = NDArray[np.float32]

N_PLANES: Final = 5
"""Rate (DN/s), its variance by read noise and by photons, χ², uniform minus optimal slope.
A pixel without a slope gets a rate that is no number."""
UNUSABLE: Final = np.uint8(DQ.DO_NOT_USE | DQ.SATURATED | DQ.DROPOUT)
JUMP: Final = np.uint32(DQ.JUMP_DET)
KNOWN_JUMP: Final = np.uint8(DQ.JUMP_DET)
"""Of a resultant that a jump is known to precede: it is left out as one that the search finds."""
