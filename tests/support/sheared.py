"""Galaxies in pairs that are turned by 90° from each other and sheared alike, on a grid of places."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.measure import correlation, shapes, sources
from nexus_pipeline.psf.grid import PsfGrid
from nexus_pipeline.simulate import galaxies

Floats = NDArray[np.float64]
Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Kind:
    """Which galaxies: Sérsic indices, half-light radii (pixels, from and to), largest ellipticity g."""

    indices: tuple[float, ...]
    radii: tuple[float, float]
    longest: float = 0.5


@dataclass(frozen=True)
class Scene:
    """An image of galaxies of unit light at ``x``, ``y``: the second half are the first, turned."""

    image: Plane
    x: Floats
    y: Floats


def scene(
    psf: PsfGrid, kind: Kind, *, shear: complex, side: int, pitch: int, rng: np.random.Generator
) -> Scene:
    """Return ``side``² galaxies; with one state of ``rng`` they are the same ones whatever the shear."""
    n = side * side
    at = (np.arange(side) + 0.5) * pitch
    x, y = (each.ravel() + rng.uniform(-0.5, 0.5, n) for each in np.meshgrid(at, at))
    own = rng.uniform(0, kind.longest, n // 2) * np.exp(2j * rng.uniform(0, np.pi, n // 2))
    radius, index = rng.uniform(*kind.radii, n // 2), rng.choice(kind.indices, n // 2)
    shape = np.concatenate([stretch(own), stretch(-own)]) * np.tile(radius, 2)[:, None, None]
    drawn = galaxies.Galaxies(x, y, np.ones(n), np.tile(index, 2), stretch(np.array([shear])) @ shape)
    image = np.zeros((side * pitch, side * pitch), np.float32)
    sizes = np.full(n, max(size for size in galaxies.STAMP_SIZES if size <= 2 * pitch))
    galaxies.add_galaxies(image, drawn, psf, sizes=sizes, threads=1)
    return Scene(image, x, y)


def stretch(g: NDArray[np.complex128]) -> Floats:
    """Return the maps (n, 2, 2) of unit determinant that make a circle an ellipse of g."""
    one, two = g.real, g.imag
    matrix = np.array([[1 + one, two], [two, 1 - one]]) / np.sqrt(1 - np.abs(g) ** 2)
    return np.moveaxis(matrix, -1, 0)


def measured(seen: Scene, star: Plane, *, signal: float, rng: np.random.Generator) -> shapes.Shapes:
    """Return the shapes of galaxies whose matched signal over noise is ``signal`` in the mean."""
    n = len(seen.x)
    sigma = float(np.sqrt(np.sum(seen.image.astype(np.float64) ** 2) / n)) / signal
    image = seen.image + sigma * rng.standard_normal(seen.image.shape, dtype=np.float32)
    field = sources.Field(
        image.astype(np.float32),
        np.full(image.shape, sigma**2, np.float32),
        np.zeros(image.shape, np.bool_),
        np.zeros(image.shape, np.int32),
        correlation.independent(),
    )
    ones = np.ones(n)
    found = sources.Segments(
        box=np.zeros((n, 4), np.int32), area=ones, flux=ones, flux_err=ones / signal,
        x=np.rint(seen.x), y=np.rint(seen.y), x_err=ones, y_err=ones, xx=6 * ones, xy=0 * ones, yy=6 * ones,
    )  # fmt: skip
    return shapes.shapes(field, found, shapes.Star(star), threads=1)


def mean_of_pairs(values: Floats) -> Floats:
    """Return the means of galaxies and their turned twins; NaN where either has none."""
    return np.asarray(values.reshape(2, -1).mean(axis=0))
