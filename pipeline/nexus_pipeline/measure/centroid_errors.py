"""Errors of centroids, in pixels: pixel errors carried through each source's (windowed) centre of mass."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def of_centroids(
    labels: NDArray[np.int32], image: NDArray[np.float32], error: NDArray[np.float32], *, at: Floats
) -> Floats:
    """Return the 1 σ errors (n, 2), x first, of the centres of mass ``at`` (n, 2) of labels 1…n's pixels.

    ``labels``, ``image`` and ``error`` share one shape; pixels to leave out carry label 0. Sources without
    flux give NaN. An axis never gets less than a source of one pixel would: its variance over 12.
    """
    return _carried(labels, image, error, at=at, width=np.full(len(at), np.inf), step=1.0)


def of_windowed(
    labels: NDArray[np.int32],
    image: NDArray[np.float32],
    error: NDArray[np.float32],
    *,
    at: Floats,
    width: Floats,
) -> Floats:
    """Return the same for centroids in a Gaussian window of ``width`` (n,) pixels.

    The iteration that finds them steps by twice the moment (SExtractor's XWIN_IMAGE), hence the factor two.
    Only the source's own pixels are summed: faint sources get up to a quarter less than their whole window
    would give.
    """
    return _carried(labels, image, error, at=at, width=width, step=2.0)


def _carried(
    labels: NDArray[np.int32],
    image: NDArray[np.float32],
    error: NDArray[np.float32],
    *,
    at: Floats,
    width: Floats,
    step: float,
) -> Floats:
    y, x = np.nonzero(labels)
    source = labels[y, x] - 1
    from_centre = np.column_stack([x, y]) - at[source]
    weight = np.exp(-0.5 * np.sum(from_centre**2, axis=1) / width[source] ** 2)
    noise = weight * error[y, x]

    def total(values: NDArray[np.floating[Any]]) -> Floats:
        return np.bincount(source, values, minlength=len(at))

    least = total(noise**2) / 12
    variance = np.column_stack([total((noise * along) ** 2) for along in from_centre.T])
    flux = total(weight * image[y, x])
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = step * np.sqrt(np.maximum(variance, least[:, None])) / flux[:, None]
    errors[~(flux > 0)] = np.nan
    return errors
