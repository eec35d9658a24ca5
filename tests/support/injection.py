"""Small idealised mosaics to put sources into, and plans that can be written down."""

from dataclasses import replace
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from tests.support import pipeline as build

from nexus_pipeline.products.model import Mosaic
from nexus_pipeline.psf import fit
from nexus_pipeline.psf.grid import PsfGrid
from nexus_pipeline.recipes import measuring
from nexus_pipeline.recipes.injections import Injections
from nexus_pipeline.recipes.measuring import Measurement, Picture
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.simulate import catalog, exposure, mosaic
from nexus_pipeline.simulate.field import make_field
from nexus_pipeline.sky.mosaic_wcs import MosaicGrid

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


def whole_again(base: Measurement, picture: Picture, psf: PsfGrid) -> Table:
    """Return the catalogue of the whole of ``picture`` over the sky, noise and rules that ``base`` has."""
    before, after = (replace(sky, image=picture.rate - sky.background) for sky in base.skies)
    found = measuring.detected(picture, before, base.stamp, base.rule)
    x, y, usable = found.x.astype(np.float64), found.y.astype(np.float64), ~picture.unusable
    tasks = [
        fit.Task(
            sky.background, sky.extra_variance, usable, psf, sky.noise,
            fit.faintest_light(sky.noise, sky.background),
        )
        for sky in (before, after)
    ]  # fmt: skip
    first, starless = fit.fit_and_take_off(before.image, tasks[0], x, y, passes=2)
    fits = fit.fit_again(starless + before.background - after.background, tasks[1], first)
    every = measuring.measured(picture, after, found, fits, psf=psf, kron=base.kron)
    return measuring.table_of(measuring.with_probabilities(every, psf), psf)
