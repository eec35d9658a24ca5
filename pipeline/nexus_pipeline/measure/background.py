"""The light behind the sources of an L2 image, and the noise at each brightness.

Takes planes of a rate image (DN/s); leaves a smooth background (DN/s) and a noise curve (DN²/s²).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate, median_filter, spline_filter

from nexus_pipeline.bands import over_rows, share_out
from nexus_pipeline.errors import InputError
from nexus_pipeline.measure.background_kernels import count_good, grown, level_boxes, pick, surface

Plane = NDArray[np.float32]
Floats = NDArray[np.float64]

BOX_PIXELS: Final = 128
_SOURCE_MARGIN: Final = 5
_MOSTLY_MASKED: Final = 0.7
_MIN_SKY_SHARE: Final = 0.1
_MIN_PIXELS: Final = 30
_ENOUGH_PIXELS: Final = 1000
_NODES: Final = 40
_SKY_PIXELS: Final = 500_000


def estimate(
    image: Plane, unusable: NDArray[np.bool_], *, sources: NDArray[np.bool_] | None = None, every: int = 1
) -> Plane:
    """Return the background of ``image``; pixels of ``sources`` and a margin about them do not count.

    With the sources known it is a mean, without them a median: photon noise is skewed, so that the
    median of an empty sky lies 0.3 % below the light that falls on a star. A field so crowded that no
    box shows a tenth of its sky is treated as if no sources were known. Only ``every`` so many rows of large
    images are looked at.
    """
    if sources is not None:
        covered = np.empty_like(sources)
        over_rows(lambda first, last: grown(sources, _SOURCE_MARGIN, first, last, covered), len(sources))
        level, share = _boxes(image, unusable, covered, mean=True, every=every)
        if float(np.max(share)) >= _MIN_SKY_SHARE:
            return _surface(level, share, image.shape)
    return _surface(*_boxes(image, unusable, unusable, mean=False, every=every), image.shape)


def _boxes(
    image: Plane, unusable: NDArray[np.bool_], covered: NDArray[np.bool_], *, mean: bool, every: int = 1
) -> tuple[Floats, Floats]:
    """Return the levels of boxes of about 128 pixels, and which share of each is sky."""
    box = min(BOX_PIXELS, *image.shape)
    every = every if box == BOX_PIXELS else 1
    ny, nx = (max(1, round(size / box)) for size in image.shape)
    rows, columns = (
        np.linspace(0, size, n + 1).astype(np.int64) for size, n in zip(image.shape, (ny, nx), strict=True)
    )
    level, share = np.empty((ny, nx)), np.empty((ny, nx))
    share_out(
        lambda j: level_boxes(image, unusable, covered, rows, columns, mean, every, j, j + 1, level, share),
        range(ny),
    )
    return level, share


def _surface(level: Floats, share: Floats, shape: tuple[int, ...]) -> Plane:
    """Return the spline through the boxes' levels, smoothed by the median of nine.

    Boxes that hardly show any sky are filled from their neighbours; where all are, the emptier ones count.
    """
    least = min(1 - _MOSTLY_MASKED, 0.25 * float(np.max(share)))
    smooth = median_filter(_filled(np.where(share >= least, level, np.nan)), size=3, mode="nearest")
    padded = np.pad(spline_filter(smooth, mode="reflect"), 2, mode="symmetric")
    out = np.empty(shape, np.float32)
    weights = (*_cubic(level.shape[0], shape[0]), *_cubic(level.shape[1], shape[1]))
    over_rows(lambda first, last: surface(padded, *weights, first, last, out), shape[0])
    return out


def _cubic(n_boxes: int, size: int) -> tuple[NDArray[np.int64], Floats]:
    """Return for each of ``size`` pixels the first of its four boxes (two padded) and their weights."""
    at = (np.arange(size) + 0.5) * n_boxes / size - 0.5
    first = np.floor(at)
    t = at - first
    weights = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 3 * (1 - t) ** 3 - 6 * (1 - t) ** 2 + 4, t**3]
    return first.astype(np.int64) + 1, np.ascontiguousarray(np.stack(weights, axis=1) / 6)


def _filled(level: Floats) -> Floats:
    """Return ``level`` with each NaN replaced by its neighbours’ mean, from the edges of a gap inwards."""
    level = np.where(np.isfinite(level).any(), level, 0.0)
    while not np.isfinite(level).all():
        known = np.isfinite(level)
        about = np.ones((3, 3))
        n = correlate(known.astype(np.float64), about, mode="constant")
        total = correlate(np.where(known, level, 0), about, mode="constant")
        level = np.where(known | (n == 0), level, total / np.maximum(n, 1))
    return level


def noise_curve(image: Plane, variance: Plane, unusable: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return brightness nodes (DN/s, rising) and the median ``variance`` of the pixels near each.

    The pipeline's variances follow each pixel's own noisy brightness; averaged over many pixels of
    one brightness they tell the variance at that brightness, free of noise. Raises InputError where
    fewer than 1,000 pixels are usable.
    """
    n = count_good(image, variance, unusable)
    if n < _ENOUGH_PIXELS:
        raise InputError(f"only {n} usable pixels: too few to tell the noise")
    level, values = _thinned(image, variance, unusable, step=max(1, n // _SKY_PIXELS))
    which = np.digitize(level, _edges(level)).astype(np.int16)
    order = np.argsort(which, kind="stable")
    bounds = np.flatnonzero(np.diff(which[order])) + 1
    groups = [group for group in np.split(order, bounds) if group.size >= _MIN_PIXELS]
    nodes = np.array([np.median(level[group]) for group in groups])
    medians = np.array([np.median(values[group]) for group in groups])
    return nodes, np.maximum.accumulate(medians)


def _thinned(
    image: Plane, variance: Plane, unusable: NDArray[np.bool_], *, step: int
) -> tuple[Floats, Floats]:
    """Return values and variances of every bright pixel but only each ``step``-th of the sky's millions."""
    level, values = np.empty(image.size, np.float32), np.empty(image.size, np.float32)
    n = pick(image, variance, unusable, step, np.inf, level, values)
    limit = np.quantile(level[:n], 0.98)
    n = pick(image, variance, unusable, step, float(limit), level, values)
    return level[:n].astype(np.float64), values[:n].astype(np.float64)


def _edges(level: Floats) -> Floats:
    """Return bins of equal counts among the sky's pixels, of equal ratio above."""
    low, middle, high = np.quantile(level, [0.02, 0.5, 0.98])
    sky = np.linspace(low, high, 12)
    top = max(float(np.max(level)), 2 * high)
    step = max(high - middle, 1e-6)
    bright = high + np.geomspace(step, max(top - high, 2 * step), _NODES)
    return np.concatenate([sky, bright])
