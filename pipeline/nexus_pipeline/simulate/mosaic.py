"""Idealised L3: the scene as a mosaic of many exposures would show it, with their noise and no signature.

Takes sources, a grid on the sky and what one exposure is; leaves surface brightness in MJy/sr. Pixels are
half a detector's wide. The PSF is that of the middle of one detector, pixel response and all, its axes along
the grid's: the limit of dithers so many and drops so small that resampling blurs nothing. Noise is the best
straight line's through each ramp, shared out to pixels that know nothing of each other, so that a quarter of
a detector's pixel has four times its variance.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.wfi import (
    MOSAIC_PIXEL_AREA_SR,
    MOSAIC_SCALE_ARCSEC,
    NOMINAL_PIXEL_AREA_SR,
    PIXEL_SCALE_ARCSEC,
)
from nexus_pipeline.products import l3
from nexus_pipeline.products.model import CoaddMeta, ExposureMeta, Mosaic
from nexus_pipeline.psf.grid import PsfGrid
from nexus_pipeline.psf.mosaic import mosaic_psf
from nexus_pipeline.references import kinds
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.simulate import ideal, scene
from nexus_pipeline.simulate.background import background_mjysr
from nexus_pipeline.simulate.catalog import Sources
from nexus_pipeline.simulate.colour import ColourPsfs, by_colour
from nexus_pipeline.simulate.exposure import Effects, optical_psf
from nexus_pipeline.simulate.plane import RatePlane
from nexus_pipeline.simulate.random import Effect, generator
from nexus_pipeline.sky import mosaic_wcs
from nexus_pipeline.sky.mosaic_wcs import MosaicGrid

_FINER: Final = round(PIXEL_SCALE_ARCSEC / MOSAIC_SCALE_ARCSEC)
"""Pixels of a mosaic along one of a detector."""
_AREA_RATIO: Final = NOMINAL_PIXEL_AREA_SR / MOSAIC_PIXEL_AREA_SR
MOST_PIXELS: Final = 20_000
"""Along an edge: 18 arcmin, over which a tangent plane's pixels differ in area by 4e-6."""


@dataclass(frozen=True)
class Stack:
    """Where a mosaic lies and how many exposures are in each of its pixels."""

    grid: MosaicGrid
    exposures: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.grid.size <= MOST_PIXELS or self.exposures < 1:
            raise InputError(f"a mosaic has 1 to {MOST_PIXELS} pixels along an edge, and 1 exposure or more")


@dataclass(frozen=True)
class _Camera:
    """What one exposure of the detector is like, in numbers for all its pixels."""

    psf: PsfGrid
    colours: ColourPsfs | None
    conversion_megajanskys: float
    noise: Mapping[str, NDArray[np.float32]]


def simulate_mosaic(
    sources: Sources | RatePlane,
    meta: ExposureMeta,
    references: ReferenceStore,
    stack: Stack,
    *,
    seed: int,
    effects: Effects | None = None,
    threads: int = 2,
) -> tuple[Mosaic, Table]:
    """Return an idealised L3 and the truth (fluxes also as sums over pixels, MJy/sr).

    ``meta`` is that of the first exposure. Of ``effects`` background and colour count. InputError for a rate
    image, which has no grid on the sky.
    """
    if isinstance(sources, RatePlane):
        raise InputError("a rate image is a detector's: a mosaic needs a catalogue")
    effects = effects or Effects()
    camera = _camera(meta, references, coloured=effects.colour and sources.effective_um is not None)
    light, truth = _scene(sources, camera, meta, stack.grid, threads=threads)
    light *= np.float32(_AREA_RATIO)
    if effects.background:
        sky = background_mjysr(
            meta.detector, meta.filter_name,
            ra_deg=stack.grid.ra_deg, dec_deg=stack.grid.dec_deg, date=meta.start_time,
        )  # fmt: skip
        light += np.float32(sky / camera.conversion_megajanskys)
    made = ideal.with_noise(
        light,
        meta.ma_table,
        **camera.noise,
        rng=generator(seed, Effect.IDEAL),
        dilution=_AREA_RATIO / stack.exposures,
    )
    return _mosaic(made, meta, stack, camera.conversion_megajanskys), truth


def _camera(meta: ExposureMeta, references: ReferenceStore, *, coloured: bool) -> _Camera:
    where: dict[str, Any] = {
        "detector": meta.detector,
        "filter_name": meta.filter_name,
        "date": meta.start_time,
        "ma_table": meta.ma_table.number,
    }
    stored = references.load(kinds.EpsfReference, **where)
    psf = optical_psf(stored)
    colours = by_colour(stored, psf) if coloured else None
    if colours is not None:
        types = tuple(mosaic_psf(each, finer=_FINER) for each in colours.types)
        colours = replace(colours, plain=mosaic_psf(psf, finer=_FINER), types=types)
    photom = references.load(kinds.PhotomReference, **where).table[meta.filter_name]
    planes = {
        "dark": references.load(kinds.DarkReference, **where).rate,
        "gain": references.load(kinds.GainReference, **where).gain,
        "read_noise": references.load(kinds.ReadNoiseReference, **where).read_noise,
    }
    typical = {name: np.asarray(np.nanmedian(plane), dtype=np.float32) for name, plane in planes.items()}
    noise = {**typical, "flat": np.ones((), dtype=np.float32)}
    return _Camera(mosaic_psf(psf, finer=_FINER), colours, photom.conversion_megajanskys, noise)


def _scene(
    sources: Sources, camera: _Camera, meta: ExposureMeta, grid: MosaicGrid, *, threads: int
) -> tuple[NDArray[np.float32], Table]:
    """Return the light in DN/s per pixel of the mosaic, and the truth."""
    image_wcs = mosaic_wcs.build(grid)
    margin = _FINER * scene.MARGIN_PIXELS
    placed = scene.place(
        sources,
        image_wcs,
        conversion_megajanskys=camera.conversion_megajanskys,
        size=grid.size,
        margin=margin,
        reach_deg=(grid.size / 2 + margin) * 2**0.5 * MOSAIC_SCALE_ARCSEC / 3600,
    )
    drawn = scene.draw(
        sources,
        placed,
        image_wcs,
        camera.psf,
        size=grid.size,
        colours=camera.colours,
        threads=threads,
        exposure_time_s=meta.ma_table.exposure_time_s,
        faint_radius=_FINER * scene.FAINT_STAR_RADIUS,
    )
    truth = scene.truth(sources, placed, drawn)
    truth["flux_mjysr"] = truth["flux_njy"] * 1e-15 / MOSAIC_PIXEL_AREA_SR
    truth.remove_column("flux_dn_s")
    return drawn.image, truth


def _mosaic(made: ideal.Rates, meta: ExposureMeta, stack: Stack, conversion: float) -> Mosaic:
    """Return ``made`` (DN/s in nominal pixels) as an L3 product."""
    to_mjysr, table, n = np.float32(conversion), meta.ma_table, stack.exposures
    poisson, reads = made.var_poisson * to_mjysr**2, made.var_rnoise * to_mjysr**2
    coadd = CoaddMeta(
        filter_name=meta.filter_name,
        first=meta.start_time,
        last=meta.start_time + timedelta(seconds=n * table.exposure_time_s),
        exposure_time_s=n * table.exposure_time_s,
        exposure_id=meta.exposure_id,
        resample={
            "good_bits": "~DO_NOT_USE+NON_SCIENCE",
            "pixel_scale_ratio": 1 / _FINER,
            "pixfrac": 0.0,
            "pointings": n,
            "weight_type": "ivm",
        },
        own={"idealised": True, "detector": meta.detector, "ma_table": table.number},
    )
    return Mosaic(
        meta=coadd,
        data=made.rate * to_mjysr,
        err=np.sqrt(poisson + reads),
        var_poisson=poisson,
        var_rnoise=reads,
        weight=np.float32(1) / reads,
        context=l3.context_of_all(n, stack.grid.size),
        wcs=mosaic_wcs.build(stack.grid),
        wcsinfo=mosaic_wcs.wcsinfo(stack.grid),
    )
