"""How wide the pulls of fluxes are on a detector whose pixels couple, by the kernel that couples them.

Photons' noise is shared with the neighbours before the reads add theirs, so that the noise of pixels goes
together; the fit takes it for independent and its errors for those of as many numbers as there are pixels.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve

from nexus_pipeline.products.model import RateImage
from nexus_pipeline.recipes import catalog, epsf
from nexus_pipeline.references import kinds
from nexus_pipeline.references.store import ReferenceStore

Floats = NDArray[np.float64]

_RADIUS: Final = 4
"""Half the window of the fit (``psf.fit_kernels``)."""
_PHASES: Final = (-0.4, -0.2, 0.0, 0.2, 0.4)


def pull_width(image: RateImage, store: ReferenceStore, flux_dn_s: float) -> float:
    """Return the width of (flux - truth) / error for stars of ``flux_dn_s`` fitted where they are."""
    where: dict[str, Any] = {
        "detector": image.meta.detector,
        "filter_name": image.meta.filter_name,
        "date": image.meta.start_time,
    }
    kernel = store.load(kinds.IpcReference, **where).kernel.astype(np.float64)
    coupled = epsf.has_ipc(image.meta)
    psf, plain = (epsf.psf_of(image.meta, store, ipc=ipc)[0] for ipc in (coupled, False))
    sky = catalog.sky_behind(image, psf)
    level, reads = float(np.median(sky.background)), float(np.median(image.var_rnoise))
    middle = image.rate.shape[0] // 2

    def variance(rate: Floats) -> Floats:
        return np.interp(level + rate, sky.noise.level, sky.noise.variance)

    squares = []
    for x, y in ((x, y) for x in _PHASES for y in _PHASES):
        seen, fallen = (
            np.pad(grid.stamp(middle + x, middle + y, radius=_RADIUS), 1) for grid in (psf, plain)
        )
        inside = np.pad(np.ones((2 * _RADIUS + 1,) * 2), 1)
        weight = inside * seen / variance(flux_dn_s * seen)
        shared = convolve(weight, kernel[::-1, ::-1], mode="constant") if coupled else weight
        photons = np.maximum(variance(flux_dn_s * fallen) - reads, 0)
        true = (photons * shared**2 + reads * weight**2).sum()
        squares.append(true / (weight**2 * variance(flux_dn_s * seen)).sum())
    return float(np.sqrt(np.mean(squares)))
