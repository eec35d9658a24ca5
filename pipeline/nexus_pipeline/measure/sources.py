"""Everything about detected sources that no PSF is needed for: sums, moments, ellipses, circles, rings.

Takes images of flux per pixel (U; background taken off), their variance and labels from 1; leaves arrays with
one entry per label, in pixels and U.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import share_out
from nexus_pipeline.measure import circle_kernels, daofind, extent_kernels, segment_kernels
from nexus_pipeline.measure.correlation import Correlation

Plane = NDArray[np.float32]
Floats = NDArray[np.float64]

_SOURCES: Final = 256
"""How many sources a thread measures before it takes the next lot."""
_LEAST_VARIANCE: Final = 1 / 12
"""Of a source's light along any axis, pixels²: that of a single pixel."""


@dataclass(frozen=True)
class Field:
    """An image (U per pixel), its variance (U²), pixels not to be used, and labels, of one shape (ny, nx)."""

    image: Plane
    variance: Plane
    unusable: NDArray[np.bool_]
    labels: NDArray[np.int32]
    correlation: Correlation


@dataclass(frozen=True)
class Segments:
    """The pixels of each label: ``box`` (n, 4) x and y, first and last; area; flux; centroid and moments.

    ``xx``, ``xy``, ``yy`` are central second moments, pixels².
    """

    box: NDArray[np.int32]
    area: Floats
    flux: Floats
    flux_err: Floats
    x: Floats
    y: Floats
    x_err: Floats
    y_err: Floats
    xx: Floats
    xy: Floats
    yy: Floats

    @property
    def semiaxes(self) -> tuple[Floats, Floats]:
        """The larger and the smaller semi-axis of 1 σ, pixels."""
        middle, half = (self.xx + self.yy) / 2, np.hypot((self.xx - self.yy) / 2, self.xy)
        return np.sqrt(middle + half), np.sqrt(np.maximum(middle - half, 0))

    @property
    def angle(self) -> Floats:
        """The angle of the larger axis from +x towards +y, radians."""
        return np.asarray(0.5 * np.arctan2(2 * self.xy, self.xx - self.yy), dtype=np.float64)

    @property
    def quadratic(self) -> tuple[Floats, Floats, Floats]:
        """cxx, cxy, cyy of the ellipse of 1 σ: cxx·dx² + cxy·dx·dy + cyy·dy² = 1."""
        determinant = self.xx * self.yy - self.xy**2
        return self.yy / determinant, -2 * self.xy / determinant, self.xx / determinant


@dataclass(frozen=True)
class Extents:
    """Kron ellipses (first-moment ``radius``, σ), ``half_light`` radii and windowed centroids (pixels).

    ``inner`` are the radii that hold a fifth of the light.
    """

    radius: Floats
    flux: Floats
    flux_err: Floats
    half_light: Floats
    inner: Floats
    x: Floats
    y: Floats
    x_err: Floats
    y_err: Floats


@dataclass(frozen=True)
class Circles:
    """Flux in circles (n, n_radii) less the ring's level, and the ring's median per pixel, with errors."""

    flux: Floats
    flux_err: Floats
    ring: Floats
    ring_err: Floats


def segments(field: Field, peak_x: NDArray[np.int64], peak_y: NDArray[np.int64]) -> Segments:
    """Return sums over the pixels of labels 1…n, whose peaks are at ``peak_x``, ``peak_y``.

    Light without a positive sum has no centroid (NaN); second moments never fall below one pixel's.
    """
    n = len(peak_x)
    sums, box = np.zeros((n, len(segment_kernels.SUMS))), np.empty((n, 4), np.int32)
    segment_kernels.sums(field.image, field.variance, field.unusable, field.labels, peak_x, peak_y, sums, box)
    return segments_of(sums, box, peak_x, peak_y, shared=field.correlation)


def segments_of(
    sums: Floats, box: NDArray[np.int32], peak_x: NDArray[np.int64], peak_y: NDArray[np.int64], *,
    shared: Correlation,
) -> Segments:  # fmt: skip
    """Return what ``segments`` does of ``segment_kernels.sums`` and boxes."""
    of = dict(zip(segment_kernels.SUMS, sums.T, strict=True))
    flux = np.where(of["f"] > 0, of["f"], np.nan)
    dx, dy = of["fx"] / flux, of["fy"] / flux
    least = _LEAST_VARIANCE
    xx, yy = of["fxx"] / flux - dx**2, of["fyy"] / flux - dy**2
    xy = of["fxy"] / flux - dx * dy
    xx, xy, yy = _not_too_thin(xx, xy, yy, least)
    factor = shared.over_area(of["n"])
    errors = [
        np.sqrt(np.maximum(of[f"v{a}{a}"] - 2 * d * of[f"v{a}"] + d**2 * of["v"], least * of["v"]) * factor)
        / flux
        for a, d in (("x", dx), ("y", dy))
    ]
    return Segments(
        box=box, area=of["n"], flux=of["f"], flux_err=np.sqrt(of["v"] * factor),
        x=peak_x + dx, y=peak_y + dy, x_err=errors[0], y_err=errors[1], xx=xx, xy=xy, yy=yy,
    )  # fmt: skip


def _not_too_thin(xx: Floats, xy: Floats, yy: Floats, least: float) -> tuple[Floats, Floats, Floats]:
    """Return moments widened by one pixel's where an axis is shorter than a pixel's."""
    thin = ~(xx * yy - xy**2 >= least**2) | ~(xx > 0) | ~(yy > 0)
    wide = np.where(thin, np.maximum(xx, 0) + least, xx), np.where(thin, np.maximum(yy, 0) + least, yy)
    limit = np.sqrt(np.maximum(wide[0] * wide[1] - least**2, 0))
    return wide[0], np.where(thin, np.clip(xy, -limit, limit), xy), wide[1]


def extents(field: Field, found: Segments, *, threads: int = 2) -> Extents:
    """Return Kron photometry and windowed centroids of labels 1…n."""
    n = len(found.x)
    label = np.arange(1, n + 1, dtype=np.int32)
    shape = np.column_stack([*found.quadratic, found.semiaxes[0]])
    planes = field.image, field.variance, field.unusable, field.labels
    out = np.empty((n, 10))

    def measure(part: slice) -> None:
        extent_kernels.extents(*planes, label[part], found.x[part], found.y[part], shape[part], out[part])

    _in_parts(measure, n, threads)
    radius, flux, var, area, half_light, x, y, x_err, y_err, inner = out.T
    factor = field.correlation.over_area(np.nan_to_num(area, nan=1.0))
    wide = np.sqrt(field.correlation.over_area(np.pi * np.nan_to_num(half_light, nan=1.0) ** 2))
    return Extents(
        radius=radius, flux=flux, flux_err=np.sqrt(var * factor), half_light=half_light, inner=inner,
        x=x, y=y, x_err=x_err * wide, y_err=y_err * wide,
    )  # fmt: skip


def extents_within(field: Field, found: Segments, of: Extents, *, threads: int = 2) -> Extents:
    """Return what ``field`` shows in the ellipses ``of`` another image with the same labels.

    Flux and half-light radius are this image's; where the ellipses and centroids are stays as it is.
    """
    n = len(found.x)
    label, ellipses = np.arange(1, n + 1, dtype=np.int32), np.empty((n, 5))
    shape = np.column_stack([*found.quadratic, found.semiaxes[0]])

    def measure(part: slice) -> None:
        extent_kernels.kron_within(
            field.image, field.variance, field.unusable, field.labels, label[part], found.x[part],
            found.y[part], shape[part], of.radius[part], ellipses[part],
        )  # fmt: skip

    _in_parts(measure, n, threads)
    factor = field.correlation.over_area(np.nan_to_num(ellipses[:, 3], nan=1.0))
    return replace(
        of, flux=ellipses[:, 1], flux_err=np.sqrt(ellipses[:, 2] * factor), half_light=ellipses[:, 4]
    )


def circles(
    field: Field, x: Floats, y: Floats, *, radii: Sequence[float], ring: tuple[float, float], threads: int = 2
) -> Circles:
    """Measure circles of ``radii`` (pixels); the ``ring`` leaves out the pixels of all labels."""
    n, masked = len(x), field.unusable | (field.labels > 0)
    flux, var, whole = (np.empty((n, len(radii))) for _ in range(3))
    level, width, count = np.empty(n), np.empty(n), np.empty(n, np.int64)
    radii_ = np.asarray(radii, dtype=np.float64)

    def measure(part: slice) -> None:
        at = np.asarray(x[part], dtype=np.float64), np.asarray(y[part], dtype=np.float64)
        circle_kernels.circles(
            field.image, field.variance, field.unusable, *at, radii_, flux[part], var[part], whole[part]
        )
        circle_kernels.rings(field.image, masked, *at, *ring, level[part], width[part], count[part])

    _in_parts(measure, n, threads)
    areas = np.pi * radii_**2
    spread = field.correlation.over_area(count.astype(np.float64))
    level_err = np.sqrt(np.pi / 2 * spread / np.maximum(count, 1)) * width
    # What pixels share adds to each one's own variance.
    own = np.sqrt(np.maximum(var + whole * (field.correlation.over_area(areas) - 1), 0))
    return Circles(flux - level[:, None] * areas, np.hypot(own, level_err[:, None] * areas), level, level_err)


def circle_share(stamp: Floats, radius: float) -> float:
    """Return how much of a star's light, ``stamp`` about its middle, falls into a circle (pixels)."""
    middle, size = np.array([(stamp.shape[0] - 1) / 2]), stamp.shape
    flux, var, whole = np.empty((1, 1)), np.empty((1, 1)), np.empty((1, 1))
    light = stamp.astype(np.float32)
    circle_kernels.circles(
        light,
        np.zeros_like(light),
        np.zeros(size, np.bool_),
        middle,
        middle,
        np.array([radius]),
        flux,
        var,
        whole,
    )
    return float(flux[0, 0])


def sharp_and_round(field: Field, x: Floats, y: Floats, *, fwhm: float) -> Floats:
    """Return DAOFIND's sharpness and roundness1 (n, 2) at the pixels nearest to ``x``, ``y``."""
    ny, nx = field.image.shape
    columns = np.clip(np.rint(np.nan_to_num(x)), 0, nx - 1).astype(np.int64)
    rows = np.clip(np.rint(np.nan_to_num(y)), 0, ny - 1).astype(np.int64)
    out = np.empty((len(x), 2))
    daofind.sharp_and_round(field.image, daofind.kernel(fwhm), columns, rows, out)
    return out


def _in_parts(measure: Callable[[slice], Any], n: int, threads: int) -> None:
    parts = [slice(first, min(first + _SOURCES, n)) for first in range(0, n, _SOURCES)]
    share_out(measure, parts, threads=threads)
