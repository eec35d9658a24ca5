"""inject: sources put into an L2 image or an L3 mosaic, with the noise of their own photons.

Takes a ``Picture``, ``Injections`` and whoever draws them (a ``Renderer``: this recipe knows no simulator);
leaves the light, the noise and the variance that each adds to a box of pixels, and products with them.

How many electrons a unit of light is (gain, exposure time, weights of the ramp fit, depth here) is read
from the product itself: its photon variance over its light around the place. A mosaic's pixels share their
noise: independent noise would be too little in an aperture, or too much in a pixel. It is drawn with what an
aperture collects (Fruchter & Hook 2002, equations 9 and 10) and spread as drops spread light.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.wfi import PIXEL_SCALE_ARCSEC
from nexus_pipeline.products.model import Mosaic, RateImage, StepRecord
from nexus_pipeline.psf.grid import PsfGrid
from nexus_pipeline.recipes.injections import Injections
from nexus_pipeline.recipes.measuring import Evened, Picture

Plane = NDArray[np.float32]
Floats = NDArray[np.float64]

RECIPE: Final = "inject"
OWN_KEY: Final = "injected"
_AROUND: Final = 100
"""Pixels on each side of a source that tell how many electrons its light is."""
_SPILLED: Final = 2
"""How many pixels further saturation is taken to spread by default."""
_UNSEEN_SIGMA: Final = 0.01
"""What a pixel may lack of a source's light, in its noise."""


class Renderer(Protocol):
    """Draws sources of unit light with the PSF of their places.

    Returns for each the first column and row of its stamp and the share of its light in each pixel.
    ``least`` (n,) is a share that need not be drawn.
    """

    def __call__(
        self, sources: Injections, psf: PsfGrid, wcs: Any, *, least: Floats
    ) -> Sequence[tuple[int, int, Plane]]: ...


@dataclass(frozen=True)
class Drops:
    """How a mosaic's pixels share noise: the width of a drop in its pixels; 0 where they do not."""

    width: float = 0.0

    @property
    def noise_ratio(self) -> float:
        """The noise of a large aperture over that of as many independent pixels."""
        r = self.width
        return r / (1 - 1 / (3 * r)) if r > 1 else 1 / (1 - r / 3)

    def spread(self, noise: Floats) -> Floats:
        """Return ``noise`` as drops spread it, all of it kept."""
        if self.width == 0:
            return noise
        half = int(np.ceil(self.width / 2))
        offsets = np.arange(-half, half + 1)
        overlap = np.clip((self.width + 1) / 2 - np.abs(offsets), 0, min(self.width, 1.0))
        for axis in (0, 1):
            noise = correlate1d(noise, overlap / overlap.sum(), axis=axis, mode="constant")
        return noise


@dataclass(frozen=True)
class Light:
    """What one source adds to the pixels ``rows`` × ``columns``: light, its noise (U), its variance (U²)."""

    rows: slice
    columns: slice
    light: Plane
    noise: Plane
    variance: Plane

    @property
    def added(self) -> Plane:
        return self.light + self.noise


def drops_of(mosaic: Mosaic, scale_arcsec: float) -> Drops:
    """Return how the pixels of ``mosaic`` share noise."""
    return Drops(float(mosaic.meta.resample.get("pixfrac", 1.0)) * PIXEL_SCALE_ARCSEC / scale_arcsec)


def lights(
    picture: Picture,
    sources: Injections,
    psf: PsfGrid,
    renderer: Renderer,
    *,
    seed: int,
    noisy: bool = True,
    drops: Drops | None = None,
    evened: Evened | None = None,
) -> list[Light]:
    """Return what each of ``sources`` adds to ``picture``; the noise of each has random numbers of its own.

    Pixels not to be used get nothing. Where stars have PSFs of their own (``evened``), they are drawn with
    these within a fit's window; galaxies are drawn with the mean. InputError where the image tells no
    electrons: without its sky.
    """
    columns, rows = np.rint(sources.x).astype(int), np.rint(sources.y).astype(int)
    flux = sources.flux_jy * 1e9 / picture.to_njy[rows, columns]
    around = [_surroundings(picture, *at) for at in zip(columns, rows, strict=True)]
    least = _UNSEEN_SIGMA * np.array([each.sigma for each in around]) / flux
    stamps = renderer(sources, psf, picture.wcs, least=least)
    drops = drops or Drops()
    made = []
    for k, (first_x, first_y, share) in enumerate(stamps):
        light = flux[k] * share.astype(np.float64)
        if evened is not None and sources.is_star[k]:
            light += _beside_the_mean(evened, light.shape, sources, k, first=(first_x, first_y)) * flux[k]
        noise = np.zeros_like(light)
        if noisy:
            noise = _noise(light, around[k], drops, np.random.default_rng([seed, 1, k]))
        variance = np.maximum(light, 0) * around[k].photon_variance
        made.append(_on(picture, first_x, first_y, planes=(light, noise, variance)))
    return made


def into_mosaic(mosaic: Mosaic, added: Sequence[Light], *, told: dict[str, Any]) -> Mosaic:
    """Return ``mosaic`` with ``added``; ``told`` says in the product what they are and where from."""
    data, poisson = _with(mosaic.data, mosaic.var_poisson, added)
    total = poisson + mosaic.var_rnoise
    if mosaic.var_flat is not None:
        total += mosaic.var_flat
    own = {**_of_another(mosaic.meta.own), OWN_KEY: _own(added, told)}
    return replace(
        mosaic, meta=replace(mosaic.meta, own=own), data=data, var_poisson=poisson, err=np.sqrt(total)
    )


def into_image(image: RateImage, added: Sequence[Light], *, told: dict[str, Any]) -> RateImage:
    """Return an L2 ``image`` with ``added``: as if its ramps had held them, the noise drawn anew.

    What only the ramp could tell (jumps, saturation, χ²) stays as it was.
    """
    rate, poisson = _with(image.rate, image.var_poisson, added)
    made = replace(image, rate=rate, var_poisson=poisson, err=np.sqrt(poisson + image.var_rnoise))
    return telling(made, added, told=told)


def telling(image: RateImage, added: Sequence[Light], *, told: dict[str, Any]) -> RateImage:
    """Return ``image`` whose provenance says that ``added`` is in it."""
    before = image.provenance
    record = StepRecord(RECIPE, "COMPLETE", parameters=_own(added, told))
    return replace(
        image, provenance=replace(before, steps=(*before.steps, record), own=_of_another(before.own))
    )


def difference(before: RateImage, after: RateImage, light: Light) -> Light:
    """Return what ``after`` has beside ``before`` about ``light``, which its noise is told against."""
    rows, columns = (
        slice(max(each.start - _SPILLED, 0), each.stop + _SPILLED) for each in (light.rows, light.columns)
    )
    rate, variance = after.rate[rows, columns] - before.rate[rows, columns], after.var_poisson[rows, columns]
    expected = np.zeros_like(rate)
    inside = np.s_[light.rows.start - rows.start :, light.columns.start - columns.start :]
    height, width = light.light.shape
    expected[inside][:height, :width] = light.light
    return Light(rows, columns, expected, rate - expected, variance - before.var_poisson[rows, columns])


def _of_another(own: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a product says of its making, for one that is made of it: without the fingerprint."""
    return {key: value for key, value in own.items() if key != "fingerprint"}


def _own(added: Sequence[Light], told: dict[str, Any]) -> dict[str, Any]:
    return {"recipe": RECIPE, "software": version("nexus-pipeline"), "sources": len(added), **told}


def _with(rate: Plane, variance: Plane, added: Sequence[Light]) -> tuple[Plane, Plane]:
    rate, variance = rate.copy(), variance.copy()
    for each in added:
        rate[each.rows, each.columns] += each.added
        variance[each.rows, each.columns] += each.variance
    return rate, variance


@dataclass(frozen=True)
class _Surroundings:
    """The noise of a pixel (U) around a place, and its photon variance per light (U)."""

    sigma: float
    photon_variance: float


def _surroundings(picture: Picture, column: int, row: int) -> _Surroundings:
    rows, columns = (slice(max(at - _AROUND, 0), at + _AROUND + 1) for at in (row, column))
    seen = picture.cut((rows, columns))
    rate, poisson, reads = seen.rate, seen.var_poisson, seen.var_rnoise
    good = ~seen.unusable & np.isfinite(poisson) & np.isfinite(reads)
    light = float(rate[good].sum(dtype=np.float64))
    if not light > 0:
        raise InputError(
            f"the image around pixel {column}, {row} has no light left (was its sky taken off?): "
            "that tells how many electrons a source is"
        )
    sigma = float(np.sqrt(np.median((poisson + reads)[good])))
    return _Surroundings(sigma, float(poisson[good].sum(dtype=np.float64)) / light)


def _on(picture: Picture, first_x: int, first_y: int, *, planes: tuple[Floats, Floats, Floats]) -> Light:
    """Return what of a stamp lies on usable pixels of ``picture``."""
    (ny, nx), (height, width) = picture.rate.shape, planes[0].shape
    rows = slice(max(first_y, 0), min(first_y + height, ny))
    columns = slice(max(first_x, 0), min(first_x + width, nx))
    inside = np.s_[
        rows.start - first_y : rows.stop - first_y, columns.start - first_x : columns.stop - first_x
    ]
    good = ~picture.cut((rows, columns)).unusable
    return Light(rows, columns, *(np.where(good, each[inside], 0).astype(np.float32) for each in planes))


def _beside_the_mean(
    evened: Evened, shape: tuple[int, ...], sources: Injections, k: int, *, first: tuple[int, int]
) -> Plane:
    """Return what a star of unit flux has beside one of the mean PSF."""
    at, nothing = slice(k, k + 1), np.zeros(shape, np.float32)
    return evened(nothing, sources.x[at], sources.y[at], np.array([-1.0]), first=first, fitted=0)


def _noise(light: Floats, around: _Surroundings, drops: Drops, rng: np.random.Generator) -> Floats:
    """Return the noise of the photons that make ``light``."""
    per_electron = around.photon_variance * drops.noise_ratio**2
    if not per_electron > 0:
        return np.zeros_like(light)
    electrons = np.maximum(light, 0) / per_electron
    return drops.spread((rng.poisson(electrons) - electrons) * per_electron)
