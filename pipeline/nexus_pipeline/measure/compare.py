"""A catalogue against the truth it was simulated from.

Takes both tables; leaves matched pairs of isolated stars and what the differences amount to.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]

MATCH_PIXELS: Final = 1.0
ISOLATION_PIXELS: Final = 12.0
EDGE_PIXELS: Final = 20.0


@dataclass(frozen=True)
class Pairs:
    """Rows of truth and catalogue that belong together, and the truths that nothing was found for."""

    truth: Table
    found: Table
    missed: Table

    @property
    def flux_ratio(self) -> Floats:
        return np.asarray(self.found["psf_flux"] / self.truth["flux_njy"], dtype=np.float64)

    @property
    def flux_pull(self) -> Floats:
        """Flux error over what the catalogue says it should be."""
        difference = np.asarray(self.found["psf_flux"] - self.truth["flux_njy"], dtype=np.float64)
        return difference / np.asarray(self.found["psf_flux_err"], dtype=np.float64)

    @property
    def signal_to_noise(self) -> Floats:
        return np.asarray(self.truth["flux_njy"] / self.found["psf_flux_err"], dtype=np.float64)

    @property
    def offset_pixels(self) -> tuple[Floats, Floats]:
        return (
            np.asarray(self.found["x_psf"] - self.truth["x"], dtype=np.float64),
            np.asarray(self.found["y_psf"] - self.truth["y"], dtype=np.float64),
        )


def isolated_stars(truth: Table, catalog: Table, *, size: int, isolation: float = ISOLATION_PIXELS) -> Pairs:
    """Match stars of a size² detector that have no true source within ``isolation`` pixels.

    Fits that failed, or lie on saturated pixels or such as must not be used, are left out of the pairs.
    """
    at = np.column_stack([truth["x"], truth["y"]])
    inside = ((at > EDGE_PIXELS) & (at < size - 1 - EDGE_PIXELS)).all(axis=1)
    alone = cKDTree(at).query(at, k=2)[0][:, 1] > isolation
    chosen = truth[inside & alone & (np.asarray(truth["type"]).astype(str) == "PSF")]
    positions = np.column_stack([catalog["x_psf"], catalog["y_psf"]])
    wanted = np.column_stack([chosen["x"], chosen["y"]])
    distance, index = cKDTree(np.where(np.isfinite(positions), positions, -1e6)).query(wanted)
    near = distance < MATCH_PIXELS
    found = catalog[index[near]]
    clean = (np.asarray(found["psf_flags"]) == 0) & ((np.asarray(found["image_flags"]) & 3) == 0)
    return Pairs(chosen[near][clean], found[clean], chosen[~near])


def median_and_error(values: Floats) -> tuple[float, float]:
    """Return the median and its standard error (1.253 robust widths over √n)."""
    return float(np.median(values)), 1.2533 * robust_width(values) / float(np.sqrt(len(values)))


def robust_width(values: Floats) -> float:
    """Return 1.4826 times the median absolute deviation: σ of a normal distribution."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def robust_width_error(values: Floats) -> float:
    """Return the standard error of ``robust_width`` for normal values (1.167 σ over √n)."""
    return 1.167 * robust_width(values) / float(np.sqrt(len(values)))
