"""The distortion of a detector: pixels (0-indexed, 4088² frame) to V2, V3 in arcsec, and back.

The synthetic design distortion is conformal to second order with a small third-order term, so the
scale grows along y as it does across the real focal plane: the pixel area changes by about 3 %
over one detector, which is enough to catch anyone who forgets it.
"""

import numpy as np
from astropy.modeling import Model, models
from astropy.modeling.fitting import LinearLSQFitter
from numpy.typing import NDArray
from scipy.interpolate import RectBivariateSpline

from nexus_pipeline.instrument.wfi import N_ACTIVE, PIXEL_SCALE_ARCSEC
from nexus_pipeline.sky.layout import Placement, placement

SCALE_GRADIENT_PER_PIXEL = 3.6e-6
"""Relative change of scale per pixel along y; GalSim's SIP tables give 3.2e-6 … 3.9e-6."""

CUBIC_PER_PIXEL2 = 2.0e-11
"""Radial third-order term, 0.2 pixels at the corner."""

_INVERSE_DEGREE = 5


def geometry(detector: str, size: int = N_ACTIVE) -> tuple[Model, NDArray[np.float32]]:
    """Return the synthetic distortion of a size² detector and each pixel's relative area."""
    transform = synthetic_distortion(detector, size)
    return transform, relative_pixel_area(transform, size)


def synthetic_distortion(detector: str, size: int = N_ACTIVE) -> Model:
    """Return pixel → (V2, V3) arcsec for ``detector`` with ``.inverse`` set (good to 1e-6 pixels).

    gwcs cannot invert numerically what astropy 8 hands it, and the mission's references carry
    an explicit inverse too.
    """
    place = placement(detector)
    forward_x, forward_y = _polynomials()
    affine = _affine(place)
    middle = (size - 1) / 2
    centre = models.Shift(-middle) & models.Shift(-middle)
    transform = centre | models.Mapping((0, 1, 0, 1)) | (forward_x & forward_y) | affine
    transform.inverse = _fitted_inverse(transform, affine, size)
    transform.inputs, transform.outputs = ("x", "y"), ("v2", "v3")
    return transform


def relative_pixel_area(transform: Model, size: int = N_ACTIVE) -> NDArray[np.float32]:
    """Return each pixel's solid angle over the nominal (0.11″)², shape (size, size).

    The Jacobian is taken by central differences on a coarse grid and interpolated: the map is a
    low polynomial, and the result is right to 1e-7.
    """
    nodes = np.linspace(0, size - 1, 33)
    x, y = np.meshgrid(nodes, nodes)
    area = pixel_area_at(transform, x, y)
    full = np.arange(size, dtype=np.float64)
    return np.asarray(RectBivariateSpline(nodes, nodes, area)(full, full), dtype=np.float32)


def pixel_area_at(transform: Model, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the relative pixel area at positions ``x``, ``y`` (pixels, any shape)."""
    dx = np.subtract(transform(x + 0.5, y), transform(x - 0.5, y))
    dy = np.subtract(transform(x, y + 0.5), transform(x, y - 0.5))
    return np.asarray(np.abs(dx[0] * dy[1] - dx[1] * dy[0]) / PIXEL_SCALE_ARCSEC**2)


def _polynomials() -> tuple[Model, Model]:
    k, c = SCALE_GRADIENT_PER_PIXEL, CUBIC_PER_PIXEL2
    x = models.Polynomial2D(3, c1_0=1, c1_1=k, c3_0=c, c1_2=c)
    y = models.Polynomial2D(3, c0_1=1, c0_2=k / 2, c2_0=-k / 2, c0_3=c, c2_1=c)
    return x, y


def _affine(place: Placement) -> Model:
    return models.AffineTransformation2D(
        matrix=place.rotation * PIXEL_SCALE_ARCSEC, translation=(place.v2_arcsec, place.v3_arcsec)
    )


def _fitted_inverse(transform: Model, affine: Model, size: int) -> Model:
    grid = np.linspace(-60, size + 60, 50)
    x, y = np.meshgrid(grid, grid)
    u, v = affine.inverse(*transform(x, y))
    scale = float(size)
    fit = LinearLSQFitter()
    fitted = [fit(models.Polynomial2D(_INVERSE_DEGREE), u / scale, v / scale, target) for target in (x, y)]
    shrink = models.Scale(1 / scale) & models.Scale(1 / scale)
    return affine.inverse | shrink | models.Mapping((0, 1, 0, 1)) | (fitted[0] & fitted[1])
