# ruff: noqa: PLR0913, PLR0917 - compiled code takes its arrays one by one
"""flatfield: from counts to surface brightness (DN/s; convention in ``nexus_pipeline.instrument``)."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled, over_rows
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.products.model import RateImage
from nexus_pipeline.references.kinds import FlatReference
from nexus_pipeline.steps.checks import require_detector, require_shape

_NO_FLAT_FIELD = np.uint32(DQ.NO_FLAT_FIELD)
_UNUSABLE = np.uint32(DQ.NO_FLAT_FIELD | DQ.DO_NOT_USE)

Plane = NDArray[np.float32]


def divide(image: RateImage, flat: FlatReference) -> RateImage:
    """Return ``image`` over ``flat``, its variances and error with it, the flat's own error added.

    Pixels whose flat is not a positive number keep their rate and get NO_FLAT_FIELD and DO_NOT_USE.
    Raises MismatchedReferenceError.
    """
    require_detector(flat, image.meta.detector)
    require_shape(flat.flat, image.rate.shape, flat)
    rate, err, var_poisson, var_rnoise, var_flat, dumo = (np.empty_like(image.rate) for _ in range(6))
    dq = image.dq | flat.dq

    def work(first: int, last: int) -> None:
        rows = np.s_[first:last]
        _divide_rows(
            image.rate[rows], image.var_poisson[rows], image.var_rnoise[rows], image.dumo[rows],
            flat.flat[rows], flat.error[rows], flat.dq[rows],
            rate[rows], err[rows], var_poisson[rows], var_rnoise[rows], var_flat[rows], dumo[rows], dq[rows],
        )  # fmt: skip

    over_rows(work, len(rate))
    return replace(
        image,
        rate=rate,
        err=err,
        var_poisson=var_poisson,
        var_rnoise=var_rnoise,
        var_flat=var_flat,
        dumo=dumo,
        dq=dq,
    )


@compiled
def _divide_rows(
    rate: Plane,
    var_poisson: Plane,
    var_rnoise: Plane,
    dumo: Plane,
    flat: Plane,
    flat_error: Plane,
    flat_dq: NDArray[np.uint32],
    rate_out: Plane,
    err_out: Plane,
    var_poisson_out: Plane,
    var_rnoise_out: Plane,
    var_flat_out: Plane,
    dumo_out: Plane,
    dq_out: NDArray[np.uint32],
) -> None:
    for y in range(rate.shape[0]):
        for x in range(rate.shape[1]):
            value, error = flat[y, x], flat_error[y, x]
            good = 0 < value < np.inf and not flat_dq[y, x] & _NO_FLAT_FIELD
            inverse = np.float32(1) / value if good else np.float32(1)
            relative = error * inverse if good and np.isfinite(error) else np.float32(0)
            rate_out[y, x] = rate[y, x] * inverse
            dumo_out[y, x] = dumo[y, x] * inverse
            poisson, read = var_poisson[y, x] * inverse * inverse, var_rnoise[y, x] * inverse * inverse
            own = rate_out[y, x] * relative
            var_poisson_out[y, x], var_rnoise_out[y, x], var_flat_out[y, x] = poisson, read, own * own
            err_out[y, x] = np.sqrt(poisson + read + own * own)
            if not good:
                dq_out[y, x] |= _UNUSABLE
