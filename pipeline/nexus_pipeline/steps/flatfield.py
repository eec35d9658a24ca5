"""flatfield: from counts to surface brightness (DN/s; convention in ``nexus_pipeline.instrument``)."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.products.model import RateImage
from nexus_pipeline.references.kinds import FlatReference
from nexus_pipeline.steps.checks import require_detector, require_shape

Plane = NDArray[np.float32]


def divide(image: RateImage, flat: FlatReference) -> RateImage:
    """Return ``image`` over ``flat``, its variances and error with it, the flat's own error added.

    Pixels whose flat is not a positive number keep their rate and get NO_FLAT_FIELD and DO_NOT_USE.
    Raises MismatchedReferenceError.
    """
    require_detector(flat, image.meta.detector)
    require_shape(flat.flat, image.rate.shape, flat)
    good = np.isfinite(flat.flat) & (flat.flat > 0) & (flat.dq & np.uint32(DQ.NO_FLAT_FIELD) == 0)
    divisor = np.where(good, flat.flat, 1).astype(np.float32)
    rate: Plane = image.rate / divisor
    var_poisson, var_rnoise = image.var_poisson / divisor**2, image.var_rnoise / divisor**2
    var_flat = _flat_variance(rate, flat, good)
    bad = np.where(good, np.uint32(DQ.GOOD), np.uint32(DQ.NO_FLAT_FIELD | DQ.DO_NOT_USE))
    return replace(
        image,
        rate=rate,
        err=np.sqrt(var_poisson + var_rnoise + var_flat),
        var_poisson=var_poisson,
        var_rnoise=var_rnoise,
        var_flat=var_flat,
        dumo=np.divide(image.dumo, divisor),
        dq=image.dq | flat.dq | bad,
    )


def _flat_variance(rate: Plane, flat: FlatReference, good: NDArray[np.bool_]) -> Plane:
    known = good & np.isfinite(flat.error)
    relative = np.divide(flat.error, flat.flat, out=np.zeros_like(rate), where=known)
    return np.asarray((rate * relative) ** 2)
