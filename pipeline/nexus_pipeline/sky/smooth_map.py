"""Where places of a mosaic lie in an image: two polynomials, small enough to be kept in the mosaic.

Takes the map of an image's pixels onto the mosaic; leaves the way back, good to about 1e-4 of a pixel.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import NDArray

from nexus_pipeline.sky.pixel_map import STEP, PixelMap

Floats = NDArray[np.float64]
T = TypeVar("T", float, Floats)

_DEGREE: Final = 5
_NODES: Final = 24
"""Along an edge: what the polynomials are fitted to."""
_STEPS: Final = 4


@dataclass(frozen=True)
class SmoothMap:
    """Coefficients ``x``, ``y`` (n, n) by powers of the mosaic's x and y from ``middle``, over ``half``.

    ``first`` and ``shape`` (y, x) are the image's part that lies on the mosaic; ``error_pixels`` the most by
    which a node of the map was missed.
    """

    x: Floats
    y: Floats
    middle: tuple[float, float]
    half: float
    first: tuple[int, int]
    shape: tuple[int, int]
    error_pixels: float

    def at(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return the image's pixels (n) of places on the mosaic (n)."""
        u, v = self._scaled(x, y)
        found = (np.asarray(polynomial.polyval2d(u, v, each), np.float64) for each in (self.x, self.y))
        return next(found), next(found)

    def slopes(self, x: float, y: float) -> Floats:
        """Return how far a pixel of the image reaches on the mosaic at (x, y) of it: (x, y) by (x, y)."""
        power = np.arange(len(self.x))
        # By hand: numpy's polynomials take longer to set out than these few products take.
        (u, du), (v, dv) = ((at**power, power * at ** np.maximum(power - 1, 0)) for at in self._scaled(x, y))
        back = [[du @ each @ v, u @ each @ dv] for each in (self.x, self.y)]
        return np.asarray(np.linalg.inv(np.array(back) / self.half))

    def on_mosaic(self, x: Floats, y: Floats, *, near: tuple[float, float]) -> tuple[Floats, Floats]:
        """Return places on the mosaic (n) of the image's pixels (n) about ``near``, a place on the mosaic."""
        slopes = self.slopes(*near)
        there = np.array([np.full(x.size, near[0]), np.full(x.size, near[1])])
        for _ in range(_STEPS):
            found_x, found_y = self.at(*there)
            there = there + slopes @ np.array([x - found_x, y - found_y])
        return there[0], there[1]

    def _scaled(self, x: T, y: T) -> tuple[T, T]:
        return (x - self.middle[0]) / self.half, (y - self.middle[1]) / self.half


def smooth_map(place: PixelMap) -> SmoothMap:
    """Return the way back of ``place``, by least squares over its nodes."""
    nodes_y, nodes_x = (
        STEP * np.arange(n) + start for n, start in zip(place.x.shape, place.first, strict=True)
    )
    pixel_x, pixel_y = np.meshgrid(nodes_x, nodes_y)
    middle = (float(np.mean(place.x)), float(np.mean(place.y)))
    half = float(max(np.abs(place.x - middle[0]).max(), np.abs(place.y - middle[1]).max()))
    thin = tuple(slice(None, None, max((n - 1) // _NODES, 1)) for n in place.x.shape)
    degree = min(_DEGREE, *(place.x[thin].shape[axis] - 1 for axis in (0, 1)))
    x, y = (place.x[thin].ravel() - middle[0]) / half, (place.y[thin].ravel() - middle[1]) / half
    terms = polynomial.polyvander2d(x, y, [degree, degree])
    fitted = [
        np.linalg.lstsq(terms, each[thin].ravel(), rcond=None)[0].reshape(degree + 1, degree + 1)
        for each in (pixel_x, pixel_y)
    ]
    made = SmoothMap(fitted[0], fitted[1], middle, half, place.first, place.shape, 0.0)
    found_x, found_y = made.at(place.x, place.y)
    error = float(np.hypot(found_x - pixel_x, found_y - pixel_y).max())
    return SmoothMap(fitted[0], fitted[1], middle, half, place.first, place.shape, error)


def plain(made: SmoothMap) -> dict[str, Any]:
    """Return the map as plain values for a product's metadata."""
    return {
        "x": made.x.tolist(),
        "y": made.y.tolist(),
        "middle": list(made.middle),
        "half": made.half,
        "first": list(made.first),
        "shape": list(made.shape),
        "error_pixels": made.error_pixels,
    }


def read(told: Mapping[str, Any]) -> SmoothMap:
    """Return the map that ``plain`` wrote down."""
    middle, first, shape = (tuple(told[name]) for name in ("middle", "first", "shape"))
    return SmoothMap(
        x=np.array(told["x"], dtype=np.float64),
        y=np.array(told["y"], dtype=np.float64),
        middle=(float(middle[0]), float(middle[1])),
        half=float(told["half"]),
        first=(int(first[0]), int(first[1])),
        shape=(int(shape[0]), int(shape[1])),
        error_pixels=float(told["error_pixels"]),
    )
