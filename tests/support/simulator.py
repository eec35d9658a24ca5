"""PSFs that can be written down, and small scenes for the simulator and the measurements."""

from dataclasses import replace
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.special import erf
from tests.support import pipeline as build

from nexus_pipeline.products.model import Photometry, Pointing, RateImage
from nexus_pipeline.products.tree import OWN_KEY
from nexus_pipeline.psf.grid import PsfGrid, from_reference
from nexus_pipeline.references import kinds
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.sky import wcs
from nexus_pipeline.sky.distortion import synthetic_distortion

OVERSAMPLE, SIGMA = 4, 0.8
ACTIVE = build.SMALL - 8

Floats = NDArray[np.float64]


def gaussian_fraction(x: Floats, y: Floats, sigma: float = SIGMA) -> Floats:
    """Return the share of a Gaussian star's light in the pixel (x, y) from it: the exact integral."""
    scale = sigma * np.sqrt(2)
    across = (erf((x + 0.5) / scale) - erf((x - 0.5) / scale)) / 2
    return np.asarray(across * (erf((y + 0.5) / scale) - erf((y - 0.5) / scale)) / 2)


def epsf(
    *, growth: float = 0.0, size: int = 121, active: int = ACTIVE, sigma: float = SIGMA
) -> kinds.EpsfReference:
    """Return a Gaussian ePSF whose width grows by ``growth`` from the left edge to the right."""
    axis = (np.arange(size) - size // 2) / OVERSAMPLE
    x, y = np.meshgrid(axis, axis)
    positions = [share * (active - 1) for share in (0.0, 0.5, 1.0)]
    stamps = [
        gaussian_fraction(x, y, sigma * (1 + growth * at / (active - 1)))
        for _ in positions
        for at in positions
    ]
    return kinds.EpsfReference(
        detector=build.DETECTOR,
        filter_name=build.FILTER,
        psf=np.array(stamps, dtype=np.float32)[None, None],
        pixel_x=tuple(at for _ in positions for at in positions),
        pixel_y=tuple(at for at in positions for _ in positions),
        oversample=OVERSAMPLE,
        includes=("pixel",),
        total=float(OVERSAMPLE**2),
    )


def grid(**arguments: Any) -> PsfGrid:
    return from_reference(epsf(**arguments))


def store(url: str) -> ReferenceStore:
    """Return a store of small references with a Gaussian ePSF."""
    return build.small_store(url).add([epsf()])


def grid_of_stars(n: int, pitch: float, *, jitter: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return n² positions a ``pitch`` apart, each moved by up to ``jitter`` pixels."""
    nodes = (np.arange(n) + 0.5) * pitch
    x, y = np.meshgrid(nodes, nodes)
    return x.ravel() + rng.uniform(-jitter, jitter, n * n), y.ravel() + rng.uniform(-jitter, jitter, n * n)


def star_table(ra: Floats, dec: Floats, magnitude: Floats) -> Table:
    table = Table({"ra": ra, "dec": dec, "type": ["PSF"] * len(ra)})
    table[f"mag_{build.FILTER}"] = magnitude
    return table


def calibrated(rate: NDArray[Any], **changes: Any) -> RateImage:
    """Return an L2 image with world coordinates and photometry, of pixels that do not couple (no IPC)."""
    image = build.rate_image(rate)
    image = replace(image, meta=replace(image.meta, carried={OWN_KEY: {"ipc": False}}))
    transform = synthetic_distortion(build.DETECTOR)
    size = rate.shape[0]
    return replace(
        image,
        wcs=wcs.build(transform, image.meta.pointing, size=size),
        photometry=Photometry(0.5, 0.005, 2.84e-13),
        **changes,
    )


def pointed(image: RateImage, pointing: Pointing) -> RateImage:
    """Return ``image`` with the world coordinates of another pointing."""
    built = wcs.build(synthetic_distortion(build.DETECTOR), pointing, size=image.rate.shape[0])
    return replace(image, wcs=built, s_region=wcs.s_region(built, size=image.rate.shape[0]))
