"""Pieces of small dithered images of stars that can be written down, and grids to lay them on."""

from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
from astropy.modeling import Model
from numpy.typing import NDArray
from tests.support import pipeline as build
from tests.support import simulator as scene

from nexus_pipeline.instrument.wfi import NOMINAL_PIXEL_AREA_SR
from nexus_pipeline.products import associations, l2, names
from nexus_pipeline.products.associations import Association
from nexus_pipeline.products.model import Photometry, Pointing, RateImage
from nexus_pipeline.products.names import ExposureId
from nexus_pipeline.recipes.mosaic_inputs import Member
from nexus_pipeline.sky import sky_grid, wcs
from nexus_pipeline.sky.distortion import relative_pixel_area, synthetic_distortion
from nexus_pipeline.sky.pixel_map import PixelMap, cropped, pixel_map
from nexus_pipeline.sky.sky_grid import SkyGrid
from nexus_pipeline.sky.tangent import degrees_of
from nexus_pipeline.steps import flux
from nexus_pipeline.steps.flux import Piece

RA, DEC = 270.0, 66.0
SIZE = 200
CONVERSION = 0.5
PRODUCT = "r00001_p_v01001001001001_270p65x50y50_f158"

Floats = NDArray[np.float64]


@cache
def distortion() -> Model:
    return synthetic_distortion(build.DETECTOR, SIZE)


def pointings(
    n: int, *, seed: int, ra: float = RA, dec: float = DEC, dither_arcsec: float = 1.0
) -> list[Pointing]:
    """Return ``n`` pointings that put the middle of a small detector near (ra, dec), at any roll."""
    rng = np.random.default_rng(seed)
    transform = distortion()
    made = []
    for _ in range(n):
        east, north = rng.uniform(-dither_arcsec, dither_arcsec, 2) / 3600
        aimed = wcs.aim(
            transform, (ra + east / max(np.cos(np.deg2rad(dec)), 1e-3)) % 360, min(dec + north, 89.9999),
            roll_deg=float(rng.uniform(0, 360)), size=SIZE,
        )  # fmt: skip
        made.append(aimed)
    return made


def image(pointing: Pointing, rate: Floats | None = None) -> RateImage:
    """Return an L2 image of ``rate`` (DN/s; 1 all over) that looks where ``pointing`` says."""
    rate = np.ones((SIZE, SIZE)) if rate is None else rate
    made = build.rate_image(rate)
    return replace(
        made,
        meta=replace(made.meta, pointing=pointing),
        wcs=wcs.build(distortion(), pointing, size=SIZE),
        photometry=Photometry(CONVERSION, 0.005, NOMINAL_PIXEL_AREA_SR),
    )


def starlight(
    pointing: Pointing, ra: Floats, dec: Floats, flux_mjy: Floats, *, width: float = scene.SIGMA
) -> Floats:
    """Return what stars leave in each pixel (DN/s): flux shared by a Gaussian, as surface brightness."""
    transform = distortion()
    x, y = wcs.to_pixels(wcs.build(transform, pointing, size=SIZE), ra, dec)
    rows, columns = np.indices((SIZE, SIZE))
    light = np.zeros((SIZE, SIZE))
    for at_x, at_y, total in zip(x, y, flux_mjy, strict=True):
        light += total * scene.gaussian_fraction(columns - at_x, rows - at_y, width)
    area = relative_pixel_area(transform, SIZE).astype(np.float64) * NOMINAL_PIXEL_AREA_SR
    return np.asarray(light / area / CONVERSION)


def grid(*, nx: int = 480, scale_arcsec: float = 0.055, ra: float = RA, dec: float = DEC) -> SkyGrid:
    return sky_grid.about(ra, dec, nx=nx, ny=nx + 7, scale_arcsec=scale_arcsec)


def placed(of: RateImage, on: SkyGrid) -> PixelMap:
    place = cropped(pixel_map(of.wcs, of.rate.shape, on, name="image"), on)
    assert place is not None
    return place


def piece(of: RateImage, on: SkyGrid) -> Piece:
    return flux.calibrate(of, placed(of, on), name="image")


@dataclass(frozen=True)
class Night:
    """Noisy dithered images of stars under skies of their own, and what is in them (n, SIZE, SIZE)."""

    images: list[RateImage]
    starlight: Floats
    hits: NDArray[np.bool_]

    @property
    def members(self) -> list[Member]:
        return [Member(f"image{i}.asdf", partial(_given, each)) for i, each in enumerate(self.images)]


def _given(image: RateImage) -> RateImage:
    return image


def night(
    n: int,
    *,
    seed: int,
    n_stars: int = 30,
    hit_share: float = 0.0,
    skies: Floats | None = None,
    width: float = scene.SIGMA,
) -> Night:
    """Return ``n`` images; ``hit_share`` of their pixels have 10 to 100 σ of cosmic rays.

    Stars are Gaussians, ``width`` pixels their σ.
    """
    rng = np.random.default_rng(seed)
    ra, dec = degrees_of(sky_grid.about(RA, DEC, nx=1, ny=1, scale_arcsec=1.0).directions(
        rng.uniform(-9, 9, (n_stars, 2))
    ))  # fmt: skip
    flux_mjy = 10 ** rng.uniform(-14, -10.5, n_stars)
    electrons_per_dn_s = build.GAIN * build.meta().ma_table.exposure_time_s
    images, light, hits = [], [], []
    for number, pointing in enumerate(pointings(n, seed=seed)):
        stars = starlight(pointing, ra, dec, flux_mjy, width=width)
        sky = 1.0 if skies is None else skies[number]
        rays = rng.random(stars.shape) < hit_share
        poisson, rnoise = (stars + sky) / electrons_per_dn_s, np.full(stars.shape, 0.002)
        sigma = np.sqrt(poisson + rnoise)
        left = rays * rng.uniform(10, 100, stars.shape) * sigma
        made = image(pointing, stars + sky + left + rng.normal(0, sigma))
        made = replace(
            made,
            meta=replace(made.meta, exposure_id=ExposureId(exposure=number + 1)),
            var_poisson=(poisson + left / electrons_per_dn_s).astype(np.float32),
            var_rnoise=rnoise.astype(np.float32),
        )
        images.append(made)
        light.append(stars)
        hits.append(rays)
    return Night(images, np.array(light), np.array(hits))


def skycell(nx: int = 400) -> dict[str, object]:
    """Return what an association says of a skycell: a small one, off its region's tangent point."""
    ra, dec = degrees_of(
        sky_grid.about(RA, DEC, nx=1, ny=1, scale_arcsec=1.0).directions(np.array([[300.0, -200.0]]))
    )
    plain = sky_grid.about(float(ra[0]), float(dec[0]), nx=nx, ny=nx, scale_arcsec=0.055)
    middle = plain.pixels(directions_at(RA, DEC))[0] - (nx - 1) / 2
    return {
        "name": "270p65x50y50", "pixel_scale": 0.055 / 3600, "ra_projection_center": float(ra[0]),
        "dec_projection_center": float(dec[0]), "x0_projection": (nx - 1) / 2 + float(middle[0]),
        "y0_projection": (nx - 1) / 2 - float(middle[1]), "ra_center": RA, "dec_center": DEC,
        "nx": nx, "ny": nx, "orientat": 0.0, "orientat_projection_center": 0.0,
    }  # fmt: skip


def directions_at(ra: float, dec: float) -> np.ndarray:
    return sky_grid.about(ra, dec, nx=1, ny=1, scale_arcsec=1.0).directions(np.zeros((1, 2)))


def written(folder: Path, n: int = 3, **changes: object) -> Path:
    """Write ``n`` L2 images and their association into ``folder``; return the latter."""
    members = []
    for image in night(n, seed=n, hit_share=1e-3, skies=1 + 0.1 * np.arange(n)).images:
        name = names.file_name(
            image.meta.exposure_id, image.meta.detector, image.meta.filter_name, level="L2"
        )
        l2.write_rate_image(image, str(folder / name))
        members.append(name)
    made = Association(PRODUCT, tuple(members), 1, "p", changes.get("skycell", skycell()))  # type: ignore[arg-type]
    url = folder / associations.file_name(made)
    associations.write_association(made, str(url))
    return url
