"""The errors of centroids are the scatter of centroids."""

import numpy as np

from nexus_pipeline.measure import centroid_errors

SHAPE, CENTRE, SIGMA_PX, NOISE = (21, 21), (10.2, 9.7), 1.8, 1.0
DRAWS = 2000
# The standard deviation of n draws has a relative standard error of 1/sqrt(2 n): 1.6 %; three of them.
TOLERANCE = 3 / np.sqrt(2 * DRAWS)


def star_of(flux: float) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    shape = np.exp(-0.5 * ((x - CENTRE[0]) ** 2 + (y - CENTRE[1]) ** 2) / SIGMA_PX**2)
    return flux * shape / shape.sum()


def test_the_error_of_a_centre_of_mass_is_its_scatter() -> None:
    rng = np.random.default_rng(7)
    star = star_of(flux=4000.0)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    inside = (x - 10) ** 2 + (y - 10) ** 2 <= 36
    images = star + rng.normal(0, NOISE, (DRAWS, *SHAPE))
    weights = images * inside
    found = np.column_stack([(weights * axis).sum((1, 2)) / weights.sum((1, 2)) for axis in (x, y)])
    errors = centroid_errors.of_centroids(
        inside.astype(np.int32),
        star.astype(np.float32),
        np.full(SHAPE, NOISE, np.float32),
        at=found.mean(axis=0)[None],
    )[0]
    print(f"scatter {found.std(axis=0)}, errors {errors}, tolerance {TOLERANCE:.3f}")
    np.testing.assert_allclose(errors, found.std(axis=0), rtol=TOLERANCE)


def test_a_wide_window_changes_nothing_but_the_step() -> None:
    labels = np.ones(SHAPE, np.int32)
    image, error = star_of(4000.0).astype(np.float32), np.full(SHAPE, NOISE, np.float32)
    at = np.array([CENTRE])
    plain = centroid_errors.of_centroids(labels, image, error, at=at)
    windowed = centroid_errors.of_windowed(labels, image, error, at=at, width=np.array([1e6]))
    np.testing.assert_allclose(windowed, 2 * plain, rtol=1e-6)


def test_a_source_without_flux_has_no_error() -> None:
    labels = np.ones(SHAPE, np.int32)
    errors = centroid_errors.of_centroids(
        labels, np.zeros(SHAPE, np.float32), np.ones(SHAPE, np.float32), at=np.array([CENTRE])
    )
    assert np.isnan(errors).all()
