"""An ePSF over a detector: stamps on a grid of positions, read between them.

Takes the arrays of an ePSF reference (rad's schema); leaves pixel fractions: the value at an
offset is the share of a star's flux that falls into a pixel whose centre lies there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve, map_coordinates, spline_filter

from nexus_pipeline.errors import MismatchedReferenceError
from nexus_pipeline.psf import kernels

Floats = NDArray[np.float64]
_MINIMUM_SHARE = 0.8


@dataclass(frozen=True)
class PsfGrid:
    """ePSF coefficients (n_y · n_x, size, size), x fastest, at the grid lines ``xs``, ``ys`` (4088² pixels).

    ``includes`` names what is already in the ePSF (pixel response, jitter, IPC …).
    """

    coefficients: NDArray[np.float32]
    xs: Floats
    ys: Floats
    oversample: int
    includes: tuple[str, ...] = ("pixel",)

    @property
    def radius(self) -> int:
        """Whole pixels from the middle to the edge of a stamp."""
        return int((self.coefficients.shape[1] - 1) // 2 // self.oversample)

    @cached_property
    def phases(self) -> NDArray[np.float32]:
        """The coefficients as the compiled loops read them (``kernels.by_phase``)."""
        return kernels.by_phase(self.coefficients, self.oversample)

    def reach(self, share: Floats) -> NDArray[np.int64]:
        """Return how many pixels away no pixel of a star has more than ``share`` of its light, for each."""
        return np.clip(np.searchsorted(-self.highest, -share), 1, self.radius - 1)

    @cached_property
    def highest(self) -> Floats:
        """The largest share of a star's light in any pixel this far away or further, whole pixels."""
        radius = self.radius - 1
        seen = np.abs(self.stamp(float(np.mean(self.xs)), float(np.mean(self.ys)), radius=radius))
        away = np.abs(np.arange(-radius, radius + 1))
        ring = np.maximum(away[:, None], away[None, :])
        return np.array([seen[ring >= r].max() for r in range(radius + 1)])

    def moved(self, x: float, y: float) -> "PsfGrid":
        """Return the grid as a cut-out of the frame sees it whose first pixel is at (x, y)."""
        made = replace(self, xs=self.xs - x, ys=self.ys - y)
        # What follows from the stamps alone is the same there, and dear.
        vars(made).update(phases=self.phases, highest=self.highest)
        return made

    def at(self, x: float, y: float) -> Floats:
        """Return the spline coefficients of the ePSF at a detector position, shape (size, size)."""
        corners, weights = np.empty(4, np.int64), np.empty(4)
        kernels.corners_at(x, y, self.xs, self.ys, corners, weights)
        return kernels.blend(self.coefficients, corners, weights, self.coefficients.shape[1])

    def stamp(self, x: float, y: float, *, radius: int) -> Floats:
        """Return the pixel fractions of a star at (x, y), (2·radius+1)², about the pixel nearest to it."""
        value = np.empty((2 * radius + 1, 2 * radius + 1))
        offset = x - np.floor(x + 0.5), y - np.floor(y + 0.5)
        kernels.sample(
            self.at(x, y), self.oversample, *offset, value, np.empty_like(value), np.empty_like(value)
        )
        return value

    def values(self, x: float, y: float, *, dx: Floats, dy: Floats) -> Floats:
        """Return the ePSF of a star at (x, y) at offsets from it (pixels, any shape); 0 beyond the stamp."""
        middle = (self.coefficients.shape[1] - 1) / 2
        nodes = np.array([middle + dy * self.oversample, middle + dx * self.oversample])
        return np.asarray(map_coordinates(self.at(x, y), nodes, prefilter=False, mode="constant"))

    def add_to(
        self, image: NDArray[np.float32], x: Floats, y: Floats, flux: Floats, *, radii: NDArray[np.int64]
    ) -> None:
        """Add stars of total ``flux`` to ``image`` in place, each out to its radius (pixels)."""
        within = np.minimum(radii, self.radius + 1)
        kernels.add_sources(image, x, y, flux, self.coefficients, self.oversample, self.xs, self.ys, within)


class Stamps(Protocol):
    """What is read of an ePSF reference: stamps (defocus, spectral type, position, y, x) and their labels."""

    @property
    def psf(self) -> NDArray[np.float32]: ...
    @property
    def pixel_x(self) -> tuple[float, ...]: ...
    @property
    def pixel_y(self) -> tuple[float, ...]: ...
    @property
    def oversample(self) -> int: ...
    @property
    def includes(self) -> tuple[str, ...]: ...
    @property
    def spectral_types(self) -> tuple[str, ...]: ...


def from_reference(
    reference: Stamps, *, spectral_type: str = "G2V", ipc: NDArray[np.float32] | None = None
) -> PsfGrid:
    """Return the in-focus ePSF of one spectral type, with the inter-pixel capacitance of a kernel (3, 3).

    Raises MismatchedReferenceError if there is no such type, or the ePSF includes IPC already.
    """
    if ipc is not None and "ipc" in reference.includes:
        raise MismatchedReferenceError("the ePSF includes inter-pixel capacitance: it must not get it twice")
    if spectral_type not in reference.spectral_types:
        known = ", ".join(reference.spectral_types)
        raise MismatchedReferenceError(f"the ePSF has no spectral type {spectral_type} (only {known})")
    stamps = reference.psf[0, reference.spectral_types.index(spectral_type)]
    return from_stamps(
        stamps if ipc is None else with_ipc(stamps, ipc, oversample=reference.oversample),
        reference.pixel_x,
        reference.pixel_y,
        oversample=reference.oversample,
        includes=reference.includes if ipc is None else (*reference.includes, "ipc"),
    )


def with_ipc(
    stamps: NDArray[np.float32], kernel: NDArray[np.float32], *, oversample: int
) -> NDArray[np.float32]:
    """Return ``stamps`` (n, size, size) as the neighbours see them too: ``kernel`` acts on whole pixels."""
    spread = np.zeros((2 * oversample + 1,) * 2)
    spread[::oversample, ::oversample] = kernel
    coupled = [convolve(each.astype(np.float64), spread, mode="constant") for each in stamps]
    return np.stack(coupled).astype(np.float32)


def from_stamps(
    stamps: NDArray[np.float32],
    pixel_x: Sequence[float],
    pixel_y: Sequence[float],
    *,
    oversample: int,
    includes: Sequence[str] = ("pixel",),
) -> PsfGrid:
    """Return the grid of ePSF ``stamps`` (n, size, size), each summing to nearly oversample².

    Raises MismatchedReferenceError for stamps of even size, positions that form no grid, or a sum that is not
    of this convention (an optical PSF of unit sum, say, as romanisim 0.14 wants it).
    """
    _check_shape(stamps, pixel_x, pixel_y)
    _check_sum(stamps, oversample)
    xs, ys = np.unique(pixel_x), np.unique(pixel_y)
    order = _grid_order(np.asarray(pixel_x), np.asarray(pixel_y), xs, ys)
    coefficients = np.stack([spline_filter(stamps[k].astype(np.float64), mode="mirror") for k in order])
    return PsfGrid(coefficients.astype(np.float32), xs, ys, int(oversample), tuple(includes))


def _check_shape(stamps: NDArray[np.float32], pixel_x: Sequence[float], pixel_y: Sequence[float]) -> None:
    square = stamps.ndim == 3 and stamps.shape[1] == stamps.shape[2] and stamps.shape[1] % 2 == 1
    if not square or not len(stamps) == len(pixel_x) == len(pixel_y):
        raise MismatchedReferenceError(
            f"ePSF stamps of shape {stamps.shape} with {len(pixel_x)}×{len(pixel_y)} positions: "
            "expected (n, size, size) with an odd size and one x and y for each stamp",
            shape=stamps.shape,
        )


def _check_sum(stamps: NDArray[np.float32], oversample: int) -> None:
    shares = stamps.sum(axis=(1, 2), dtype=np.float64) / oversample**2
    if not np.all((shares > _MINIMUM_SHARE) & (shares < 1.001)):
        raise MismatchedReferenceError(
            f"the ePSF sums to {float(np.min(shares)) * oversample**2:.4g}, not to about {oversample**2} "
            f"(oversample²): it is not an ePSF with the pixel response in it",
            shares=shares.tolist(),
        )


def _grid_order(x: Floats, y: Floats, xs: Floats, ys: Floats) -> NDArray[np.int64]:
    order = np.lexsort((x, y)).astype(np.int64)
    expected_x, expected_y = np.meshgrid(xs, ys)
    grid = x.size == expected_x.size
    if not grid or np.any(x[order] != expected_x.ravel()) or np.any(y[order] != expected_y.ravel()):
        raise MismatchedReferenceError(
            "the ePSF positions form no rectangular grid", x=x.tolist(), y=y.tolist()
        )
    return order
