"""Snowballs in simulated ramps. Numbers of them are Poisson's: tolerances of four standard errors."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from tests.support import pipeline as build
from tests.support import simulator as scene

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.ma_table import IMAGING
from nexus_pipeline.products import l1
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.simulate import exposure, snowballs
from nexus_pipeline.simulate.catalog import sources_from_table, write_table
from nexus_pipeline.simulate.random import Effect, generator
from nexus_pipeline.simulate.snowballs import Snowballs

OFTEN = Snowballs(per_cm2_s=0.3)
"""Three in a frame of 256² pixels."""


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> ReferenceStore:
    return scene.store(str(tmp_path_factory.mktemp("references")))


def simulated(
    references: ReferenceStore, often: Snowballs, *, seed: int, **options: object
) -> exposure.Simulated:
    aim = exposure.aim(references, build.DETECTOR, build.FILTER, ra_deg=270.0, dec_deg=66.0)
    meta = exposure.exposure_meta(build.DETECTOR, build.FILTER, pointing=aim)
    star = scene.star_table(np.array([270.0]), np.array([66.0]), np.array([22.0]))
    effects = exposure.Effects(snowballs=often)
    return exposure.simulate(
        sources_from_table(star, build.FILTER),
        meta,
        references,
        seed=seed,
        effects=effects,
        **options,  # type: ignore[arg-type]
    )


def drawn(often: Snowballs, *, size: int, seed: int) -> Table:
    return snowballs.draw(often, IMAGING, size=size, rng=generator(seed, Effect.SNOWBALLS))


def test_snowballs_come_at_the_rate_of_jwst_by_area() -> None:
    counts = [len(drawn(Snowballs(), size=4096, seed=seed)) for seed in range(200)]
    # One in 20 s on (2048 × 18 µm)²; here on (4096 × 10 µm)² for 139 s.
    expected = IMAGING.exposure_time_s / 20 * (40.96 / 36.864) ** 2
    assert np.mean(counts) == pytest.approx(expected, abs=4 * np.sqrt(expected / 200))


def test_snowballs_are_spread_over_detector_and_reads_and_small_ones_are_commoner() -> None:
    balls = drawn(replace(OFTEN, per_cm2_s=1.0), size=4096, seed=1)
    n = len(balls)
    assert n > 2000
    assert set(balls["read"]) == set(range(1, IMAGING.n_reads + 1))
    for axis in ("x", "y"):
        # Uniform over 4096 pixels, the border's too: a width of 4096/√12.
        assert balls[axis].mean() == pytest.approx(2043.5, abs=4 * 4096 / np.sqrt(12 * n))
    radius = balls["core_radius"]
    assert radius.min() >= 1.5
    assert radius.max() <= 12
    # n(r) ∝ r⁻² from 1.5 to 12: half lie below 2.67.
    assert np.mean(radius < 2.67) == pytest.approx(0.5, abs=4 * np.sqrt(0.25 / n))


def test_a_snowball_is_a_full_core_in_a_halo_that_falls_by_e() -> None:
    ball = Table([[60.0], [50.0], [7], [5.0], [1.5]], names=["x", "y", "read", "core_radius", "halo_scale"])
    hits = snowballs.deposits(ball, size=128, rng=np.random.default_rng(2))
    image = np.zeros((128, 128))
    image[np.repeat(np.arange(128), np.diff(hits.first)), hits.column] = hits.electrons
    assert set(hits.read) == {7}
    y, x = np.mgrid[:128, :128]
    # Pixels of the frame count from the border's corner.
    distance = np.hypot(x - 64.0, y - 54.0)
    core = image[distance <= 5]
    np.testing.assert_allclose(core, snowballs.CORE_E, atol=5 * np.sqrt(snowballs.CORE_E))
    for at in (6, 8, 10, 12):
        expected = snowballs.HALO_E * np.exp(-(at - 5) / 1.5)
        assert image[54, 64 + at] == pytest.approx(expected, abs=5 * np.sqrt(expected))
    assert not image[distance > 5 + 1.5 * 9.3].any()


def test_snowballs_fill_their_wells_and_leave_the_rest_as_it_was(references: ReferenceStore) -> None:
    made, without = (simulated(references, often, seed=5) for often in (OFTEN, OFTEN.off()))
    assert len(made.snowballs) >= 2
    assert not len(without.snowballs)
    changed = (made.ramp.data != without.ramp.data).any(axis=0)
    y, x = np.nonzero(changed)
    reach = 1 + (1 + snowballs.HALO_SCALE * 9.3) * made.snowballs["core_radius"]
    distance = np.hypot(x[:, None] - 4 - made.snowballs["x"], y[:, None] - 4 - made.snowballs["y"])
    # A pixel more than the charge reaches: neighbours share signal.
    assert (distance < reach + 1).any(axis=1).all()
    np.testing.assert_array_equal(made.ramp.amp33, without.ramp.amp33)
    inside = made.snowballs[
        (np.abs(made.snowballs["x"] - 124) < 120) & (np.abs(made.snowballs["y"] - 124) < 120)
    ]
    assert len(inside)
    for ball in inside:
        pixel = made.ramp.data[:, round(ball["y"]) + 4, round(ball["x"]) + 4]
        later = [min(reads) >= ball["read"] for reads in IMAGING.read_pattern]
        assert pixel[later].min() > 50_000


def test_snowballs_are_the_same_on_any_number_of_threads(references: ReferenceStore) -> None:
    one, four = (simulated(references, OFTEN, seed=6, threads=threads) for threads in (1, 4))
    np.testing.assert_array_equal(one.ramp.data, four.ramp.data)


def test_an_impossible_rate_is_refused() -> None:
    with pytest.raises(InputError, match=r"snowballs cannot come at -1"):
        drawn(Snowballs(per_cm2_s=-1.0), size=64, seed=1)


def test_the_command_line_writes_the_snowballs_beside_the_ramp(
    references: ReferenceStore, tmp_path: Path
) -> None:
    write_table(
        scene.star_table(np.array([40.0]), np.array([-10.0]), np.array([22.0])), str(tmp_path / "s.parquet")
    )
    settings = tmp_path / "often.toml"
    settings.write_text("[snowballs]\nper_cm2_s = 0.3\n")
    options = ("-r", references.url, "--detector", build.DETECTOR, "--filter", build.FILTER, "--seed", 5)
    told = build.wfi(
        "simulate", tmp_path / "s.parquet", *options, "-o", tmp_path / "a", "--parameters", settings
    )
    assert told.status == 0, told.err
    ramp = told.out.split()[0]
    assert len(exposure.read_truth(exposure.snowballs_url(ramp))) >= 2
    skipped = build.wfi(
        "simulate", tmp_path / "s.parquet", *options, "-o", tmp_path / "b", "--skip", "snowballs"
    )
    quiet = skipped.out.split()[0]
    assert len(exposure.read_truth(exposure.snowballs_url(quiet))) == 0
    assert (l1.read_ramp(ramp).data != l1.read_ramp(quiet).data).any()
