"""An image brought to another PSF, with the noise that its pixels then share.

Takes a field and a kernel in its pixels; leaves the field after the kernel: light convolved, variances and
the correlation of neighbours as they follow from the kernel, and what is near unusable pixels unusable too.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter
from scipy.signal import fftconvolve, oaconvolve

from nexus_pipeline.measure.correlation import Correlation
from nexus_pipeline.measure.sources import Field

Floats = NDArray[np.float64]

_LEAST_SHARE: Final = 0.01
"""Of a kernel's weight: less of it may fall on pixels without light."""
_REACH: Final = 12
"""Lags beyond are told by nothing that is measured in small apertures."""


def matched(field: Field, kernel: Floats) -> Field:
    """Return ``field`` convolved with ``kernel`` (odd, square; of the sum that stars keep)."""
    image = oaconvolve(field.image, kernel.astype(np.float32), mode="same")
    covariance = fftconvolve(fftconvolve(kernel, kernel[::-1, ::-1]), field.correlation.lags)
    middle = covariance.shape[0] // 2
    of_one, reach = float(covariance[middle, middle]), min(_REACH, middle)
    near = slice(middle - reach, middle + reach + 1)
    return Field(
        image=np.asarray(image, dtype=np.float32),
        variance=field.variance * np.float32(of_one),
        unusable=_near(field.unusable, core_radius(kernel)),
        labels=field.labels,
        correlation=Correlation(covariance[near, near] / of_one),
    )


def core_radius(kernel: Floats) -> int:
    """Return the half width of the square beyond which a kernel has next to no weight."""
    middle = kernel.shape[0] // 2
    away = np.abs(np.arange(kernel.shape[0]) - middle)
    ring, weight = np.maximum(away[:, None], away[None, :]), np.abs(kernel)
    beyond = [weight[ring > radius].sum() for radius in range(middle + 1)]
    return int(np.argmax(np.array(beyond) <= _LEAST_SHARE * weight.sum()))


def _near(unusable: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    if not radius or not unusable.any():
        return unusable
    return np.asarray(maximum_filter(unusable.view(np.uint8), 2 * radius + 1, mode="nearest"), dtype=np.bool_)
