"""Slopes, errors and jumps of the ramp fit.

Statistical tolerances are at least 3.5 standard errors of the quantity, reckoned beside them.
"""

from collections.abc import Callable

import numpy as np
import pytest
from tests.support import pipeline as build

from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.ma_table import IMAGING, SHORT_IMAGING, MATable
from nexus_pipeline.products.model import RateImage, WorkingRamp
from nexus_pipeline.steps import ramp_casertano, ramp_fitting
from nexus_pipeline.steps.casertano_stretches import fit_stretches
from nexus_pipeline.steps.ramp_planes import N_PLANES
from nexus_pipeline.steps.ramp_weights import ramp_weights

N = 132  # 124 × 124 = 15 376 active pixels
SHAPE = (N, N)


Fit = Callable[..., RateImage]


@pytest.fixture(params=list(ramp_fitting.ALGORITHMS))
def fit(request: pytest.FixtureRequest) -> Fit:
    """Return a fit of a ramp by each algorithm in turn."""

    def fitted(ramp: WorkingRamp, **options: float) -> RateImage:
        shape = ramp.data.shape[1:]
        gain, noise = build.gain(shape), build.read_noise(shape)
        return ramp_fitting.fit(ramp, gain, noise, algorithm=request.param, **options)

    return fitted


@pytest.mark.parametrize("table", [IMAGING, SHORT_IMAGING])
@pytest.mark.parametrize("rate", [0.0, 0.3, 40.0, 350.0])
def test_a_straight_ramp_gives_its_slope(fit: Fit, table: MATable, rate: float) -> None:
    ramp = build.working_ramp(build.straight_ramps(np.full(SHAPE, rate), ma_table=table), ma_table=table)
    image = fit(ramp)
    assert image.rate.shape == (N - 8, N - 8)
    # Single precision of 50 000 DN over 130 s.
    np.testing.assert_allclose(image.rate, rate, atol=3e-4)
    np.testing.assert_allclose(image.dumo, 0, atol=3e-4)
    assert not image.dq.any()


@pytest.mark.parametrize("rate", [0.05, 0.5, 5.0, 50.0])
def test_slopes_are_unbiased_and_scatter_by_their_errors(fit: Fit, rate: float) -> None:
    ramps = build.noisy_ramps(np.full(SHAPE, rate), seed=11)
    image = fit(build.working_ramp(ramps), jump_threshold_sigma=np.inf)
    error = np.sqrt(np.mean(image.err**2))
    n = image.rate.size
    assert abs(image.rate.mean() - rate) < 3.5 * error / np.sqrt(n)
    # The scatter of n pixels is known to 1/√(2n) = 0.6 %; the powers' steps add up to 1 %.
    assert image.rate.std() / error == pytest.approx(1, abs=0.03)


def test_the_weights_are_within_a_percent_of_the_best_at_either_end() -> None:
    # Read noise alone: the best error is that of least squares weighted by the numbers of reads.
    times, reads = IMAGING.mean_times_s, IMAGING.reads_per_resultant
    spread = np.sum(reads * (times - np.average(times, weights=reads)) ** 2)
    assert ramp_weights(IMAGING).read[0, 8, 0] == pytest.approx(1 / spread, rel=1e-5)
    # Photons alone: the best is the last less the first, with variance rate / (t₉ - t₁).
    assert ramp_weights(IMAGING).poisson[0, 8, 5] == pytest.approx(1 / (times[8] - times[0]), rel=0.02)


def test_weights_of_every_stretch_sum_to_nothing_and_to_one_over_time() -> None:
    weights = ramp_weights(IMAGING).slope.astype(float)
    for a in range(8):
        for b in range(a + 1, 9):
            assert np.abs(weights[a, b].sum(axis=1)).max() < 1e-6
            np.testing.assert_allclose(weights[a, b] @ IMAGING.mean_times_s, 1, rtol=1e-4)


def test_chi_squared_is_that_of_seven_degrees_of_freedom(fit: Fit) -> None:
    # Nine resultants, less an offset and a slope. Standard error of the mean: √(14/15 376) = 0.03;
    # Casertano's slope is not the minimum of χ², which adds the variance it gives away (1 %).
    ramps = build.noisy_ramps(np.full(SHAPE, 2.0), seed=12)
    image = fit(build.working_ramp(ramps), jump_threshold_sigma=np.inf)
    assert image.chisq.mean() == pytest.approx(7, abs=0.15)


def cosmic_rays(electrons: float, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return deposits (n_reads, N, N), one in a tenth of the pixels at any read but the first, and where."""
    rng = np.random.default_rng(seed)
    hit = rng.random(SHAPE) < 0.1
    jumps = np.zeros((IMAGING.n_reads, *SHAPE))
    reads = rng.integers(2, IMAGING.n_reads, SHAPE)
    jumps[reads[hit], *np.nonzero(hit)] = electrons
    return jumps, hit[4:-4, 4:-4]


def test_jumps_are_found_and_the_slope_is_saved(fit: Fit) -> None:
    jumps, hit = cosmic_rays(2000, seed=13)
    image = fit(build.working_ramp(build.noisy_ramps(np.full(SHAPE, 0.5), seed=14, jumps=jumps)))
    found = image.dq & DQ.JUMP_DET != 0
    # 2000 e- are more than 100 σ of any difference of resultants.
    assert found[hit].mean() > 0.99
    # A split ramp has a larger error, and the slope scatters by it: no trace of the deposit is left.
    pull = (image.rate - 0.5)[hit & found] / image.err[hit & found]
    assert (
        abs(np.median(pull)) < 0.15
    )  # 1500 pixels: standard error 0.03; a stretch may keep a deposit's edge
    assert np.percentile(np.abs(pull), 68) < 1.15


def test_a_jump_is_listed_with_the_resultant_it_precedes(fit: Fit) -> None:
    first_reads = {reads[0]: resultant for resultant, reads in enumerate(IMAGING.read_pattern)}
    hits = [(30, 40, read) for read in list(first_reads)[2:3]] + [(31, 9, list(first_reads)[5])]
    jumps = np.zeros((IMAGING.n_reads, *SHAPE))
    for y, x, read in hits:
        jumps[read - 1, y, x] = 5000
    image = fit(build.working_ramp(build.noisy_ramps(np.full(SHAPE, 0.5), seed=16, jumps=jumps)))
    assert image.jump_indices is not None
    assert image.jump_indices.dtype == np.int16
    listed = {tuple(row) for row in image.jump_indices.tolist()}
    # Rows and columns of L2, which has no border.
    assert {(first_reads[read], y - 4, x - 4) for y, x, read in hits} <= listed
    flagged = set(zip(*(axis.tolist() for axis in np.nonzero(image.dq & DQ.JUMP_DET)), strict=True))
    assert {(y, x) for _, y, x in listed} == flagged


def test_few_jumps_are_seen_where_there_are_none(fit: Fit) -> None:
    # 5.5 σ in the largest of 15 differences: of the order of 10⁻⁷ × 15 × 15 376 = 0.03 pixels.
    image = fit(build.working_ramp(build.noisy_ramps(np.full(SHAPE, 0.5), seed=15)))
    assert np.count_nonzero(image.dq & DQ.JUMP_DET) <= 2


def test_an_infinite_threshold_finds_no_jump(fit: Fit) -> None:
    jumps, _ = cosmic_rays(20_000, seed=16)
    ramp = build.working_ramp(build.noisy_ramps(np.full(SHAPE, 0.5), seed=17, jumps=jumps))
    assert not (fit(ramp, jump_threshold_sigma=np.inf).dq & DQ.JUMP_DET).any()


def test_resultants_that_may_not_be_used_are_left_out(fit: Fit) -> None:
    ramp = build.working_ramp(build.straight_ramps(np.full(SHAPE, 10.0)))
    ramp.data[6:, 50, 50] = 65_000
    ramp.resultant_dq[6:, 50, 50] = DQ.SATURATED
    ramp.data[3, 60, 60] = 0
    ramp.resultant_dq[3, 60, 60] = DQ.DO_NOT_USE
    image = fit(ramp)
    assert image.rate[46, 46] == pytest.approx(10, abs=1e-3)
    assert image.rate[56, 56] == pytest.approx(10, abs=1e-3)
    assert image.var_rnoise[46, 46] > image.var_rnoise[0, 0]
    assert not image.dq.any()


@pytest.mark.parametrize("first_bad", [0, 1])
def test_a_pixel_without_two_resultants_on_end_gets_no_rate(fit: Fit, first_bad: int) -> None:
    ramp = build.working_ramp(build.straight_ramps(np.full(SHAPE, 10.0)))
    ramp.resultant_dq[first_bad:, 50, 50] = DQ.SATURATED
    image = fit(ramp)
    assert image.rate[46, 46] == image.err[46, 46] == 0
    assert image.dq[46, 46] == DQ.SATURATED | DQ.DO_NOT_USE
    assert np.isfinite(image.chisq).all()


def test_a_detector_saturated_all_over_is_an_image_of_zeros(fit: Fit) -> None:
    ramp = build.working_ramp(np.full((9, *SHAPE), 65_000.0))
    ramp.resultant_dq[...] = DQ.SATURATED
    image = fit(ramp)
    assert not image.rate.any()
    assert (image.dq == DQ.SATURATED | DQ.DO_NOT_USE).all()


def test_one_resultant_gives_no_slope(fit: Fit) -> None:
    table = MATable("single", 1, ((1, 2),))
    image = fit(build.working_ramp(np.full((1, *SHAPE), 7000.0), ma_table=table))
    assert (image.dq == DQ.DO_NOT_USE).all()


def test_an_unknown_gain_or_read_noise_is_flagged() -> None:
    ramp = build.working_ramp(build.straight_ramps(np.full(SHAPE, 10.0)))
    gain, noise = build.gain(SHAPE), build.read_noise(SHAPE)
    gain.gain[50, 50], noise.read_noise[60, 60] = np.nan, 0
    image = ramp_fitting.fit(ramp, gain, noise)
    assert image.dq[46, 46] == DQ.NO_GAIN_VALUE | DQ.DO_NOT_USE
    assert image.dq[56, 56] == DQ.UNRELIABLE_ERROR | DQ.DO_NOT_USE
    assert np.isfinite(image.rate).all()


def test_casertano_ramps_fitted_whole_are_those_fitted_stretch_by_stretch() -> None:
    deposits, _ = cosmic_rays(300.0, seed=16)
    ramp = build.working_ramp(build.noisy_ramps(np.full(SHAPE, 5.0), seed=16, jumps=deposits))
    gain, noise = build.gain(SHAPE).gain, build.read_noise(SHAPE).read_noise
    planes, dq = np.empty((N_PLANES, *SHAPE), np.float32), np.zeros(SHAPE, np.uint32)
    jumps = np.zeros(ramp.data.shape, np.uint8)
    ramp_casertano.band_fitter(ramp, gain, noise, threshold=5.8, planes=planes, dq=dq, jumps=jumps)(0, N)
    weights, n = ramp_weights(IMAGING), IMAGING.n_resultants
    times = np.array(
        [IMAGING.mean_times_s, IMAGING.variance_times_s, IMAGING.reads_per_resultant], np.float32
    )
    for y, x in np.argwhere(np.ones((40, 40), bool)):
        alone, own_jumps = np.empty(N_PLANES, np.float32), np.zeros(n, np.uint8)
        fit_stretches(
            ramp.data[:, y, x] * gain[y, x], ramp.resultant_dq[:, y, x], gain[y, x],
            (noise[y, x] * gain[y, x]) ** 2, times, weights.slope, weights.read, weights.poisson,
            np.float32(5.8),
            np.empty((n + 1, 2), np.int64), np.empty((3, n), np.float32), np.empty(6, np.float32),
            own_jumps, alone,
        )  # fmt: skip
        assert np.array_equal(jumps[:, y, x], own_jumps)
        # Single precision of sums taken in another order.
        np.testing.assert_allclose(planes[:, y, x], alone, rtol=1e-4, atol=3e-5)
    assert 100 < np.count_nonzero(jumps[:, :40, :40].any(axis=0)) < 200
