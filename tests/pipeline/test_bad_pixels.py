"""Bad pixels are simulated as the mask has them, and calibration leaves them out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.support import pipeline as build
from tests.support import simulator as scene

from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.ma_table import IMAGING
from nexus_pipeline.products import l1
from nexus_pipeline.recipes.exposure import calibrate
from nexus_pipeline.references import kinds
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.simulate import bad_pixels, exposure
from nexus_pipeline.simulate.plane import RatePlane

SHAPE = (64, 64)
SEED = 12
KINDS = (DQ.DEAD, DQ.LOW_QE, DQ.TELEGRAPH, DQ.OTHER_BAD_PIXEL)


def half(flag: DQ) -> np.ndarray:
    """Return flags of which every other column has ``flag``."""
    dq = build.good(SHAPE)
    dq[:, ::2] = flag | DQ.DO_NOT_USE
    return dq


def disturbed(flag: DQ, seed: int = SEED) -> np.ndarray:
    data = np.full((IMAGING.n_resultants, *SHAPE), 5_000, np.uint16)
    bad_pixels.disturb(data, half(flag), IMAGING, seed=seed)
    return data.astype(float) - 5_000


def test_a_dead_pixel_collects_nothing_and_an_insensitive_one_less() -> None:
    light = build.plane(10.0, SHAPE)
    assert (bad_pixels.dimmed(light, half(DQ.DEAD))[:, ::2] == 0).all()
    np.testing.assert_allclose(bad_pixels.dimmed(light, half(DQ.LOW_QE))[:, ::2], 3.0)
    assert (bad_pixels.dimmed(light, half(DQ.DEAD))[:, 1::2] == 10).all()


def test_a_telegraph_pixel_jumps_between_two_levels() -> None:
    added = disturbed(DQ.TELEGRAPH)
    assert not added[:, :, 1::2].any()
    low, high = bad_pixels.TELEGRAPH_DN
    # The first two resultants are one read each: such a pixel is on one of its two levels.
    single = added[:2, :, ::2]
    assert ((single == 0) | ((single >= low) & (single <= high + 0.5))).all()
    assert np.mean(single != 0) == pytest.approx(0.5, abs=4 * 0.5 / single[0].size ** 0.5)
    changed = (single[0] != 0) != (single[1] != 0)
    expected = bad_pixels.TELEGRAPH_FLIP
    assert changed.mean() == pytest.approx(
        expected, abs=4 * (expected * (1 - expected) / changed.size) ** 0.5
    )


def test_a_creeping_pixel_rises_ever_more_slowly() -> None:
    added = disturbed(DQ.OTHER_BAD_PIXEL)[:, :, ::2]
    slopes = np.diff(added, axis=0) / np.diff(IMAGING.mean_times_s)[:, None, None]
    # Rounding to whole DN moves a slope by 0.5 DN over the 3.2 s of the closest resultants at most twice.
    assert (np.diff(slopes, axis=0) < 0.4).all()
    assert added[-1].max() < bad_pixels.RC_DN[1]


def test_what_has_no_room_stays_at_the_converters_end() -> None:
    data = np.full((IMAGING.n_resultants, *SHAPE), 65_500, np.uint16)
    bad_pixels.disturb(data, half(DQ.OTHER_BAD_PIXEL), IMAGING, seed=SEED)
    assert data.min() >= 65_500


def test_one_seed_disturbs_alike_and_another_otherwise() -> None:
    np.testing.assert_array_equal(disturbed(DQ.TELEGRAPH), disturbed(DQ.TELEGRAPH))
    assert (disturbed(DQ.TELEGRAPH) != disturbed(DQ.TELEGRAPH, seed=SEED + 1)).any()


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> ReferenceStore:
    """Return a store whose mask has a patch of pixels of each sort."""
    made = scene.store(str(tmp_path_factory.mktemp("references")))
    who = {"detector": build.DETECTOR, "filter_name": build.FILTER, "date": build.START}
    mask = made.load(kinds.MaskReference, **who)
    for number, flag in enumerate(KINDS):
        mask.dq[40:60, 40 * number + 40 : 40 * number + 60] = flag | DQ.DO_NOT_USE
    return made.add([mask])


def test_calibration_leaves_bad_pixels_out_and_the_switch_leaves_them_good(
    references: ReferenceStore, tmp_path: Path
) -> None:
    aim = exposure.aim(references, build.DETECTOR, build.FILTER, ra_deg=270.0, dec_deg=66.0)
    meta = exposure.exposure_meta(build.DETECTOR, build.FILTER, pointing=aim)
    level = RatePlane(build.plane(40.0, (scene.ACTIVE, scene.ACTIVE)), "DN/s", "level")
    quiet = exposure.Effects(cosmic_rays=False, background=False, ipc=False)
    images = {}
    for on in (True, False):
        ramp = exposure.simulate(
            level, meta, references, seed=SEED, effects=replace(quiet, bad_pixels=on)
        ).ramp
        l1.write_ramp(ramp, str(tmp_path / "a_uncal.asdf"))
        images[on] = calibrate(str(tmp_path / "a_uncal.asdf"), references)
    patches = {flag: np.s_[36:56, 40 * i + 36 : 40 * i + 56] for i, flag in enumerate(KINDS)}
    for flag, patch in patches.items():
        assert (images[True].dq[patch] & np.uint32(flag) != 0).all()
        assert (images[True].dq[patch] & np.uint32(DQ.DO_NOT_USE) != 0).all()
    # 400 pixels of 40 ± 0.7 DN/s, gain, flat and linearity as the references have them.
    for flag, left in ((DQ.DEAD, 0.0), (DQ.LOW_QE, bad_pixels.LOW_RESPONSE)):
        assert np.median(images[True].rate[patches[flag]]) == pytest.approx(40 * left, abs=0.2)
    for patch in patches.values():
        assert np.median(images[False].rate[patch]) == pytest.approx(40, abs=0.2)
    usable = images[True].dq & np.uint32(DQ.DO_NOT_USE) == 0
    sound = (images[True].dq & np.uint32(sum(KINDS)) == 0).all(axis=1)
    assert np.median(images[True].rate[~sound][usable[~sound]]) == pytest.approx(40, abs=0.1)
    # A row's random numbers are its own: a row without bad pixels is as it was.
    assert sound.sum() > 100
    np.testing.assert_array_equal(images[True].rate[sound], images[False].rate[sound])
