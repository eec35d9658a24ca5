"""The probability of being a star means what it says, on made-up extents."""

import numpy as np
import pytest

from nexus_pipeline.measure.star_probability import probabilities

N, CORE = 20_000, 1.5


def test_of_the_sources_called_stars_with_some_probability_that_share_are_stars() -> None:
    rng = np.random.default_rng(51)
    flux = 10 ** rng.uniform(0, 2, N)
    star = rng.random(N) < np.interp(np.log10(flux), [0, 2], [0.2, 0.7])
    sizes = CORE * 10 ** rng.normal(0.4, 0.25, N)
    error = 0.8 * CORE / flux**0.5
    extent = np.where(star, 0, sizes) + error * rng.standard_normal(N)
    found = probabilities(extent, error, flux, core=CORE)
    for low in np.arange(0, 1, 0.1):
        here = (found >= low) & (found < low + 0.1)
        n, share = np.count_nonzero(here), star[here].mean()
        print(f"{low:.1f}: {n} sources, {found[here].mean():.3f} told, {share:.3f} true")
        # A bin of 400 is uncertain by 0.025.
        assert share == pytest.approx(found[here].mean(), abs=0.05 + 1.5 / n**0.5)
    order = np.argsort(np.argsort(found))
    n_stars = np.count_nonzero(star)
    area = (order[star].mean() - (n_stars - 1) / 2) / (N - n_stars)
    assert area > 0.85


def test_a_source_without_an_extent_has_no_probability() -> None:
    found = probabilities(np.array([np.nan, 0.0]), np.array([1.0, 0.01]), np.array([5.0, 5.0]), core=CORE)
    assert np.isnan(found[0])
    assert found[1] > 0.5
    assert probabilities(np.empty(0), np.empty(0), np.empty(0), core=CORE).size == 0
