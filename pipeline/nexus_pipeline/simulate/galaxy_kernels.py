# ruff: noqa: PLR0913, PLR0917 - compiled code takes its arrays one by one
"""The compiled part of ``simulate.galaxies``: their spectra on the modes of their PSFs, and the adding up."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled

Floats = NDArray[np.float64]

TABLE_END: Final = 600.0
"""Wave number (inverse half-light radii) where the table of a profile's transform ends."""


@compiled
def fill_spectra(
    spectra: NDArray[np.complex64],
    psfs: NDArray[np.complex64],
    rows: NDArray[np.int64],
    reach: NDArray[np.int64],
    corners: NDArray[np.int64],
    weights: Floats,
    shapes: Floats,
    x: Floats,
    y: Floats,
    flux: Floats,
    profiles: NDArray[np.float32],
    whole: float,
    blurred: float,
    blur: float,
) -> None:
    """Add flux × profile × PSF × shift of each galaxy to its (zero) spectrum, sampled once a pixel.

    ``psfs`` (n_psfs, n_rows, n_columns) hold modes ``rows`` along y and 0, 1 … along x of a stamp of the
    spectra's size; what goes beyond the pixels' Nyquist limit is folded back, as sampling does. The light is
    ``whole`` times what it is and ``blurred`` times what a Gaussian of ``blur`` pixels leaves of it.
    """
    size = spectra.shape[1]
    step = 2.0 * np.pi / size
    per_node = (profiles.shape[1] - 1) / np.sqrt(TABLE_END)
    line, modes = np.empty(psfs.shape[2], np.complex64), np.arange(psfs.shape[2])
    soft = np.exp(-0.5 * (blur * step * modes) ** 2)
    for k in range(spectra.shape[0]):
        across = np.exp(-1j * step * x[k] * modes)
        for j in range(rows.size):
            _blend(psfs, j, reach[j], corners[k], weights[k], line)
            ky = step * rows[j]
            down = flux[k] * np.exp(-1j * ky * y[k])
            softened = blurred * np.exp(-0.5 * (blur * ky) ** 2)
            u0, v0 = shapes[k, 1, 0] * ky, shapes[k, 1, 1] * ky
            row, mirrored = rows[j] % size, (-rows[j]) % size
            for i in range(reach[j]):
                u, v = u0 + shapes[k, 0, 0] * step * i, v0 + shapes[k, 0, 1] * step * i
                at = np.sqrt(np.sqrt(u * u + v * v)) * per_node
                node = int(at)
                if node + 1 >= profiles.shape[1]:
                    continue
                low = profiles[k, node]
                share = (low + (at - node) * (profiles[k, node + 1] - low)) * (whole + softened * soft[i])
                value = share * line[i] * across[i] * down
                column = i % size
                if 2 * column <= size:
                    spectra[k, row, column] += value
                # The mode's complex conjugate, at minus its wave number, which rfft2 leaves out.
                opposite = (size - column) % size
                if i > 0 and 2 * opposite <= size:
                    spectra[k, mirrored, opposite] += np.conj(value)


@compiled
def _blend(
    psfs: NDArray[np.complex64],
    row: int,
    length: int,
    corners: NDArray[np.int64],
    weights: Floats,
    line: NDArray[np.complex64],
) -> None:
    """Write ``length`` numbers of one row of the weighted mean of four PSFs into ``line``."""
    line[:length] = 0.0
    for corner in range(4):
        weight = np.float32(weights[corner])
        if weight > 0.0:
            for i in range(length):
                line[i] += weight * psfs[corners[corner], row, i]


@compiled
def add_stamps(image: NDArray[np.float32], stamps: NDArray[np.float32], x: Floats, y: Floats) -> None:
    """Add ``stamps`` (n, size, size) to ``image`` in place, their [size/2, size/2] on the pixels (x, y)."""
    size = stamps.shape[1]
    for k in range(stamps.shape[0]):
        low_x, low_y = int(x[k]) - size // 2, int(y[k]) - size // 2
        for j in range(max(-low_y, 0), min(size, image.shape[0] - low_y)):
            for i in range(max(-low_x, 0), min(size, image.shape[1] - low_x)):
                image[low_y + j, low_x + i] += stamps[k, j, i]
