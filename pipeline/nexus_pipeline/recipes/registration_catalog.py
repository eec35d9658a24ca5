"""source_catalog for registration: bright, unsaturated, isolated stars of one L2 image with PSF positions.

The full catalogue (``recipes.catalog``) deblends, weighs neighbours and measures shapes; none of that
helps to tell where the telescope looked.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.measure import bright_stars
from nexus_pipeline.products.model import RateImage
from nexus_pipeline.psf import fit
from nexus_pipeline.psf.grid import PsfGrid
from nexus_pipeline.recipes.epsf import psf_of
from nexus_pipeline.references.store import ReferenceStore

Floats = NDArray[np.float64]

PEAK_SIGMA: Final = 10.0
"""The middle pixel over the sky's noise: a star of S/N 25 or so, whose position is good to 0.03 pixels."""
ISOLATION_PIXELS: Final = 10.0
_MAX_SHIFT_PIXELS: Final = 1.0
_BRIGHTER_THAN_ANY: Final = 1e7


@dataclass(frozen=True)
class StarPositions:
    """Stars of one detector, an entry each: pixels (0-based, 4088² frame) with errors, flux (DN/s), χ²."""

    x: Floats
    y: Floats
    x_err: Floats
    y_err: Floats
    flux: Floats
    flux_err: Floats
    chi2: Floats

    def __len__(self) -> int:
        return len(self.x)


def read_psf(image: RateImage, store: ReferenceStore) -> PsfGrid:
    """Return the ePSF of the image, IPC and all; MissingReferenceError without one."""
    psf, _ = psf_of(image.meta, store)
    return psf


def find_stars(
    image: RateImage, psf: PsfGrid, *, peak_sigma: float = PEAK_SIGMA, threads: int = 2
) -> StarPositions:
    """Return the stars of ``image`` (DN/s); none at all is an answer, not an error."""
    unusable = (image.dq & np.uint32(DQ.DO_NOT_USE)) != 0
    flat = bright_stars.flatten(image.rate, image.var_poisson, image.var_rnoise, unusable)
    saturated = (image.dq & np.uint32(DQ.SATURATED)) != 0
    x, y = bright_stars.peaks(flat, saturated, least=peak_sigma * flat.sky_sigma)
    height = flat.image[y, x].astype(np.float64)
    alone = bright_stars.isolated(x, y, height, radius_pixels=ISOLATION_PIXELS)
    fits = fitted(flat, psf, np.stack([x[alone], y[alone]]).astype(np.float64), threads=threads)
    return _kept(fits, x[alone], y[alone])


def fitted(flat: bright_stars.Flattened, psf: PsfGrid, at: Floats, *, threads: int) -> fit.PsfFits:
    """Return fits of isolated stars near ``at`` (2, n): x and y."""
    level = np.array([0.0, _BRIGHTER_THAN_ANY])
    # Isolated stars need no second look without their neighbours: one pass.
    return fit.fit_sources(
        flat.image,
        flat.sky,
        flat.usable,
        extra_variance=np.zeros_like(flat.image),
        psf=psf,
        noise=fit.NoiseCurve(level, flat.floor + flat.slope * level),
        x=at[0],
        y=at[1],
        passes=1,
        threads=threads,
    )


def _kept(fits: fit.PsfFits, x: NDArray[np.int64], y: NDArray[np.int64]) -> StarPositions:
    near = np.hypot(fits.x - x, fits.y - y) < _MAX_SHIFT_PIXELS
    good = fits.converged & near & (fits.flux > 0) & np.isfinite(fits.x_err + fits.y_err)
    names = ("x", "y", "x_err", "y_err", "flux", "flux_err", "chi2")
    return StarPositions(*(getattr(fits, name)[good] for name in names))
