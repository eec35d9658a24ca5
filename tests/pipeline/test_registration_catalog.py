"""The stars that registration goes by: bright, unsaturated, isolated, at the right place."""

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support import simulator as scene

from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.products.model import RateImage
from nexus_pipeline.recipes.registration_catalog import StarPositions, find_stars

SIZE, SKY, READ_SIGMA = scene.ACTIVE, 0.6, 0.02
LIGHT_PER_VARIANCE = 1.8 * 139  # electrons per DN/s: gain times seconds
Floats = NDArray[np.float64]


def image_of(x: Floats, y: Floats, flux: Floats, *, seed: int, sky: float = SKY) -> RateImage:
    """Return an L2 image of stars with the noise of photons and reads, seeded."""
    truth = np.full((SIZE, SIZE), sky, dtype=np.float32)
    scene.grid().add_to(truth, x, y, flux, radii=np.full(len(x), 12))
    noise = np.random.default_rng(seed).standard_normal(truth.shape)
    rate = truth + noise * np.sqrt(truth / LIGHT_PER_VARIANCE + READ_SIGMA**2)
    photons = np.maximum(rate, 0) / LIGHT_PER_VARIANCE
    return scene.calibrated(
        rate, var_poisson=photons.astype(np.float32), var_rnoise=np.full_like(truth, READ_SIGMA**2)
    )


def stars(seed: int, flux: float, n: int = 9) -> tuple[Floats, Floats, Floats]:
    x, y = scene.grid_of_stars(n, SIZE / n, jitter=2.0, rng=np.random.default_rng(seed))
    return x, y, np.full(len(x), flux)


def near(found: StarPositions, x: float, y: float) -> bool:
    return bool(np.any(np.hypot(found.x - x, found.y - y) < 0.5))


def test_every_star_is_found_where_it_is_and_its_error_is_true() -> None:
    x, y, flux = stars(1, 100.0)
    found = find_stars(image_of(x, y, flux, seed=2), scene.grid())
    assert len(found) == len(x)
    which = [int(np.argmin(np.hypot(found.x - a, found.y - b))) for a, b in zip(x, y, strict=True)]
    pulls = np.concatenate(
        [(found.x[which] - x) / found.x_err[which], (found.y[which] - y) / found.y_err[which]]
    )
    # 162 numbers: the mean is known to 0.08, the width to 0.06; below 0.01 pixels at S/N 150.
    assert abs(np.mean(pulls)) < 0.25
    assert np.std(pulls) == pytest.approx(1, abs=0.2)
    assert np.median(found.x_err) < 0.01


def test_the_place_within_a_pixel_leaves_no_bias() -> None:
    nodes = np.linspace(-0.5, 0.5, 9)
    at = np.arange(9) * 26.0 + 20
    x, y = np.meshgrid(at + nodes, at)
    flux = np.full(x.size, 1000.0)
    found = find_stars(image_of(x.ravel(), y.ravel(), flux, seed=3), scene.grid())
    for column in range(9):
        here = np.abs(found.x - (at + nodes)[column]) < 0.5
        # Nine stars of S/N 500 a phase: 0.0008 pixels is the mean's error.
        assert np.mean(found.x[here]) - (at + nodes)[column] == pytest.approx(0, abs=0.003)


def test_saturated_bad_and_crowded_stars_are_left_out_and_faint_ones_are_not_seen() -> None:
    x, y = np.array([40.0, 90, 140, 190, 195, 60]), np.array([40.0, 90, 140, 190, 190, 200])
    image = image_of(x, y, np.array([200.0, 200, 200, 200, 150, 0.3]), seed=4)
    image.dq[90, 91] |= DQ.SATURATED
    image.dq[141, 140] |= DQ.DO_NOT_USE
    found = find_stars(image, scene.grid())
    assert near(found, 40, 40)
    for left_out in ((90, 90), (140, 140), (190, 190), (195, 190), (60, 200)):
        assert not near(found, *left_out)


def test_a_sloping_sky_does_not_move_the_stars() -> None:
    x, y, flux = stars(5, 200.0)
    image = image_of(x, y, flux, seed=6)
    sloping = image.rate + np.linspace(0, 2, SIZE, dtype=np.float32)[None, :]
    found = find_stars(scene.calibrated(sloping, var_poisson=image.var_poisson), scene.grid())
    offsets = [found.x[np.argmin(np.hypot(found.x - a, found.y - b))] - a for a, b in zip(x, y, strict=True)]
    # 81 stars of 0.005 pixels each; the slope is 0.008 DN/s a pixel.
    assert np.median(offsets) == pytest.approx(0, abs=0.004)


def test_an_empty_or_dead_image_has_no_stars() -> None:
    none = np.empty(0)
    assert len(find_stars(image_of(none, none, none, seed=7), scene.grid())) == 0
    dead = image_of(none, none, none, seed=8)
    dead.dq[...] = DQ.DO_NOT_USE
    assert len(find_stars(dead, scene.grid())) == 0
