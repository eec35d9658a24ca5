"""multiband: mosaics of one skycell in several filters to one catalogue: the same sources in all of them.

Sources are found in the mean of all filters, weighted by the inverse variance of the sky, and measured in
each filter as they are in all: in ellipses of that mean, at one position by PSF, and in apertures on images
that were brought to the PSF of the reddest filter, so that their ratios are colours of one part of a source.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import numpy as np

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.filters import IMAGING_FILTERS
from nexus_pipeline.products.model import Mosaic, MultibandCatalog, Provenance, StepRecord
from nexus_pipeline.recipes import band_photometry, catalog, measuring
from nexus_pipeline.recipes.band_photometry import Band
from nexus_pipeline.recipes.detection_image import detection_of
from nexus_pipeline.references.store import ReferenceStore

Listener = Callable[[StepRecord], None]
Load = Callable[[], Mosaic]

_PLACE: Final = (
    "image_shape", "ra_ref", "dec_ref", "x_ref", "y_ref", "pixel_scale_ref", "orientation_ref",
)  # fmt: skip


def multiband_catalog(
    loads: Sequence[Load],
    store: ReferenceStore,
    *,
    detector: str | None = None,
    on_step: Listener | None = None,
    threads: int = 2,
) -> MultibandCatalog:
    """Return the sources of the mosaics that ``loads`` give; each is called once, and let go of.

    PSFs are as in ``catalog.mosaic_catalog``. InputError for mosaics on other grids, of one filter, or
    without light.
    """
    records: list[StepRecord] = []
    told = partial(catalog.telling, records, on_step)
    with told("background"):
        bands, where = _read(loads, store, detector, threads)
    reference = bands[-1]
    with told("detection"):
        seen, found = detection_of(bands)
    with told("psf_photometry"):
        bands, stars = band_photometry.fitted(bands, found, threads=threads)
    with told("source_catalog"):
        table = band_photometry.table(bands, seen, found, stars, threads=threads)
    files = {f"{kind}_{band.name}": file for band in bands for kind, file in band.files.items()}
    return MultibandCatalog(
        metas={band.meta.filter_name: band.meta for band in bands},
        reference=reference.meta.filter_name,
        table=table,
        wcsinfo=where,
        provenance=Provenance(steps=tuple(records), references=files, context=store.context),
        segments=found.labels.astype(np.uint32),
    )


def _read(
    loads: Sequence[Load], store: ReferenceStore, detector: str | None, threads: int
) -> tuple[list[Band], Mapping[str, Any]]:
    """Return the bands in order of wavelength, and where they all lie."""
    bands: dict[str, Band] = {}
    where: Mapping[str, Any] | None = None
    for load in loads:
        mosaic = load()
        name = mosaic.meta.filter_name
        if name in bands:
            raise InputError(f"there are two mosaics of {name}: a filter is to be measured once")
        if where is not None:
            _require_same_place(where, mosaic.wcsinfo, name)
        where = where or mosaic.wcsinfo
        bands[name] = _band(mosaic, store, detector, threads)
    if where is None or len(bands) < 2:
        raise InputError("a catalogue of several filters needs mosaics of two of them at least")
    return sorted(bands.values(), key=lambda band: IMAGING_FILTERS.index(band.meta.filter_name)), where


def _require_same_place(first: Mapping[str, Any], other: Mapping[str, Any], name: str) -> None:
    """Raise InputError unless both say the same of where their pixels lie."""
    for key in _PLACE:
        if not np.allclose(first[key], other[key], rtol=0, atol=1e-9):
            cells = f"{first['skycell_name']} and {other['skycell_name']}"
            raise InputError(
                f"the mosaic of {name} lies on other pixels than those before it "
                f"({key} {other[key]}, not {first[key]}; skycells {cells})"
            )


def _band(mosaic: Mosaic, store: ReferenceStore, detector: str | None, threads: int) -> Band:
    picture = catalog.mosaic_picture(mosaic)
    unusable = picture.unusable
    if unusable.all():
        raise InputError(f"the mosaic of {mosaic.meta.filter_name} has no pixel with light in it")
    psf, evened, files = catalog.psf_of_mosaic(mosaic, store, detector=detector, threads=threads)
    sky = measuring.sky_behind(picture, unusable, measuring.matched_filter(picture, psf))
    meta = replace(mosaic.meta, images=())
    return Band(meta, picture, psf, sky, unusable, files, evened)
