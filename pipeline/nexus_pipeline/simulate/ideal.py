"""Idealised L2: the scene through the optics with the noise of a ramp, and no signature of the detector.

Takes light per pixel; leaves a rate image (DN/s, surface brightness) whose noise is that of the best straight
line through the resultants of its MA table: photons of source, sky and dark, and read noise, taken as normal.
No saturation, cosmic rays, bad pixels or correlations between pixels; the dark is taken off without an error.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.instrument.ma_table import MATable
from nexus_pipeline.instrument.wfi import AMP33_WIDTH, BORDER
from nexus_pipeline.products.model import ExposureMeta, Photometry, RateImage, border_of
from nexus_pipeline.sky import wcs

Plane = NDArray[np.float32]
Floats = NDArray[np.float64]

_RATIOS: Final = np.geomspace(1e-5, 1e4, 181)
"""Flux (DN²/s) over squared read noise (DN²) for which the errors are worked out, to interpolate between."""


@dataclass(frozen=True)
class Rates:
    """A noisy rate (DN/s) and the variances of its photons and its reads (DN²/s²)."""

    rate: Plane
    var_poisson: Plane
    var_rnoise: Plane


def slope_variances(table: MATable, ratio: Floats) -> tuple[Floats, Floats]:
    """Return the variance of the best slope per flux, and per squared read noise, at ``ratio`` of the two.

    Generalised least squares with a free start, covariances as Casertano et al. 2022 (equations 13, 14).
    """
    times, tau = table.mean_times_s, table.variance_times_s
    photons = np.minimum(times[:, None], times[None, :])
    np.fill_diagonal(photons, tau)
    reads = np.diag(1 / table.reads_per_resultant)
    design = np.stack([np.ones_like(times), times], axis=1)
    per_flux, per_noise = np.empty(ratio.size), np.empty(ratio.size)
    for k, one in enumerate(ratio):
        inverse = np.linalg.inv(one * photons + reads)
        weights = (np.linalg.inv(design.T @ inverse @ design) @ design.T @ inverse)[1]
        per_flux[k], per_noise[k] = weights @ photons @ weights, weights @ reads @ weights
    return per_flux, per_noise


def with_noise(
    rate: Plane,
    table: MATable,
    *,
    dark: Plane,
    gain: Plane,
    flat: Plane,
    read_noise: Plane,
    rng: np.random.Generator,
    dilution: float = 1.0,
) -> Rates:
    """Return ``rate`` (DN/s after the flat) with the noise of a ramp of ``table``.

    ``dilution`` is the variance over that of one ramp: 1/n for a mean of n.
    """
    noise = np.maximum(read_noise, np.float32(1e-3)) ** 2
    flux = np.maximum(rate * flat + dark, np.float32(1e-6)) / gain
    nodes = slope_variances(table, _RATIOS)
    at = np.log(flux / noise)
    factors = [np.interp(at, np.log(_RATIOS), node).astype(np.float32) for node in nodes]
    factors = [each * np.float32(dilution) for each in factors]
    var_poisson, var_rnoise = flux * factors[0] / flat**2, noise * factors[1] / flat**2
    deviates = rng.standard_normal(rate.shape, dtype=np.float32)
    return Rates(rate + np.sqrt(var_poisson + var_rnoise) * deviates, var_poisson, var_rnoise)


def rate_image(made: Rates, meta: ExposureMeta, *, photometry: Photometry, image_wcs: Any) -> RateImage:
    """Return ``made`` as an L2 product; what only a detector gives (border, 33rd output, χ²) is zero."""
    size, n = made.rate.shape[0], meta.ma_table.n_resultants
    width = size + 2 * BORDER
    nothing = np.zeros_like(made.rate)
    return RateImage(
        meta=replace(meta, file_name=None),
        rate=made.rate,
        err=np.sqrt(made.var_poisson + made.var_rnoise),
        var_poisson=made.var_poisson,
        var_rnoise=made.var_rnoise,
        dq=np.zeros(made.rate.shape, dtype=np.uint32),
        chisq=nothing,
        dumo=nothing,
        amp33=np.zeros((n, width, AMP33_WIDTH), dtype=np.uint16),
        border=border_of(
            np.broadcast_to(np.float32(0), (n, width, width)), np.broadcast_to(np.uint32(0), (width, width))
        ),
        wcs=image_wcs,
        s_region=wcs.s_region(image_wcs, size=size),
        photometry=photometry,
    )
