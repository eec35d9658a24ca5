import numpy as np
import pytest
from scipy import stats

from nexus_pipeline.simulate import random
from nexus_pipeline.simulate.samplers import fill_normals, fill_poisson, samplers

N_PIXELS, N_READS = 20_000, 7


def stream(seed: int) -> np.ndarray:
    state = np.empty(4, np.uint64)
    random.start(seed, 1, 0, state)
    return state


def poisson_numbers(mean: float, *, seed: int = 3) -> np.ndarray:
    out, tables = np.empty((N_PIXELS, N_READS), np.float32), samplers()
    means = np.full(N_PIXELS, mean / 3.0, np.float32)
    fill_poisson(stream(seed), tables.threshold, tables.second, means, 3.0, out)
    return out


# On a table, between two, just below the last table, and beyond it.
@pytest.mark.parametrize("mean", [0.02, 0.5, 1.546, 7.99, 15.99, 16.5])
def test_poisson_numbers_of_a_pixel_are_poisson_in_each_read(mean: float) -> None:
    numbers = poisson_numbers(mean)
    values = np.arange(stats.poisson.ppf(1e-3, mean), stats.poisson.ppf(1 - 1e-3, mean) + 1)
    expected = stats.poisson.pmf(values, mean) * numbers.size
    found = (numbers[:, :, None] == values).sum(axis=(0, 1))
    expected, found = np.append(expected, numbers.size - expected.sum()), np.append(found, 0)
    found[-1] = numbers.size - found.sum()
    # One test in 10⁴ would fail by chance; the seed is fixed.
    assert stats.chisquare(found, expected).pvalue > 1e-4
    error = np.sqrt(mean / N_PIXELS)
    np.testing.assert_allclose(numbers.mean(axis=0), mean, atol=4 * error)
    apart = np.corrcoef(numbers.T)[np.triu_indices(N_READS, 1)]
    assert np.abs(apart).max() < 4.5 / np.sqrt(N_PIXELS)


def test_no_light_gives_no_electrons() -> None:
    assert not poisson_numbers(0.0).any()


def test_normal_numbers_are_normal_out_to_their_tails() -> None:
    out, tables = np.empty(1_000_000), samplers()
    fill_normals(stream(5), tables.edge, tables.ratio, out)
    # A difference of 0.0023 in the cumulative distribution would have one chance in 10⁴.
    assert stats.kstest(out, "norm").pvalue > 1e-4
    for limit in (2.0, 3.0, 3.4426, 4.0):
        for beyond in ((out > limit).sum(), (out < -limit).sum()):
            expected = stats.norm.sf(limit) * out.size
            assert beyond == pytest.approx(expected, abs=4.5 * np.sqrt(expected))


def test_a_stream_repeats() -> None:
    np.testing.assert_array_equal(poisson_numbers(2.3), poisson_numbers(2.3))
    assert (poisson_numbers(2.3) != poisson_numbers(2.3, seed=4)).any()
