# ruff: noqa: PLR0917 - compiled code takes its arrays one by one
"""The compiled part of ``simulate.galaxies``: a galaxy's spectrum on the grid of its PSF's."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.psf.kernels import compiled

Floats = NDArray[np.float64]

TABLE_END: Final = 600.0
"""Wave number (inverse half-light radii) where the table of a profile's transform ends."""


@compiled
def fill_spectrum(
    spectrum: NDArray[np.complex64],
    transform: NDArray[np.complex64],
    shape: Floats,
    x: float,
    y: float,
    flux: float,
    oversample: int,
    table: Floats,
) -> None:
    """Write flux × profile × PSF × shift into ``spectrum``; wave numbers are per pixel."""
    n = spectrum.shape[0]
    step = 2.0 * np.pi * oversample / n
    per_node = (table.size - 1) / np.sqrt(TABLE_END)
    across = np.exp(-1j * step * x * np.arange(spectrum.shape[1]))
    limit = 1e-6 * abs(transform[0, 0])
    for j in range(n):
        ky = step * (j if j <= n // 2 else j - n)
        down = flux * np.exp(-1j * ky * y)
        for i in range(spectrum.shape[1]):
            if abs(transform[j, i].real) + abs(transform[j, i].imag) < limit:
                spectrum[j, i] = 0.0
                continue
            kx = step * i
            u = shape[0, 0] * kx + shape[1, 0] * ky
            v = shape[0, 1] * kx + shape[1, 1] * ky
            at = np.sqrt(np.sqrt(u * u + v * v)) * per_node
            node = int(at)
            value = 0.0
            if node + 1 < table.size:
                value = table[node] + (at - node) * (table[node + 1] - table[node])
            spectrum[j, i] = value * transform[j, i] * across[i] * down
