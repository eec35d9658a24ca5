"""catalog: one L2 image or L3 mosaic to one L4 catalogue: background, detection, photometry, shapes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.wfi import MOSAIC_SCALE_ARCSEC, PIXEL_SCALE_ARCSEC
from nexus_pipeline.measure import columns
from nexus_pipeline.products.model import (
    Catalog,
    Mosaic,
    MosaicCatalog,
    Provenance,
    RateImage,
    StepRecord,
)
from nexus_pipeline.psf.grid import PsfGrid
from nexus_pipeline.recipes import measuring
from nexus_pipeline.recipes import psf as psf_library
from nexus_pipeline.recipes.epsf import mosaic_psf_of, psf_of
from nexus_pipeline.recipes.measuring import Evened, Picture, Sky
from nexus_pipeline.recipes.psf import Library
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.runner import recorded
from nexus_pipeline.sky.distortion import relative_pixel_area

Plane = NDArray[np.float32]
Floats = NDArray[np.float64]
Listener = Callable[[StepRecord], None]

NJY_PER_MJY: Final = 1e15
_THIN: Final = 16
"""One pixel in so many tells how deep a mosaic is."""
_SHARED_BY_A_RAY_DN: Final = 14.0
"""What the mean cosmic ray (4 500 electrons) shows in a pixel beside its own: half a per cent of it."""


def catalog(
    image: RateImage,
    store: ReferenceStore,
    *,
    ipc: bool | None = None,
    on_step: Listener | None = None,
    threads: int = 2,
) -> Catalog:
    """Return the sources of ``image``; InputError if it has no WCS or photometry yet.

    ``ipc`` as in ``epsf.psf_of``.
    """
    require_calibrated(image)
    meta = image.meta
    psf, files = psf_of(meta, store, ipc=ipc)
    records: list[StepRecord] = []
    made = measuring.measure(picture(image), psf, partial(telling, records, on_step), threads=threads)
    provenance = replace(
        image.provenance,
        steps=(*image.provenance.steps, *records),
        references={**image.provenance.references, **files},
        context=store.context,
    )
    return Catalog(meta, made.table, provenance, image.photometry, segments=made.labels)


def mosaic_catalog(
    mosaic: Mosaic,
    store: ReferenceStore,
    *,
    detector: str | None = None,
    on_step: Listener | None = None,
    threads: int = 2,
) -> MosaicCatalog:
    """Return the sources of ``mosaic``.

    Its PSF is made of its exposures' own (``steps.coadd_psf``). Where it does not say where they lie, or a
    ``detector`` is named, it is that of the middle of one, spread by drop and pixel: see ``psf.mosaic``.
    InputError if there is nothing in it.
    """
    seen = mosaic_picture(mosaic)
    if seen.unusable.all():
        raise InputError("the mosaic has no pixel with light in it")
    psf, evened, files = psf_of_mosaic(mosaic, store, detector=detector, threads=threads)
    records: list[StepRecord] = []
    told = partial(telling, records, on_step)
    made = measuring.measure(seen, psf, told, threads=threads, evened=evened)
    provenance = Provenance(steps=tuple(records), references=files, context=store.context)
    return MosaicCatalog(mosaic.meta, made.table, mosaic.wcsinfo, provenance, made.labels)


def psf_of_mosaic(
    mosaic: Mosaic, store: ReferenceStore, *, detector: str | None = None, threads: int = 2
) -> tuple[PsfGrid, Evened | None, dict[str, str]]:
    """Return the PSF that is fitted to all stars, what makes each look so, and the reference files.

    As ``mosaic_catalog`` says; None where all stars are taken to look alike.
    """
    if detector is None and psf_library.EXPOSURES in mosaic.meta.own:
        coadd, files = psf_library.of_mosaic(Library(store), mosaic)
        return coadd.mean, partial(coadd.evened, threads=threads), files
    psf, files = mosaic_psf_of(mosaic.meta, store, scale_arcsec=scale_of(mosaic), detector=detector)
    return psf, None, files


def require_calibrated(image: RateImage) -> None:
    """Raise InputError unless ``image`` has world coordinates and photometry."""
    if image.wcs is None or image.photometry is None:
        raise InputError("the image has no world coordinates or photometry: calibrate it first")


def picture(image: RateImage) -> Picture:
    """Return what is measured of an L2 image (DN/s)."""
    return Picture(
        rate=image.rate,
        var_poisson=image.var_poisson,
        var_rnoise=image.var_rnoise,
        dq=image.dq,
        to_njy=nanojanskys(image),
        wcs=image.wcs,
        scale_arcsec=PIXEL_SCALE_ARCSEC,
        ray_light=_SHARED_BY_A_RAY_DN / image.meta.ma_table.exposure_time_s,
    )


def scale_of(mosaic: Mosaic) -> float:
    """Return the width of a mosaic's pixels, arcsec."""
    degrees = mosaic.wcsinfo.get("pixel_scale_ref")
    return float(degrees) * 3600 if degrees else MOSAIC_SCALE_ARCSEC


def mosaic_picture(mosaic: Mosaic) -> Picture:
    """Return what is measured of a mosaic (MJy/sr): pixels without weight are not to be used."""
    scale = scale_of(mosaic)
    seen = np.isfinite(mosaic.data) & (mosaic.weight > 0) & np.isfinite(mosaic.var_rnoise)
    njy = NJY_PER_MJY * np.deg2rad(scale / 3600) ** 2
    return Picture(
        rate=mosaic.data,
        var_poisson=mosaic.var_poisson,
        var_rnoise=mosaic.var_rnoise,
        dq=np.where(seen, np.uint32(DQ.GOOD), np.uint32(DQ.DO_NOT_USE)),
        to_njy=np.broadcast_to(np.float32(njy), mosaic.data.shape),
        wcs=mosaic.wcs,
        scale_arcsec=scale,
        shares_noise=True,
        depth=_depth(mosaic.context, seen),
    )


def _depth(context: NDArray[np.uint32], seen: NDArray[np.bool_]) -> Plane:
    """Return how many times the typical variance pixels have for how many images they are of.

    Counted, not weighed: weights may know how bright a pixel is.
    """
    depth = np.ones(seen.shape, np.float32)
    counts = [np.bitwise_count(plane) for plane in context]
    images = counts[0] if len(counts) == 1 else np.sum(counts, axis=0, dtype=np.uint16)
    known = seen & (images > 0)
    some = images[known][::_THIN]
    if some.size:
        np.divide(np.float32(np.median(some)), images, out=depth, where=known)
    return depth


@contextmanager
def telling(records: list[StepRecord], on_step: Listener | None, name: str) -> Iterator[None]:
    with recorded(name) as measured:
        yield
    records.append(measured())
    if on_step is not None:
        on_step(records[-1])


def positions_fitted(
    image: RateImage, psf: PsfGrid, *, x: Floats, y: Floats, threads: int = 2
) -> columns.Stars:
    """Return PSF fluxes (nJy) of stars exactly at ``x``, ``y``."""
    seen = picture(image)
    sky = sky_behind(image, psf)
    _, fits = measuring.fitted(seen, sky, seen.unusable, psf, x=x, y=y, free=False, threads=threads)
    return measuring.in_njy(fits, seen.to_njy)


def sky_behind(image: RateImage, psf: PsfGrid) -> Sky:
    """Return the background of an L2 image and its noise (DN/s)."""
    seen = picture(image)
    return measuring.sky_behind(seen, seen.unusable, measuring.matched_filter(seen, psf))


def nanojanskys(image: RateImage) -> Plane:
    """Return nJy per DN/s of each pixel: its area comes from the image's own WCS."""
    assert image.photometry is not None  # noqa: S101 - checked at the door, for the type checker
    transform = image.wcs.get_transform("detector", "v2v3")
    nominal = image.photometry.conversion_megajanskys * image.photometry.pixel_area_sr * NJY_PER_MJY
    return relative_pixel_area(transform, image.rate.shape[0]) * np.float32(nominal)
