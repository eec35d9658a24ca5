import numpy as np
from scipy.ndimage import gaussian_filter1d
from tests.support import pipeline as build

from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.wfi import active
from nexus_pipeline.steps import refpix

N = build.SMALL
SHAPE = (9, N, N)


def test_an_offset_of_each_channel_is_taken_out_entirely() -> None:
    offsets = np.repeat([120.0, -35.0], 128)
    ramp = build.working_ramp(np.full(SHAPE, 0.0) + offsets + np.arange(9)[:, None, None] * 7)
    np.testing.assert_allclose(refpix.subtract(ramp).data, 0, atol=1e-4)


def test_what_rows_share_is_taken_out_and_the_light_stays() -> None:
    # Drift with a period of 256 rows of 20 DN; the light is a constant 1000 DN on the active pixels.
    drift = 20 * np.sin(2 * np.pi * np.arange(N) / 256)
    light = np.zeros((N, N))
    light[active((N, N))] = 1000
    ramp = build.working_ramp(light + np.broadcast_to(drift[:, None], SHAPE))
    corrected = refpix.subtract(ramp, smoothing_rows=4).data
    inner = corrected[:, 40:-40, 4:-4]
    # A Gaussian of 4 rows passes exp(-(2π 4/256)²/2) = 99.5 % of it.
    assert np.abs(inner - 1000).max() < 0.02 * 20


def test_little_noise_comes_in_with_the_correction() -> None:
    # Read noise of 5 DN everywhere, nothing to correct. Per channel 1024 reference pixels, per
    # row 8 over 113 effective rows: √(5²/1024 + 5²/(8·113)) = 0.23 DN, against 5 DN in a pixel.
    rng = np.random.default_rng(5)
    data = rng.normal(0, 5, SHAPE)
    removed = data - refpix.subtract(build.working_ramp(data)).data
    assert np.sqrt(np.mean(removed**2)) < 0.35
    assert np.std(refpix.subtract(build.working_ramp(data)).data[:, 4:-4, 4:-4]) < 5 * 1.01


def test_correlated_noise_falls_by_most_of_its_power() -> None:
    # Noise common to a row, smooth over 60 rows, 10 DN: ≥ 80 % of its power goes.
    rng = np.random.default_rng(6)
    common = gaussian_filter1d(rng.normal(size=(9, N)), 60, axis=1)
    common *= 10 / common.std()
    data = common[:, :, None] + rng.normal(0, 5, SHAPE)
    corrected = refpix.subtract(build.working_ramp(data)).data
    left = corrected[:, 4:-4, 4:-4].mean(axis=2)
    assert left.var() < 0.2 * common.var()


def test_bad_reference_pixels_are_not_believed() -> None:
    data = np.zeros(SHAPE)
    data[:, 1, 30], data[:, 100, 2] = 5e4, -5e4
    ramp = build.working_ramp(data)
    ramp.border.dq_bottom[1, 30] |= np.uint32(DQ.BAD_REF_PIXEL)
    ramp.border.dq_left[100, 2] |= np.uint32(DQ.DO_NOT_USE)
    corrected = refpix.subtract(ramp).data
    np.testing.assert_allclose(corrected[:, 4:-4, 4:-4], 0, atol=1e-4)


def test_a_channel_without_reference_pixels_takes_the_others_level() -> None:
    ramp = build.working_ramp(np.full(SHAPE, 80.0))
    ramp.border.dq_bottom[:, :128] |= np.uint32(DQ.BAD_REF_PIXEL)
    ramp.border.dq_top[:, :128] |= np.uint32(DQ.BAD_REF_PIXEL)
    np.testing.assert_allclose(refpix.subtract(ramp).data, 0, atol=1e-4)


def test_a_frame_of_zeros_stays_so() -> None:
    # romanisim leaves border and amp33 at zero: nothing is known, nothing is done.
    data = np.zeros(SHAPE)
    data[:, 4:-4, 4:-4] = 1234.5
    np.testing.assert_array_equal(refpix.subtract(build.working_ramp(data)).data, np.float32(data))
