"""The mission's catalogue columns from measurements: names, units and types as rad's schema has them.

Takes what was measured, in nJy and pixels; leaves one astropy table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import astropy.units as u
import numpy as np
from astropy.table import Column, Table
from numpy.typing import NDArray
from roman_datamodels import datamodels
from scipy.spatial import cKDTree

from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.filters import AB_ZERO_JY
from nexus_pipeline.measure.shapes import Shapes
from nexus_pipeline.measure.sources import Circles, Extents, Segments

Plane = NDArray[np.float32]
Floats = NDArray[np.float64]
Columns = dict[str, NDArray[Any]]

RADII_ARCSEC: Final = (0.1, 0.2, 0.4, 0.8, 1.6)
RING_ARCSEC: Final = (2.4, 2.8)
"""The mission's apertures and background ring (romancal 1.1)."""
_NO_UNIT: Final = u.Unit("none", parse_strict="silent")
"""The mission's word for no unit; astropy would look for likely words anew for each column."""
EXTENDED_OVER_STAR: Final = 1.1
"""A source is extended if its light within 0.4″ over that within 0.2″ exceeds a star's by this factor."""


OUR_COLUMNS: Final = {
    "kron_total_flux": (
        "nJy",
        "float32",
        "Flux of the whole source: the Kron flux with what its ellipse leaves out",
    ),
    "kron_total_flux_err": ("nJy", "float32", "Uncertainty in kron_total_flux"),
    "star_probability": ("none", "float32", "Probability of being a point source"),
    "psf_extent": ("pix2", "float32", "Variance along an axis beyond that of a point source"),
    "psf_extent_err": ("pix2", "float32", "Uncertainty in psf_extent"),
    "shape_g1": (
        "none",
        "float32",
        "Ellipticity (a - b) / (a + b) without the PSF, along the pixels' x axis",
    ),
    "shape_g2": ("none", "float32", "The same at 45 degrees from x towards y"),
    "shape_err": ("none", "float32", "Uncertainty in shape_g1 and in shape_g2"),
    "shape_resolution": ("none", "float32", "Share of the source's size that is not the PSF's"),
}
"""Columns that the mission's schema does not have: unit, type and description."""


@dataclass(frozen=True)
class Measured:
    """What the columns are made of, in the order of the labels; fluxes are nJy, lengths pixels."""

    segments: Segments
    extents: Extents
    kron_total: Floats
    shapes: Shapes
    star_probability: Floats
    circles: Circles
    sharpness: Floats
    stars: "Stars"
    image_flags: NDArray[np.int32]
    wcs: Any
    scale_arcsec: float


@dataclass(frozen=True)
class Stars:
    """PSF fits: nJy, pixels, with errors; NaN errors where the fit failed."""

    flux: Floats
    flux_err: Floats
    x: Floats
    y: Floats
    x_err: Floats
    y_err: Floats
    goodness: Floats
    extent: Floats
    extent_err: Floats
    converged: NDArray[np.bool_]


def table(measured: Measured, *, star_ratio: float) -> Table:
    """Return the catalogue; ``star_ratio`` is a star's light within 0.4″ over that within 0.2″."""
    return typed(values(measured, star_ratio=star_ratio))


def values(measured: Measured, *, star_ratio: float) -> Columns:
    """Return the columns of ``table`` by name, without types and units."""
    if not len(measured.stars.x):
        return {name: np.empty(0) for name in (*required_columns(), *OUR_COLUMNS)}
    columns = (
        _places(measured)
        | _shapes(measured)
        | _fluxes(measured)
        | _circle_columns(measured, star_ratio)
        | _star_columns(measured)
        | _flags(measured)
        | _neighbours(measured)
    )
    best = measured.stars.converged
    columns["ra"] = np.where(best, columns["ra_psf"], columns["ra_centroid"])
    columns["dec"] = np.where(best, columns["dec_psf"], columns["dec_centroid"])
    return columns


def required_columns() -> list[str]:
    """Return the names rad's schema of an L2 source catalogue asks for, with our apertures."""
    empty = datamodels.ImageSourceCatalogModel.create_fake_data()
    names = [str(name) for name in empty.source_catalog.colnames if not str(name).startswith("aper00")]
    for radius in RADII_ARCSEC:
        names += [f"{_aperture(radius)}_flux", f"{_aperture(radius)}_flux_err"]
    return names


def _aperture(radius_arcsec: float) -> str:
    return f"aper{round(radius_arcsec * 10):02d}"


def typed(columns: Columns, ours: Mapping[str, tuple[str, str, str]] = OUR_COLUMNS) -> Table:
    """Return ``columns`` with rad's types, units and descriptions; of ``ours`` with those given there."""
    result = Table()
    for name, found in columns.items():
        if name in ours:
            unit, kind, what = ours[name]
        else:
            unit, kind, what = _rule(name)
        result[name] = Column(
            np.asarray(found).astype(kind), unit=_NO_UNIT if unit == "none" else unit, description=what
        )
    return result


@cache
def _rule(name: str) -> tuple[str, str, str]:
    """Return unit, type and description of a column of the mission's schema."""
    rule = _schema().get_column_definition(name)
    return rule["unit"], rule["datatype"], rule["description"]


@cache
def _schema() -> Any:
    return datamodels.ImageSourceCatalogModel.create_fake_data()


def _places(measured: Measured) -> Columns:
    segments, extents = measured.segments, measured.extents
    columns: Columns = {"label": np.arange(1, len(segments.x) + 1)}
    for kind, found in (("centroid", segments), ("centroid_win", extents)):
        ra, dec = measured.wcs(found.x, found.y, with_bounding_box=False)
        columns |= {f"x_{kind}": found.x, f"y_{kind}": found.y, f"ra_{kind}": ra, f"dec_{kind}": dec}
        columns |= {f"x_{kind}_err": found.x_err, f"y_{kind}_err": found.y_err}
        columns |= _sky_errors(measured, kind, found)
    for edge, at in zip(("xmin", "xmax", "ymin", "ymax"), segments.box.T, strict=True):
        columns[f"bbox_{edge}"] = at
    # No skycells yet: the identifier that packs them is zero.
    columns["flagged_spatial_id"] = np.zeros(len(segments.x), dtype=np.int64)
    return columns


def _sky_errors(measured: Measured, kind: str, found: "Segments | Extents | Stars") -> Columns:
    """Turn pixel errors into arcsec along RA and Dec by the local orientation."""
    cosine, sine = _orientation(measured, found.x, found.y)
    scale = measured.scale_arcsec
    return {
        f"ra_{kind}_err": np.hypot(cosine * found.x_err, sine * found.y_err) * scale,
        f"dec_{kind}_err": np.hypot(sine * found.x_err, cosine * found.y_err) * scale,
    }


def _orientation(measured: Measured, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return cosine and sine of the angle between +x and east at ``x``, ``y``."""
    x, y = np.nan_to_num(x), np.nan_to_num(y)
    ra, dec = measured.wcs(x, y, with_bounding_box=False)
    ra2, dec2 = measured.wcs(x + 1, y, with_bounding_box=False)
    angle = np.arctan2(dec2 - dec, (ra2 - ra) * np.cos(np.deg2rad(dec)))
    return np.cos(angle), np.sin(angle)


def _shapes(measured: Measured) -> Columns:
    scale, segments = measured.scale_arcsec, measured.segments
    cosine, sine = _orientation(measured, segments.x, segments.y)
    # The frame is mirrored (parity -1): +x at angle a from east, +y at a - 90°.
    along = np.arctan2(sine, cosine) - segments.angle
    major, minor = segments.semiaxes
    cxx, cxy, cyy = segments.quadratic
    return {
        "segment_area": segments.area * scale**2,
        "semimajor": major * scale,
        "semiminor": minor * scale,
        "fwhm": 2 * np.sqrt(np.log(2) * (major**2 + minor**2)) * scale,
        "ellipticity": 1 - minor / major,
        "orientation_pix": np.rad2deg(segments.angle),
        "orientation_sky": np.mod(90 - np.rad2deg(along), 180),
        "cxx": cxx / scale**2,
        "cxy": cxy / scale**2,
        "cyy": cyy / scale**2,
        "kron_radius": measured.extents.radius * scale,
        "fluxfrac_radius_50": measured.extents.half_light * scale,
        "shape_g1": measured.shapes.g1,
        "shape_g2": measured.shapes.g2,
        "shape_err": measured.shapes.err,
        "shape_resolution": measured.shapes.resolution,
    }


def _fluxes(measured: Measured) -> Columns:
    kron, kron_err = measured.extents.flux, measured.extents.flux_err
    positive = np.where(kron > 0, kron, np.nan)
    return {
        "segment_flux": measured.segments.flux,
        "segment_flux_err": measured.segments.flux_err,
        "kron_flux": kron,
        "kron_flux_err": kron_err,
        "kron_total_flux": kron * measured.kron_total,
        "kron_total_flux_err": kron_err * measured.kron_total,
        "kron_abmag": -2.5 * np.log10(positive * 1e-9 / AB_ZERO_JY),
        "kron_abmag_err": 2.5 / np.log(10) * kron_err / positive,
    }


def _circle_columns(measured: Measured, star_ratio: float) -> Columns:
    circles, per_area = measured.circles, measured.scale_arcsec**-2
    columns: Columns = {
        "aper_bkg_flux": circles.ring * per_area,
        "aper_bkg_flux_err": circles.ring_err * per_area,
    }
    for k, radius in enumerate(RADII_ARCSEC):
        columns[f"{_aperture(radius)}_flux"] = circles.flux[:, k]
        columns[f"{_aperture(radius)}_flux_err"] = circles.flux_err[:, k]
    small, large = columns["aper02_flux"], columns["aper04_flux"]
    ratio = np.divide(large, small, out=np.zeros_like(large), where=small > 0)
    columns["is_extended"] = ratio > EXTENDED_OVER_STAR * star_ratio
    return columns


def _star_columns(measured: Measured) -> Columns:
    stars = measured.stars
    ra, dec = measured.wcs(stars.x, stars.y, with_bounding_box=False)
    return {
        "psf_flux": stars.flux,
        "psf_flux_err": stars.flux_err,
        "x_psf": stars.x,
        "x_psf_err": stars.x_err,
        "y_psf": stars.y,
        "y_psf_err": stars.y_err,
        "ra_psf": ra,
        "dec_psf": dec,
        "psf_gof": stars.goodness,
        "psf_extent": stars.extent,
        "psf_extent_err": stars.extent_err,
        "star_probability": measured.star_probability,
        "psf_flags": (~stars.converged).astype(np.int32),
    } | _sky_errors(measured, "psf", stars)


def _flags(measured: Measured) -> Columns:
    n = len(measured.stars.x)
    return {
        "image_flags": measured.image_flags,
        "warning_flags": np.zeros(n, dtype=np.int32),
        # Needs a dust map, which is no product of this pipeline.
        "dust_ebv": np.full(n, np.nan),
        "sharpness": measured.sharpness[:, 0],
        "roundness1": measured.sharpness[:, 1],
    }


def flags_near(dq: NDArray[np.uint32], x: Floats, y: Floats) -> NDArray[np.int32]:
    """Return image_flags: 1 a pixel not to be used, 2 saturated, 4 a jump within one pixel of the middle."""
    rows = np.clip(np.rint(y).astype(int), 1, dq.shape[0] - 2)
    columns = np.clip(np.rint(x).astype(int), 1, dq.shape[1] - 2)
    near = np.zeros(len(x), dtype=np.uint32)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            near |= dq[rows + dy, columns + dx]
    flags = np.zeros(len(x), dtype=np.int32)
    for bit, flag in enumerate((DQ.DO_NOT_USE, DQ.SATURATED, DQ.JUMP_DET)):
        flags |= ((near & np.uint32(flag)) != 0).astype(np.int32) << bit
    return flags


def _neighbours(measured: Measured) -> Columns:
    """The nearest other source, by PSF position."""
    at = np.column_stack([measured.stars.x, measured.stars.y])
    n = len(at)
    if n < 2:
        return {"nn_label": np.full(n, -1), "nn_distance": np.full(n, np.nan)}
    distance, index = cKDTree(at).query(at, k=2)
    other = np.where(index[:, 0] == np.arange(n), index[:, 1], index[:, 0])
    return {"nn_label": other + 1, "nn_distance": distance[:, 1] * measured.scale_arcsec}
