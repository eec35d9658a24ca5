"""The likelihood fit against dense algebra, against the best possible error, and against stcal.

Statistical tolerances are at least 3.5 standard errors of the quantity, reckoned beside them.
"""

from dataclasses import replace

import numpy as np
import pytest
from tests.support import pipeline as build
from tests.support.oracle import stcal

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.ma_table import IMAGING, SHORT_IMAGING, MATable
from nexus_pipeline.products.model import RateImage, WorkingRamp
from nexus_pipeline.steps import ramp_fitting

GAPS = MATable("gaps", 9, ((1,), (3, 4), (6, 7, 8, 9), (12,), (15, 17), (20, 21, 24)))
"""Resultants of 1, 2 and 4 reads, with reads skipped between and within them."""


def fit(ramp: WorkingRamp, **options: float) -> RateImage:
    shape = ramp.data.shape[1:]
    return ramp_fitting.fit(ramp, build.gain(shape), build.read_noise(shape), **options)


def covariance(table: MATable, rate: float) -> np.ndarray:
    """Return the covariance of the resultants (DN²), from that of all their reads."""
    means = np.zeros((table.n_resultants, table.n_reads))
    for i, reads in enumerate(table.read_pattern):
        means[i, np.array(reads) - 1] = 1 / len(reads)
    times = np.arange(1, table.n_reads + 1) * table.read_time_s
    reads = rate / build.GAIN * np.minimum.outer(times, times) + build.READ_NOISE**2 * np.eye(table.n_reads)
    return means @ reads @ means.T


def best_error(table: MATable, rate: float) -> float:
    """Return the Cramér-Rao bound of a slope (DN/s) with an unknown offset, the covariance known."""
    design = np.stack([np.ones(table.n_resultants), table.mean_times_s], axis=1)
    information = design.T @ np.linalg.solve(covariance(table, rate), design)
    return float(np.linalg.inv(information)[1, 1] ** 0.5)


def dense_fit(table: MATable, resultants: np.ndarray, used: np.ndarray) -> tuple[float, float, float]:
    """Return slope, error and χ² of one ramp: the median gives the first covariance, a fit the second."""
    step = np.diff(np.eye(table.n_resultants), axis=0)
    both = (used[1:] & used[:-1]).nonzero()[0]
    differences, times = (step @ resultants)[both], (step @ table.mean_times_s)[both]
    slope = np.median(differences / times)
    for _ in range(2):
        inverse = np.linalg.inv((step @ covariance(table, max(slope, 0)) @ step.T)[np.ix_(both, both)])
        error = (times @ inverse @ times) ** -0.5
        slope = times @ inverse @ differences * error**2
    rest = differences - slope * times
    return slope, error, rest @ inverse @ rest


@pytest.mark.parametrize("table", [IMAGING, SHORT_IMAGING, GAPS])
def test_any_choice_of_resultants_is_fitted_as_dense_algebra_does(table: MATable) -> None:
    shape, rng = (24, 24), np.random.default_rng(31)
    ramp = build.working_ramp(
        build.noisy_ramps(10 ** rng.uniform(-1, 2.5, shape), seed=32, ma_table=table), ma_table=table
    )
    ramp.resultant_dq[...] = np.where(rng.random(ramp.data.shape) < 0.15, DQ.DO_NOT_USE, 0)
    image = fit(ramp, jump_threshold_sigma=np.inf)
    compared = 0
    for y, x in np.ndindex(16, 16):
        used = ramp.resultant_dq[:, y + 4, x + 4] == 0
        if image.dq[y, x]:
            assert not (used[1:] & used[:-1]).any()
            continue
        slope, error, chisq = dense_fit(table, ramp.data[:, y + 4, x + 4].astype(float), used)
        # 65 000 DN in single precision are known to 0.004 DN.
        assert image.rate[y, x] == pytest.approx(slope, abs=1e-3 * error)
        assert image.err[y, x] == pytest.approx(error, rel=1e-5)
        assert image.chisq[y, x] == pytest.approx(chisq, rel=1e-3, abs=1e-3)
        compared += 1
    assert compared > 200


def test_a_ramp_that_saturates_is_the_shorter_ramp() -> None:
    shape = (40, 40)
    shorter = MATable("first six", 9, IMAGING.read_pattern[:6])
    whole = build.working_ramp(build.noisy_ramps(np.full(shape, 30.0), seed=33))
    first = replace(
        build.working_ramp(whole.data[:6], ma_table=shorter), resultant_dq=whole.resultant_dq[:6].copy()
    )
    whole.data[6:] = 60_000
    whole.resultant_dq[6:] = DQ.SATURATED
    for name in ("rate", "err", "var_poisson", "var_rnoise", "chisq", "dumo", "dq"):
        np.testing.assert_array_equal(getattr(fit(whole), name), getattr(fit(first), name))


@pytest.mark.parametrize("table", [IMAGING, GAPS])
@pytest.mark.parametrize("rate", [0.05, 0.5, 5.0, 50.0])
def test_slopes_are_unbiased_and_as_good_as_can_be(table: MATable, rate: float) -> None:
    shape = (258, 258)
    ramp = build.working_ramp(
        build.noisy_ramps(np.full(shape, rate), seed=34, ma_table=table), ma_table=table
    )
    image = fit(ramp, jump_threshold_sigma=np.inf)
    n, bound = image.rate.size, best_error(table, rate)
    bias, width = (image.rate.mean() - rate) / bound, image.rate.std() / bound
    quoted = np.mean(image.err**2) ** 0.5 / bound
    print(f"bias {bias:+.4f} ± {n**-0.5:.4f} σ, width {width:.4f} ± {(2 * n) ** -0.5:.4f}, err {quoted:.4f}")
    # 62 500 pixels: the mean is known to 0.4 %, the width to 0.3 %.
    assert abs(bias) < 3.5 * n**-0.5
    assert width == pytest.approx(1, abs=0.02)
    assert quoted == pytest.approx(1, abs=0.02)
    # As many degrees of freedom as differences, less the slope: 6 standard errors of their mean.
    dof = table.n_resultants - 2
    assert image.chisq.mean() == pytest.approx(dof, abs=6 * (2 * dof / n) ** 0.5)


def deposit_errors(table: MATable, rate: float) -> np.ndarray:
    """Return the error (DN) of what falls in before each read but the first, slope and offset unknown.

    It is the best that a search could do that knew the read: what "10 σ" means.
    """
    inverse = np.linalg.inv(covariance(table, rate))
    errors = []
    for read in range(2, table.n_reads + 1):
        share = [np.mean(np.array(reads) >= read) for reads in table.read_pattern]
        design = np.stack([np.ones(table.n_resultants), table.mean_times_s, share], axis=1)
        errors.append(np.linalg.inv(design.T @ inverse @ design)[2, 2] ** 0.5)
    return np.array(errors)


@pytest.mark.parametrize("rate", [0.1, 1.0, 50.0])
def test_ninety_nine_of_a_hundred_jumps_of_ten_sigma_are_found(rate: float) -> None:
    shape = (408, 408)
    read = np.random.default_rng(35).integers(2, IMAGING.n_reads + 1, shape)
    jumps = np.zeros((IMAGING.n_reads, *shape))
    np.put_along_axis(
        jumps, read[None] - 1, 10 * build.GAIN * deposit_errors(IMAGING, rate)[read - 2][None], axis=0
    )
    image = fit(build.working_ramp(build.noisy_ramps(np.full(shape, rate), seed=36, jumps=jumps)))
    found = np.mean(image.dq & DQ.JUMP_DET != 0)
    error = (0.01 / image.dq.size) ** 0.5
    print(f"{rate} DN/s: {found:.5f} of 160 000 found (a share of 0.99 is known to {error:.5f})")
    assert found >= 0.99
    # What is left of the deposits is less than the slope's error.
    assert abs(np.median((image.rate - rate) / best_error(IMAGING, rate))) < 0.2


def test_at_most_three_jumps_in_a_million_pixels_are_none() -> None:
    shape, seen, n = (716, 716), 0, 0
    for seed, rate in enumerate((0.05, 0.5, 5.0, 50.0)):
        image = fit(build.working_ramp(build.noisy_ramps(np.full(shape, rate), seed=40 + seed)))
        seen += np.count_nonzero(image.dq & DQ.JUMP_DET)
        n += image.dq.size
    print(f"{seen / n * 1e6:.2f} ± {max(seen, 1) ** 0.5 / n * 1e6:.2f} false jumps in 10⁶ pixels")
    # 3 in 10⁶ would be 6 here, known to 2.4; a Gaussian's 5.5 σ in 13 trials gives one.
    assert seen / n <= 3e-6


def test_a_value_that_is_no_number_spoils_its_differences_only() -> None:
    ramp = build.working_ramp(build.straight_ramps(np.full((140, 140), 10.0)))
    ramp.data[4, 50, 50] = np.nan
    image = fit(ramp)
    np.testing.assert_allclose(image.rate, 10, atol=1e-3)
    assert image.err[46, 46] > image.err[0, 0]


def test_a_fit_or_a_threshold_there_is_not_is_refused() -> None:
    ramp = build.working_ramp(build.straight_ramps(np.full((16, 16), 10.0)))
    with pytest.raises(InputError, match="'least_squares'; there are likelihood, casertano"):
        fit(ramp, algorithm="least_squares")
    for threshold in (0.0, -1.0, np.nan):
        with pytest.raises(InputError, match="must be above 0"):
            fit(ramp, jump_threshold_sigma=threshold)


@pytest.mark.slow
@pytest.mark.parametrize("table", [IMAGING, SHORT_IMAGING, GAPS])
def test_stcal_makes_the_same_of_the_same_ramps(table: MATable) -> None:
    shape, rng = (208, 208), np.random.default_rng(5)
    hit = rng.random(shape) < 0.05
    jumps = np.zeros((table.n_reads, *shape))
    jumps[rng.integers(2, table.n_reads, shape)[hit], *hit.nonzero()] = 10 ** rng.uniform(2, 4, hit.sum())
    rates = 10 ** rng.uniform(-2, 2.5, shape)
    ramp = build.working_ramp(build.noisy_ramps(rates, seed=3, ma_table=table, jumps=jumps), ma_table=table)
    noise, gain = build.read_noise(shape), build.gain(shape)
    made = ramp_fitting.fit(ramp, gain, noise, jump_threshold_sigma=4.5)
    theirs = stcal(
        "likelihood", table,
        data=ramp.data, flags=ramp.resultant_dq, read_noise=noise.read_noise, gain=gain.gain, threshold=4.5,
    )  # fmt: skip
    theirs = {name: values[..., 4:-4, 4:-4] for name, values in theirs.items()}
    ours_hit, theirs_hit = made.dq & DQ.JUMP_DET != 0, theirs["dq"] & DQ.JUMP_DET != 0
    assert np.count_nonzero(ours_hit & theirs_hit) >= 0.999 * np.count_nonzero(ours_hit | theirs_hit)
    quiet = ~ours_hit & ~theirs_hit
    apart = (np.abs(made.rate - theirs["slope"]) / theirs["err"])[quiet]
    print(f"{quiet.sum()} slopes: median {np.median(apart):.1e} σ, 99.9 % {np.quantile(apart, 0.999):.1e} σ")
    assert np.median(apart) <= 1e-4
    assert np.quantile(apart, 0.999) <= 1e-3
    for name in ("err", "var_poisson", "var_rnoise", "chisq"):
        np.testing.assert_allclose(getattr(made, name)[quiet], theirs[name][quiet], rtol=1e-3, atol=1e-6)
