"""The mission's catalogue columns from measurements: names, units and types as rad's schema has them.

Takes images in nJy per pixel, labels and fits; leaves one astropy table.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from astropy.stats import gaussian_fwhm_to_sigma
from astropy.table import Column, Table
from numpy.typing import NDArray
from photutils.detection import DAOStarFinder
from photutils.segmentation import SegmentationImage, SourceCatalog
from roman_datamodels import datamodels
from scipy.spatial import cKDTree

from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.filters import AB_ZERO_JY
from nexus_pipeline.measure import centroid_errors
from nexus_pipeline.measure.photometry import RADII_ARCSEC, Circles

Plane = NDArray[np.float32]
Floats = NDArray[np.float64]
Columns = dict[str, NDArray[Any]]

EXTENDED_OVER_STAR: Final = 1.1
"""A source is extended if its light within 0.4″ over that within 0.2″ exceeds a star's by this factor."""
_STAR_FWHM_PIXELS: Final = 1.6
_LEAST_HALF_LIGHT_PIXELS: Final = 0.5  # as photutils' windowed centroid has it


@dataclass(frozen=True)
class Measured:
    """What the columns are made of; images are nJy per pixel, arrays in the order of the labels."""

    image: Plane
    error: Plane
    unusable: NDArray[np.bool_]
    dq: NDArray[np.uint32]
    labels: NDArray[np.int32]
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
    converged: NDArray[np.bool_]


def table(measured: Measured, stars: Stars, circles: Circles, *, star_ratio: float) -> Table:
    """Return the catalogue; ``star_ratio`` is a star's light within 0.4″ over that within 0.2″."""
    if not len(stars.x):
        return _typed({name: np.empty(0) for name in required_columns()})
    segments = SegmentationImage(measured.labels)
    found = SourceCatalog(measured.image, segments, error=measured.error, mask=measured.unusable)
    columns = (
        _places(measured, found)
        | _shapes(measured, found)
        | _fluxes(found)
        | _circle_columns(measured, circles, star_ratio)
        | _star_columns(measured, stars)
        | _flags(measured, stars)
        | _daofind(measured, stars)
        | _neighbours(measured, stars)
    )
    best = stars.converged
    columns["ra"] = np.where(best, columns["ra_psf"], columns["ra_centroid"])
    columns["dec"] = np.where(best, columns["dec_psf"], columns["dec_centroid"])
    return _typed(columns)


def required_columns() -> list[str]:
    """Return the names rad's schema of an L2 source catalogue asks for, with our apertures."""
    empty = datamodels.ImageSourceCatalogModel.create_fake_data()
    names = [str(name) for name in empty.source_catalog.colnames if not str(name).startswith("aper00")]
    for radius in RADII_ARCSEC:
        names += [f"{_aperture(radius)}_flux", f"{_aperture(radius)}_flux_err"]
    return names


def _aperture(radius_arcsec: float) -> str:
    return f"aper{round(radius_arcsec * 10):02d}"


def _typed(columns: Columns) -> Table:
    model = datamodels.ImageSourceCatalogModel.create_fake_data()
    result = Table()
    for name, values in columns.items():
        rule = model.get_column_definition(name)
        result[name] = Column(
            np.asarray(values).astype(rule["datatype"]), unit=rule["unit"], description=rule["description"]
        )
    return result


def _places(measured: Measured, found: SourceCatalog) -> Columns:
    columns: Columns = {"label": found.labels}
    for kind in ("centroid", "centroid_win"):
        x, y = np.asarray(getattr(found, f"x_{kind}")), np.asarray(getattr(found, f"y_{kind}"))
        ra, dec = measured.wcs(x, y, with_bounding_box=False)
        columns |= {f"x_{kind}": x, f"y_{kind}": y, f"ra_{kind}": ra, f"dec_{kind}": dec}
        x_err, y_err = _centroid_errors(measured, found, kind, at=np.column_stack([x, y])).T
        columns |= {f"x_{kind}_err": x_err, f"y_{kind}_err": y_err}
        columns |= _sky_errors(measured, kind, x_err=x_err, y_err=y_err, at=np.column_stack([x, y]))
    for edge in ("xmin", "xmax", "ymin", "ymax"):
        columns[f"bbox_{edge}"] = np.asarray(getattr(found, f"bbox_{edge}"))
    # No skycells yet: the identifier that packs them is zero.
    columns["flagged_spatial_id"] = np.zeros(len(found.labels), dtype=np.int64)
    return columns


def _centroid_errors(measured: Measured, found: SourceCatalog, kind: str, *, at: Floats) -> Floats:
    labels = np.where(measured.unusable, 0, measured.labels)
    if kind == "centroid":
        return centroid_errors.of_centroids(labels, measured.image, measured.error, at=at)
    half_light = np.maximum(np.asarray(found.flux_radius(0.5).value), _LEAST_HALF_LIGHT_PIXELS)
    width = 2 * half_light * gaussian_fwhm_to_sigma
    return centroid_errors.of_windowed(labels, measured.image, measured.error, at=at, width=width)


def _sky_errors(measured: Measured, kind: str, *, x_err: Any, y_err: Any, at: Floats) -> Columns:
    """Turn pixel errors into arcsec along RA and Dec by the local orientation."""
    cosine, sine = _orientation(measured, at)
    scale = measured.scale_arcsec
    return {
        f"ra_{kind}_err": np.hypot(cosine * x_err, sine * y_err) * scale,
        f"dec_{kind}_err": np.hypot(sine * x_err, cosine * y_err) * scale,
    }


def _orientation(measured: Measured, at: Floats) -> tuple[Floats, Floats]:
    """Return cosine and sine of the angle between +x and east at positions ``at`` (n, 2)."""
    x, y = np.nan_to_num(at).T
    ra, dec = measured.wcs(x, y, with_bounding_box=False)
    ra2, dec2 = measured.wcs(x + 1, y, with_bounding_box=False)
    angle = np.arctan2(dec2 - dec, (ra2 - ra) * np.cos(np.deg2rad(dec)))
    return np.cos(angle), np.sin(angle)


def _shapes(measured: Measured, found: SourceCatalog) -> Columns:
    scale = measured.scale_arcsec
    degrees = np.asarray(found.orientation.value)
    cosine, sine = _orientation(measured, np.column_stack([found.x_centroid, found.y_centroid]))
    # The frame is mirrored (parity -1): +x at angle a from east, +y at a - 90°.
    along = np.arctan2(sine, cosine) - np.deg2rad(degrees)
    return {
        "segment_area": np.asarray(found.segment_area.value) * scale**2,
        "semimajor": np.asarray(found.semimajor_axis.value) * scale,
        "semiminor": np.asarray(found.semiminor_axis.value) * scale,
        "fwhm": np.asarray(found.fwhm.value) * scale,
        "ellipticity": np.asarray(found.ellipticity),
        "orientation_pix": degrees,
        "orientation_sky": np.mod(90 - np.rad2deg(along), 180),
        "cxx": np.asarray(found.ellipse_cxx.value) / scale**2,
        "cxy": np.asarray(found.ellipse_cxy.value) / scale**2,
        "cyy": np.asarray(found.ellipse_cyy.value) / scale**2,
        "kron_radius": np.asarray(found.kron_radius.value) * scale,
        "fluxfrac_radius_50": np.asarray(found.flux_radius(0.5).value) * scale,
    }


def _fluxes(found: SourceCatalog) -> Columns:
    kron, kron_err = np.asarray(found.kron_flux), np.asarray(found.kron_flux_err)
    positive = np.where(kron > 0, kron, np.nan)
    return {
        "segment_flux": np.asarray(found.segment_flux),
        "segment_flux_err": np.asarray(found.segment_flux_err),
        "kron_flux": kron,
        "kron_flux_err": kron_err,
        "kron_abmag": -2.5 * np.log10(positive * 1e-9 / AB_ZERO_JY),
        "kron_abmag_err": 2.5 / np.log(10) * kron_err / positive,
    }


def _circle_columns(measured: Measured, circles: Circles, star_ratio: float) -> Columns:
    per_area = measured.scale_arcsec**-2
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


def _star_columns(measured: Measured, stars: Stars) -> Columns:
    ra, dec = measured.wcs(stars.x, stars.y, with_bounding_box=False)
    at = np.column_stack([stars.x, stars.y])
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
        "psf_flags": (~stars.converged).astype(np.int32),
    } | _sky_errors(measured, "psf", x_err=stars.x_err, y_err=stars.y_err, at=at)


def _flags(measured: Measured, stars: Stars) -> Columns:
    """image_flags: 1 a pixel not to be used, 2 saturated, 4 a jump within one pixel of the middle."""
    rows = np.clip(np.rint(stars.y).astype(int), 1, measured.dq.shape[0] - 2)
    columns = np.clip(np.rint(stars.x).astype(int), 1, measured.dq.shape[1] - 2)
    near = np.zeros(len(stars.x), dtype=np.uint32)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            near |= measured.dq[rows + dy, columns + dx]
    image = np.zeros(len(stars.x), dtype=np.int32)
    for bit, flag in enumerate((DQ.DO_NOT_USE, DQ.SATURATED, DQ.JUMP_DET)):
        image |= ((near & np.uint32(flag)) != 0).astype(np.int32) << bit
    return {
        "image_flags": image,
        "warning_flags": np.zeros(len(stars.x), dtype=np.int32),
        # Needs a dust map, which is no product of this pipeline.
        "dust_ebv": np.full(len(stars.x), np.nan),
    }


def _daofind(measured: Measured, stars: Stars) -> Columns:
    """Sharpness and roundness at the PSF positions; NaN where DAOFIND has none."""
    shape = measured.image.shape
    x = np.clip(np.rint(stars.x), 0, shape[1] - 1)
    y = np.clip(np.rint(stars.y), 0, shape[0] - 1)
    pixels, which = np.unique(np.column_stack([x, y]), axis=0, return_inverse=True)
    everything = (-np.inf, np.inf)
    finder = DAOStarFinder(
        threshold=0.0,
        fwhm=_STAR_FWHM_PIXELS,
        xycoords=pixels,
        min_separation=0,
        sharpness_range=everything,
        roundness_range=everything,
    )
    result = finder(np.where(measured.unusable, 0, measured.image), mask=None)
    values = np.full((len(pixels), 2), np.nan)
    if result is not None:
        rows = _matching(pixels, np.column_stack([result["x_centroid"], result["y_centroid"]]))
        values[rows] = np.column_stack([result["sharpness"], result["roundness1"]])
    values = values[which.ravel()]
    return {"sharpness": values[:, 0], "roundness1": values[:, 1]}


def _matching(pixels: Floats, found: Floats) -> NDArray[np.int64]:
    return np.asarray(cKDTree(pixels).query(found)[1], dtype=np.int64)


def _neighbours(measured: Measured, stars: Stars) -> Columns:
    """The nearest other source, by PSF position."""
    n = len(stars.x)
    if n < 2:
        return {"nn_label": np.full(n, -1), "nn_distance": np.full(n, np.nan)}
    distance, index = cKDTree(np.column_stack([stars.x, stars.y])).query(
        np.column_stack([stars.x, stars.y]), k=2
    )
    other = np.where(index[:, 0] == np.arange(n), index[:, 1], index[:, 0])
    return {"nn_label": other + 1, "nn_distance": distance[:, 1] * measured.scale_arcsec}
