"""The light behind the sources of an L2 image, and the noise at each brightness.

Takes planes of a rate image (DN/s); leaves a smooth background (DN/s) and a noise curve (DN²/s²).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, correlate, median_filter, spline_filter

from nexus_pipeline.bands import over_rows, share_out
from nexus_pipeline.errors import InputError
from nexus_pipeline.measure.background_kernels import level_boxes, surface

Plane = NDArray[np.float32]
Floats = NDArray[np.float64]

BOX_PIXELS: Final = 128
_SOURCE_MARGIN: Final = 5
_MOSTLY_MASKED: Final = 0.7
_MIN_SKY_SHARE: Final = 0.1
_MIN_PIXELS: Final = 30
_ENOUGH_PIXELS: Final = 1000
_NODES: Final = 40


def estimate(image: Plane, unusable: NDArray[np.bool_], *, sources: NDArray[np.bool_] | None = None) -> Plane:
    """Return the background of ``image``; pixels of ``sources`` and a margin about them do not count.

    With the sources known it is a mean, without them a median: photon noise is skewed, so that the
    median of an empty sky lies 0.3 % below the light that falls on a star. A field so crowded that no
    box shows a tenth of its sky is treated as if no sources were known.
    """
    box = min(BOX_PIXELS, *image.shape)
    if sources is not None:
        mask = unusable | binary_dilation(sources, iterations=_SOURCE_MARGIN)
        if _sky_share(mask, box) >= _MIN_SKY_SHARE:
            return _in_boxes(image, mask, box, mean=True)
    return _in_boxes(image, unusable, box, mean=False)


def _sky_share(mask: NDArray[np.bool_], box: int) -> float:
    """Return the share of usable pixels in the emptiest box."""
    rows, columns = (size // box * box for size in mask.shape)
    boxes = mask[:rows, :columns].reshape(rows // box, box, columns // box, box)
    masked: Floats = boxes.mean(axis=(1, 3))
    return 1 - float(np.min(masked))


def _in_boxes(image: Plane, mask: NDArray[np.bool_], box: int, *, mean: bool) -> Plane:
    """Return the spline through the boxes' levels, smoothed by the median of nine.

    Boxes that hardly show any sky are filled from their neighbours; where all are, the emptier ones count.
    """
    ny, nx = (max(1, round(size / box)) for size in image.shape)
    rows, columns = (
        np.linspace(0, size, n + 1).astype(np.int64) for size, n in zip(image.shape, (ny, nx), strict=True)
    )
    level, share = np.empty((ny, nx)), np.empty((ny, nx))
    share_out(lambda j: level_boxes(image, mask, rows, columns, mean, j, j + 1, level, share), range(ny))
    least = min(1 - _MOSTLY_MASKED, 0.25 * float(share.max()))
    smooth = median_filter(_filled(np.where(share >= least, level, np.nan)), size=3, mode="nearest")
    padded = np.pad(spline_filter(smooth, mode="reflect"), 2, mode="symmetric")
    out = np.empty(image.shape, np.float32)
    weights = (*_cubic(ny, image.shape[0]), *_cubic(nx, image.shape[1]))
    over_rows(lambda first, last: surface(padded, *weights, first, last, out), image.shape[0])
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
    good = ~unusable & np.isfinite(image) & np.isfinite(variance) & (variance > 0)
    if np.count_nonzero(good) < _ENOUGH_PIXELS:
        raise InputError(f"only {np.count_nonzero(good)} usable pixels: too few to tell the noise")
    level, values = _thinned(image[good].astype(np.float64), variance[good].astype(np.float64))
    which = np.digitize(level, _edges(level))
    order = np.argsort(which, kind="stable")
    bounds = np.flatnonzero(np.diff(which[order])) + 1
    groups = [group for group in np.split(order, bounds) if group.size >= _MIN_PIXELS]
    nodes = np.array([np.median(level[group]) for group in groups])
    medians = np.array([np.median(values[group]) for group in groups])
    return nodes, np.maximum.accumulate(medians)


def _thinned(level: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Return every bright pixel but only some of the sky's millions."""
    step = max(1, level.size // 500_000)
    bright = level > np.quantile(level[::step], 0.98)
    bright[::step] = True
    return level[bright], values[bright]


def _edges(level: Floats) -> Floats:
    """Return bins of equal counts among the sky's pixels, of equal ratio above."""
    low, middle, high = np.quantile(level, [0.02, 0.5, 0.98])
    sky = np.linspace(low, high, 12)
    top = max(float(np.max(level)), 2 * high)
    step = max(high - middle, 1e-6)
    bright = high + np.geomspace(step, max(top - high, 2 * step), _NODES)
    return np.concatenate([sky, bright])
