# ruff: noqa: PLR0917 - compiled code takes its arrays one by one
"""Inter-pixel capacitance: a pixel's charge is seen by its neighbours too.

Takes the charge (electrons) and the converted level (DN) of a row of pixels and of the rows beside it,
resultant by resultant; leaves the levels with the neighbours' share. It acts on the mean of a resultant's
reads, which commutes with a linear coupling, before read noise. What is coupled is charge, not the converted
level: linearity then undoes the conversion, and a star's rates are the kernel's convolution to second order
in the coupling. (romanisim 0.14 lists it after the conversion; a star of 20 000 DN in its brightest
pixel would then lose 0.25 % to the order of the two alone.)
"""

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.instrument.wfi import BORDER
from nexus_pipeline.psf.kernels import compiled

Rows = NDArray[np.float32]


@compiled
def couple(
    charge: Rows,
    before: int,
    here: int,
    after: int,
    kernel: NDArray[np.float32],
    gain: Rows,
    saturation: Rows,
    inverse: Rows,
    level: Rows,
    excess: Rows,
) -> None:
    """Add to ``level`` (n, nx) DN what the neighbours give and take.

    ``charge`` (3, n, nx) electrons holds the rows ``before``, ``here`` and ``after``; ``inverse`` (m, nx)
    is the conversion from linear DN, ``excess`` (nx) room to work in. Of a kernel [1+dy, 1+dx] the share
    goes to the pixel dx, dy away. The border takes nothing: what would leak into it stays. A saturated
    pixel's level does not sink.
    """
    last = level.shape[1] - BORDER
    for k in range(level.shape[0]):
        own = charge[here, k]
        # Columns of the border mirror their neighbours, so that nothing flows there.
        for rows in (before, here, after):
            charge[rows, k, BORDER - 1] = charge[rows, k, BORDER]
            charge[rows, k, last] = charge[rows, k, last - 1]
        excess[:] = 0.0
        for dy in range(-1, 2):
            beside = charge[after, k] if dy < 0 else charge[before, k] if dy > 0 else own
            for dx in range(-1, 2):
                share = kernel[1 + dy, 1 + dx] if dx != 0 or dy != 0 else np.float32(0.0)
                for i in range(BORDER, last):
                    excess[i] += share * (beside[i - dx] - own[i])
        for i in range(BORDER, last):
            linear = own[i] / gain[i]
            slope = np.float32(0.0)
            for power in range(inverse.shape[0] - 1, 0, -1):
                slope = slope * linear + np.float32(power) * inverse[power, i]
            gained = slope * excess[i] / gain[i]
            held = level[k, i] >= saturation[i]
            level[k, i] += max(gained, np.float32(0.0)) if held else gained
