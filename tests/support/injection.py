"""Small idealised mosaics to put sources into, and plans that can be written down."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from tests.support import mosaic as images
from tests.support import pipeline as build
from tests.support import simulator as scene

from nexus_pipeline.products.associations import Association
from nexus_pipeline.products.model import Mosaic
from nexus_pipeline.products.names import ExposureId
from nexus_pipeline.products.tree import OWN_KEY
from nexus_pipeline.psf import fit
from nexus_pipeline.recipes import measuring, mosaic_product
from nexus_pipeline.recipes import mosaic as coadds
from nexus_pipeline.recipes.injection_trial import Ground
from nexus_pipeline.recipes.injections import Injections
from nexus_pipeline.recipes.measuring import Picture
from nexus_pipeline.recipes.mosaic_inputs import Member
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.simulate import catalog, exposure, mosaic
from nexus_pipeline.simulate.field import make_field
from nexus_pipeline.sky.mosaic_wcs import MosaicGrid
from nexus_pipeline.sky.tangent import degrees_of

RA, DEC = 150.0, 2.0
EXPOSURES = 4

Floats = NDArray[np.float64]


def field_mosaic(
    references: ReferenceStore, *, size: int, n_stars: int, n_galaxies: int, seed: int
) -> tuple[Mosaic, Table]:
    """Return a mosaic of a made-up field, four exposures deep, and its truth."""
    radius = size * 0.055 / 3600 / 2**0.5
    rng = np.random.default_rng(seed)
    table = make_field(RA, DEC, n_stars=n_stars, n_galaxies=n_galaxies, rng=rng, radius_deg=radius)
    aim = exposure.aim(references, build.DETECTOR, build.FILTER, ra_deg=RA, dec_deg=DEC)
    meta = exposure.exposure_meta(build.DETECTOR, build.FILTER, pointing=aim)
    stack = mosaic.Stack(MosaicGrid(RA, DEC, size), EXPOSURES)
    sources = catalog.sources_from_table(table, build.FILTER)
    return mosaic.simulate_mosaic(sources, meta, references, stack, seed=seed)


def injections(wcs: Any, x: Floats, y: Floats, magnitude: Floats, *, radius: float = 0.0) -> Injections:
    """Return stars, or round exponential discs of a half-light ``radius`` (arcsec), at pixels of ``wcs``."""
    n, star = len(x), radius == 0
    ra, dec = wcs(x, y, with_bounding_box=False)
    shape = np.zeros(n) if star else np.ones(n)
    flux = 3631.0 * 10 ** (-0.4 * np.asarray(magnitude))
    return Injections(
        x, y, ra, dec, flux, np.full(n, star), shape, np.full(n, radius), shape, np.zeros(n)
    )  # fmt: skip


def drizzled_mosaic(*, n_stars: int, seed: int) -> Mosaic:
    """Return three rolled images of stars of S/N 60 to 1,000 as one mosaic, which tells of its exposures."""
    rng, grid = np.random.default_rng(seed), images.grid(nx=436)
    side = round(n_stars**0.5)
    x, y = scene.grid_of_stars(side, grid.nx / side, jitter=3.0, rng=rng)
    ra, dec = degrees_of(grid.directions(np.column_stack([x, y])))
    flux_mjy = 10 ** rng.uniform(-11.7, -10, x.size)
    members = []
    for number, pointing in enumerate(images.pointings(3, seed=seed), start=1):
        rate = images.starlight(pointing, ra, dec, flux_mjy) + 1.0
        poisson, reads = (rate / 250).astype(np.float32), np.full(rate.shape, 0.002, np.float32)
        image = images.image(pointing, rate + rng.normal(0, np.sqrt(poisson + reads)))
        meta = replace(image.meta, exposure_id=ExposureId(exposure=number), carried={OWN_KEY: {"ipc": False}})
        image = replace(image, meta=meta, var_poisson=poisson, var_rnoise=reads)
        members.append(Member(f"{number}.asdf", partial(replace, image)))
    association = Association(images.PRODUCT, tuple(each.name for each in members), 1)
    return mosaic_product.product(coadds.coadd(members, grid), association, own={})


def whole_again(ground: Ground, picture: Picture) -> Table:
    """Return the catalogue of the whole of ``picture`` over the sky, noise and rules that ``ground`` has."""
    base, psf = ground.base, ground.psf
    before, after = (replace(sky, image=picture.rate - sky.background) for sky in base.skies)
    found = measuring.detected(picture, before, base.stamp, rule=base.rule, inside=base.between)
    x, y, usable = found.x.astype(np.float64), found.y.astype(np.float64), ~picture.unusable
    tasks = [
        fit.Task(
            sky.background, sky.extra_variance, usable, psf, sky.noise,
            fit.faintest_light(sky.noise, sky.background),
        )
        for sky in (before, after)
    ]  # fmt: skip
    first, starless = fit.fit_and_take_off(before.image, tasks[0], x, y, passes=2)
    if ground.evened is not None:
        light = np.where(first.converged, first.flux, 0.0)
        starless += ground.evened(picture.rate, first.x, first.y, light) - picture.rate
    fits = fit.fit_again(starless + before.background - after.background, tasks[1], first)
    every = measuring.measured(picture, after, found, fits, psf=psf, star=base.star, kron=base.kron)
    return measuring.table_of(measuring.with_probabilities(every, psf), psf)
