"""injection_trial: what becomes of sources put into an image: planned, drawn, found again, matched, counted.

``trial`` is all of it for one cell of the sky: pure, so that many cells may be tried side by side and their
selection functions added (``products.selection.together``).
"""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from nexus_pipeline.errors import InputError
from nexus_pipeline.measure import detect, matches
from nexus_pipeline.measure.matched_filter import significance
from nexus_pipeline.measure.matches import Matches
from nexus_pipeline.products.model import Mosaic, Ramp, RateImage
from nexus_pipeline.products.selection import Selection
from nexus_pipeline.psf.grid import PsfGrid
from nexus_pipeline.recipes import catalog, inject, injections, measuring, recatalog
from nexus_pipeline.recipes.epsf import psf_of
from nexus_pipeline.recipes.exposure import recalibrate
from nexus_pipeline.recipes.inject import Drops, Light, Renderer
from nexus_pipeline.recipes.inject_ramp import into_ramp
from nexus_pipeline.recipes.injections import Bodies, Injections, Ranges
from nexus_pipeline.recipes.measuring import Evened, Measurement, Picture
from nexus_pipeline.recipes.recatalog import Again
from nexus_pipeline.references.store import ReferenceStore

Floats = NDArray[np.float64]

MAGNITUDES: Final = np.arange(17.0, 29.01, 0.5)
RADII_ARCSEC: Final = np.array([0.0, 0.03, 0.15, 0.25, 0.35, 0.5, 1.0, 10.0])
"""Bins of a selection function; stars have the first radii for themselves."""
SNR: Final = np.array([0.0, 2, 3, 4, 5, 6, 7, 8, 10, 14, 20, 40, 100, 1e6])


@dataclass(frozen=True)
class Ground:
    """An image to put sources into, its PSF and the reference files of it, and its catalogue as it is."""

    picture: Picture
    psf: PsfGrid
    base: Measurement
    filter_name: str
    drops: Drops = field(default_factory=Drops)
    evened: Evened | None = None
    references: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Exposed:
    """An L2 image with the ramp it is of, and the references that it was calibrated with."""

    image: RateImage
    ramp: Ramp
    store: ReferenceStore


@dataclass(frozen=True)
class Trial:
    """What was put into an image and what it added, the catalogue after it, and what was found of it.

    ``told`` is what products say of it.
    """

    planned: Table
    added: tuple[Light, ...]
    again: Again
    matches: Matches
    filter_name: str
    told: Mapping[str, Any]

    @cached_property
    def selection(self) -> Selection:
        """The selection function of this image alone."""
        return selection_of(self.matches, self.filter_name, self.told)


def ground_of_mosaic(
    mosaic: Mosaic, store: ReferenceStore, *, detector: str | None = None, threads: int = 2
) -> Ground:
    """Return what sources are put into; the PSF as ``catalog.mosaic_catalog`` has it."""
    seen = catalog.mosaic_picture(mosaic)
    if seen.unusable.all():
        raise InputError("the mosaic has no pixel with light in it")
    psf, evened, files = catalog.psf_of_mosaic(mosaic, store, detector=detector, threads=threads)
    base = measuring.measure(seen, psf, _untold, threads=threads, evened=evened)
    drops = inject.drops_of(mosaic, seen.scale_arcsec)
    return Ground(seen, psf, base, mosaic.meta.filter_name, drops, evened, files)


def ground_of_image(
    image: RateImage, store: ReferenceStore, *, ipc: bool | None = None, threads: int = 2
) -> Ground:
    """Return what sources are put into; the PSF as ``catalog.catalog`` has it."""
    catalog.require_calibrated(image)
    seen = catalog.picture(image)
    psf, files = psf_of(image.meta, store, ipc=ipc)
    base = measuring.measure(seen, psf, _untold, threads=threads)
    return Ground(seen, psf, base, image.meta.filter_name, references=files)


def trial(
    ground: Ground,
    renderer: Renderer,
    *,
    seed: int,
    number: int | None = None,
    ranges: Ranges | None = None,
    bodies: Bodies | None = None,
    noisy: bool = True,
    own: Mapping[str, Any] | None = None,
) -> Trial:
    """Put sources into ``ground`` and return what became of them; ``own`` is told of it beside the plan.

    They are the ``bodies`` of a catalogue, or ``number`` drawn from ``ranges`` (less than 1 % of the image's
    own sources, if not said). Raises what ``injections`` and ``inject.lights`` raise.
    """
    planned, told = _plan(ground, seed=seed, number=number, ranges=ranges, bodies=bodies)
    told |= own or {}
    added = inject.lights(
        ground.picture, planned, ground.psf, renderer, seed=seed, noisy=noisy, drops=ground.drops,
        evened=ground.evened,
    )  # fmt: skip
    return _outcome(ground, ground.picture, planned, added, told=told)


def ramp_trial(
    ground: Ground,
    exposed: Exposed,
    renderer: Renderer,
    *,
    seed: int,
    number: int | None = None,
    ranges: Ranges | None = None,
    bodies: Bodies | None = None,
    own: Mapping[str, Any] | None = None,
) -> tuple[Trial, RateImage]:
    """As ``trial``, with photons put into the ramp: return what became of them, and the image refitted.

    Raises what ``exposure.recalibrate`` raises, too.
    """
    planned, told = _plan(ground, seed=seed, number=number, ranges=ranges, bodies=bodies)
    told |= {"ramp": True, **(own or {})}
    light = inject.lights(ground.picture, planned, ground.psf, renderer, seed=seed, noisy=False)
    ramp, touched = into_ramp(exposed.ramp, light, exposed.store, seed=seed)
    image = recalibrate(ramp, exposed.image, touched, exposed.store)
    added = [inject.difference(exposed.image, image, each) for each in light]
    picture = replace(ground.picture, dq=image.dq)
    made = _outcome(ground, picture, planned, added, told=told)
    return made, inject.telling(image, added, told=told)


def _plan(
    ground: Ground, *, seed: int, number: int | None, ranges: Ranges | None, bodies: Bodies | None
) -> tuple[Injections, dict[str, Any]]:
    """Return what is put in, and what products say of it."""
    if bodies is not None:
        return injections.of_catalog(bodies, ground.picture), {"seed": seed}
    ranges = ranges or Ranges()
    number = number or injections.default_number(len(ground.base.table))
    planned = injections.on_grid(ground.picture, number, seed=seed, ranges=ranges)
    return planned, injections.told(ranges, seed=seed)


def _outcome(
    ground: Ground, picture: Picture, planned: Injections, added: list[Light], *, told: dict[str, Any]
) -> Trial:
    """Return what became of ``added``; ``picture`` is the ground's, but for its flags."""
    again = recatalog.recatalog(ground.base, picture, ground.psf, added, evened=ground.evened)
    table = injections.table(planned, ground.filter_name, told)
    table["magnitude"], table["flux_njy"] = planned.magnitude, planned.flux_jy * 1e9
    table["snr"] = [expected_snr(ground, each) for each in added]
    found = matches.matched(
        table, ground.base.table, again.table, again.new, scale_arcsec=picture.scale_arcsec
    )
    return Trial(table, tuple(added), again, found, ground.filter_name, told)


def expected_snr(ground: Ground, added: Light) -> float:
    """Return the significance that a source has in the matched filter but for noise, neighbours and place."""
    stamp, sky = ground.base.stamp, ground.base.skies[0]
    room = stamp.shape[0] // 2
    light = np.pad(added.light, room)
    behind = sky.variance[added.rows, added.columns]
    variance = np.full(light.shape, float(np.median(behind)) if behind.size else 1.0, np.float32)
    usable = np.ones(light.shape, np.bool_)
    filtered = significance(light, variance, usable, stamp)
    filtered /= np.float32(np.sqrt(sky.correlation.over_weights(stamp.astype(np.float64))))
    y, x = np.divmod(np.array([np.argmax(filtered)]), filtered.shape[1])
    top = float(detect.between_pixels(filtered, y, x, ground.base.between)[0])
    # That is less by 1/top what a free place gains by noise, of which there is none here.
    return (top + float(np.hypot(top, 2.0))) / 2


def selection_of(found: Matches, filter_name: str, told: Mapping[str, Any]) -> Selection:
    """Return which share of the injections was found; ambiguous matches count neither way."""
    sure = found.table[~np.asarray(found.table["ambiguous"], dtype=bool)]
    at = np.column_stack([sure["magnitude"], sure["half_light_radius"], np.clip(sure["snr"], 0, SNR[-1] - 1)])
    seen = np.asarray(sure["found"], dtype=bool)
    edges = (MAGNITUDES, RADII_ARCSEC, SNR)
    injected, seen_again = (np.histogramdd(each, edges)[0].astype(np.int64) for each in (at, at[seen]))
    return Selection(
        filter_name, MAGNITUDES, RADII_ARCSEC, SNR, injected=injected, found=seen_again, told=dict(told)
    )


def selection_of_none(filter_name: str, told: Mapping[str, Any]) -> Selection:
    """Return the selection function of an image into which nothing was put."""
    edges = (MAGNITUDES, RADII_ARCSEC, SNR)
    none = np.zeros([len(each) - 1 for each in edges], np.int64)
    return Selection(filter_name, *edges, injected=none, found=none, told=dict(told))


def _untold(_name: str) -> nullcontext[None]:
    return nullcontext()
