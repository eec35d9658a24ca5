"""forced: PSF fluxes of an L2 image at given positions, whether or not anything is seen there."""

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.measure.columns import Stars
from nexus_pipeline.products.model import RateImage
from nexus_pipeline.recipes import catalog
from nexus_pipeline.recipes.epsf import psf_of
from nexus_pipeline.references.store import ReferenceStore

Floats = NDArray[np.float64]


def forced(image: RateImage, store: ReferenceStore, *, x: Floats, y: Floats, threads: int = 2) -> Stars:
    """Return the fluxes (nJy; may be negative) of stars exactly at pixels ``x``, ``y`` (0-based, L2).

    All positions are fitted beside each other, so neighbours share their light. Raises InputError for an
    image without world coordinates or photometry.
    """
    catalog.require_calibrated(image)
    psf, _ = psf_of(image.meta, store)
    return catalog.positions_fitted(image, psf, x=x, y=y, threads=threads)
