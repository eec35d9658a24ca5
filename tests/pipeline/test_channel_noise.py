"""1/f noise that an output has to itself: its spectrum, and where it ends up."""

from dataclasses import replace

import numpy as np
from tests.support import pipeline as build

from nexus_pipeline.instrument.ma_table import IMAGING
from nexus_pipeline.instrument.wfi import CHANNEL_WIDTH
from nexus_pipeline.simulate import cosmic_rays, detector, electronics
from nexus_pipeline.simulate.electronics import CLOCKS_TOGETHER, Electronics

SILENT = Electronics().off()
OWN_DN, SIZE, SEED = 20.0, 256, 12
LOUD = replace(SILENT, channel_pink_dn=OWN_DN)


def test_each_output_has_1_over_f_noise_of_its_own() -> None:
    own = electronics.signals(LOUD, IMAGING, 1024, seed=SEED).own.astype(np.float64)
    reads = IMAGING.reads_per_resultant
    series = own.reshape(len(own), own.shape[1], -1) * np.sqrt(reads)[:, None, None]
    power = (np.abs(np.fft.rfft(series)) ** 2).mean(axis=(0, 1))
    octaves = [power[2**k : 2 ** (k + 1)].sum() for k in range(3, 12)]
    # 81 series of 8 frequencies and more: each octave's power to 4 %.
    np.testing.assert_allclose(octaves, np.mean(octaves), rtol=4 * 0.04)
    # The slowest frequencies hold a tenth of the power each: a variance of 81 series is good to 5 %.
    np.testing.assert_allclose(series.var(axis=2).mean(), OWN_DN**2, rtol=4 * 0.05)
    together = np.corrcoef(series.transpose(1, 0, 2).reshape(own.shape[1], -1))
    # Slow noise: nine resultants are some thirty independent numbers.
    assert np.abs(together - np.eye(len(together))).max() < 0.6


def exposed(noise: Electronics, *, threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
    shape = (SIZE, SIZE)
    inverse = np.zeros((2, *shape), dtype=np.float32)
    inverse[0], inverse[1] = 1000.0, 1.0
    model = detector.DetectorModel(
        build.plane(2.0, shape), build.plane(0.0, shape), build.plane(50_000, shape), inverse
    )
    data, amp33 = detector.expose(
        build.plane(3.0, shape), model, IMAGING, deposits=cosmic_rays.no_deposits(SIZE), electronics=noise,
        seed=SEED, threads=threads,
    )  # fmt: skip
    return data.astype(int), amp33.astype(int)


def test_it_lies_on_every_pixel_of_the_output_in_the_order_of_reading() -> None:
    quiet, quiet33 = exposed(SILENT)
    loud, loud33 = exposed(LOUD)
    own = np.repeat(electronics.signals(LOUD, IMAGING, SIZE, seed=SEED).own, CLOCKS_TOGETHER, axis=-1)
    own = own[..., :CHANNEL_WIDTH]
    assert np.abs(own).max() > 10
    # Both are rounded: half a DN each.
    np.testing.assert_allclose((loud - quiet)[:, :, :CHANNEL_WIDTH], own[:, 0], atol=1.01)
    np.testing.assert_allclose((loud - quiet)[:, :, CHANNEL_WIDTH:], own[:, 1, :, ::-1], atol=1.01)
    np.testing.assert_allclose(loud33 - quiet33, own[:, 2], atol=1.01)
    np.testing.assert_array_equal(exposed(LOUD, threads=3)[0], loud)
