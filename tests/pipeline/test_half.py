"""Half precision: as numpy rounds, clipped to what a half can hold."""

import numpy as np

from nexus_pipeline.products.half import half

EVERY_HALF = np.arange(2**16, dtype=np.uint16).view(np.float16)


def as_numpy_does(values: np.ndarray) -> np.ndarray:
    return np.clip(values, -65504, 65504).astype(np.float16)


def test_every_half_its_neighbours_and_the_middles_are_rounded_as_numpy_rounds_them() -> None:
    exact = np.sort(EVERY_HALF[np.isfinite(EVERY_HALF)].astype(np.float32))
    middles = (exact[1:] + exact[:-1]) / 2
    values = np.concatenate(
        [exact, middles, *(np.nextafter(middles, np.float32(to)) for to in (-np.inf, np.inf))]
    )
    plane = values[None, :]
    assert np.array_equal(half(plane).view(np.uint16), as_numpy_does(plane).view(np.uint16))


def test_values_of_any_size_in_many_bands_are_rounded_as_numpy_rounds_them() -> None:
    rng = np.random.default_rng(3)
    plane = (rng.normal(size=(200, 77)) * 10 ** rng.uniform(-9, 6, (200, 77))).astype(np.float32)
    assert np.array_equal(half(plane), as_numpy_does(plane))


def test_infinities_are_clipped_and_what_is_no_number_stays_none() -> None:
    told = half(np.array([[np.inf, -np.inf, np.nan, 1e9]], np.float32))
    assert told[0, :2].tolist() == [65504, -65504]
    assert np.isnan(told[0, 2])
    assert told[0, 3] == 65504
