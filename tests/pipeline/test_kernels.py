"""Compiled kernels: the same numbers from any number of threads and from forked workers."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from tests.support import pipeline as build

from nexus_pipeline import bands
from nexus_pipeline.products.model import RateImage
from nexus_pipeline.steps import ramp_fitting

SHAPE = (200, 136)


def fitted(seed: int) -> RateImage:
    ramp = build.working_ramp(build.noisy_ramps(np.full(SHAPE, 1.0), seed=seed))
    return ramp_fitting.fit(ramp, build.gain(SHAPE), build.read_noise(SHAPE))


def fitted_rate(seed: int) -> np.ndarray:
    return fitted(seed).rate


def test_four_threads_at_once_get_what_one_gets() -> None:
    alone = [fitted_rate(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for expected, together in zip(alone, pool.map(fitted_rate, range(4)), strict=True):
            np.testing.assert_array_equal(together, expected)


# Forking a process with threads is what is tried here.
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_two_forked_workers_get_what_one_gets() -> None:
    alone = [fitted_rate(seed) for seed in range(2)]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        for expected, together in zip(alone, pool.map(fitted_rate, range(2), timeout=120), strict=True):
            np.testing.assert_array_equal(together, expected)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("n_rows", [1, 64, 65, 200])
def test_bands_cover_every_row_once(n_rows: int, threads: int) -> None:
    seen = np.zeros(n_rows, int)

    def work(first: int, last: int) -> None:
        seen[first:last] += 1

    bands.over_rows(work, n_rows, threads=threads)
    assert (seen == 1).all()


def test_what_goes_wrong_in_a_band_is_not_lost() -> None:
    def work(first: int, last: int) -> None:
        raise ValueError(f"rows {first} to {last}")

    with pytest.raises(ValueError, match="rows 0 to 32"):
        bands.over_rows(work, 200)
