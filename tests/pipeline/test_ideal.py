from dataclasses import replace
from pathlib import Path

import asdf
import numpy as np
import pytest
from astropy.io import fits
from tests.support import pipeline as build
from tests.support import simulator as scene

from nexus_pipeline.errors import InputError, UnreadableProductError
from nexus_pipeline.instrument.ma_table import IMAGING, SHORT_IMAGING
from nexus_pipeline.products import l1, l2
from nexus_pipeline.recipes import exposure as recipe
from nexus_pipeline.references import kinds
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.simulate import exposure, ideal
from nexus_pipeline.simulate.catalog import sources_from_table, write_table
from nexus_pipeline.simulate.exposure import Effects
from nexus_pipeline.simulate.field import make_field
from nexus_pipeline.simulate.plane import read_plane
from nexus_pipeline.simulate.switches import read_effects, with_settings

RA, DEC = 270.0, 66.0


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> ReferenceStore:
    return scene.store(str(tmp_path_factory.mktemp("references")))


def test_two_resultants_leave_the_noise_of_their_difference() -> None:
    two = replace(IMAGING, read_pattern=((1,), (40,)))
    per_flux, per_noise = ideal.slope_variances(two, np.array([1e-3, 1.0, 1e3]))
    apart = 39 * two.read_time_s
    np.testing.assert_allclose(per_flux, 1 / apart, rtol=1e-9)
    np.testing.assert_allclose(per_noise, 2 / apart**2, rtol=1e-9)


@pytest.mark.parametrize("rate", [0.3, 8.0])
def test_simulated_ramps_weighed_so_scatter_as_said(rate: float) -> None:
    """Ramps of photons and read noise, read by read, with the weights of the best line."""
    ramps = build.noisy_ramps(np.full((60, 200), rate), seed=3, ma_table=SHORT_IMAGING)
    times = SHORT_IMAGING.mean_times_s
    flux, noise = rate / build.GAIN, build.READ_NOISE**2
    photons = np.minimum(times[:, None], times[None, :])
    np.fill_diagonal(photons, SHORT_IMAGING.variance_times_s)
    covariance = flux * photons + noise * np.diag(1 / SHORT_IMAGING.reads_per_resultant)
    design = np.stack([np.ones_like(times), times], axis=1)
    slopes = np.linalg.lstsq(
        np.linalg.solve(np.linalg.cholesky(covariance), design),
        np.linalg.solve(np.linalg.cholesky(covariance), ramps.reshape(times.size, -1)),
    )[0][1]
    per_flux, per_noise = ideal.slope_variances(SHORT_IMAGING, np.array([flux / noise]))
    # 12 000 ramps: the variance is known to 1.3 %.
    assert slopes.var() == pytest.approx(flux * per_flux[0] + noise * per_noise[0], rel=4 * 0.013)


def test_an_ideal_image_is_the_calibrated_ramp_without_the_detector(references: ReferenceStore) -> None:
    field = make_field(RA, DEC, n_stars=25, n_galaxies=10, rng=np.random.default_rng(1), radius_deg=0.004)
    sources = sources_from_table(field, build.FILTER)
    aim = exposure.aim(references, build.DETECTOR, build.FILTER, ra_deg=RA, dec_deg=DEC)
    meta = exposure.exposure_meta(build.DETECTOR, build.FILTER, pointing=aim)
    image, truth = exposure.simulate_ideal(sources, meta, references, seed=5)
    again, _ = exposure.simulate_ideal(sources, meta, references, seed=5, threads=1)
    np.testing.assert_array_equal(image.rate, again.rate)
    assert len(truth) > 5
    quiet = with_settings(Effects(), {}, ["cosmic_rays", "snowballs", "ipc", "electronics"])
    ramp = exposure.simulate(sources, meta, references, seed=6, effects=quiet).ramp
    path = Path(references.url) / "l1_wfi07_uncal.asdf"
    exposure_l1 = replace(ramp, meta=replace(ramp.meta, file_name=path.name))
    l1.write_ramp(exposure_l1, str(path))
    calibrated = recipe.calibrate(str(path), references)
    usable = (calibrated.dq == 0) & np.isfinite(calibrated.err) & (calibrated.err > 0)
    assert usable.mean() > 0.9
    apart = (calibrated.rate - image.rate)[usable]
    spread = np.hypot(calibrated.err, image.err)[usable]
    pulls = apart / spread
    # 55 000 pixels; references' own noise and the steps' tolerances leave a few per cent.
    assert np.median(pulls) == pytest.approx(0.0, abs=0.05)
    width = (np.percentile(pulls, 84.13) - np.percentile(pulls, 15.87)) / 2
    assert width == pytest.approx(1.0, abs=0.05)
    ratio = np.median(calibrated.err[usable] / image.err[usable])
    assert ratio == pytest.approx(1.0, abs=0.03)


def test_effects_are_switched_and_set_from_a_file_and_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "effects.toml"
    path.write_text("[background]\nskip = true\n[electronics]\npink_dn = 5\n")
    effects = read_effects(Effects(), str(path), ["cosmic_rays"])
    assert (effects.background, effects.cosmic_rays, effects.ipc) == (False, False, True)
    assert effects.electronics == replace(Effects().electronics, pink_dn=5)
    silent = read_effects(Effects(), str(path), ["electronics"]).electronics
    assert (silent.pink_dn, silent.row_drift_dn, silent.channel_offset_dn) == (0, 0, 0)
    assert silent.channel_pink_dn == 0


@pytest.mark.parametrize(
    ("parameters", "skip", "message"),
    [
        ({}, ["thunder"], "no effect is called 'thunder'; there are cosmic_rays"),
        ({"thunder": {}}, [], "no effect is called 'thunder'"),
        ({"background": {"level": 2}}, [], "background has no parameter 'level'; it has no parameters"),
        ({"electronics": {"pink": 2}}, [], "electronics has no parameter 'pink'; its parameters are channel"),
        ({"electronics": {"pink_dn": "much"}}, [], "electronics.pink_dn must be a float, not 'much'"),
    ],
)
def test_effects_there_are_not_are_refused(parameters: dict, skip: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        with_settings(Effects(), parameters, skip)


def test_the_command_line_writes_an_ideal_image_that_opens(
    references: ReferenceStore, tmp_path: Path
) -> None:
    field = make_field(RA, DEC, n_stars=5, n_galaxies=3, rng=np.random.default_rng(1), radius_deg=0.004)
    write_table(field, str(tmp_path / "s.parquet"))
    told = build.wfi(
        "simulate", tmp_path / "s.parquet", "--references", references.url, "--output", tmp_path,
        "--detector", build.DETECTOR, "--filter", build.FILTER, "--level", 2, "--skip", "background",
    )  # fmt: skip
    assert told.status == 0, told.err
    image = l2.read_rate_image(told.out.split()[0])
    assert image.photometry is not None
    assert abs(np.median(image.rate)) < 5 * np.median(image.err) / np.sqrt(image.rate.size)


def meta_at_pole(references: ReferenceStore) -> exposure.ExposureMeta:
    aim = exposure.aim(references, build.DETECTOR, build.FILTER, ra_deg=RA, dec_deg=DEC)
    return exposure.exposure_meta(build.DETECTOR, build.FILTER, pointing=aim)


@pytest.mark.parametrize("name", ["plane.fits", "plane.asdf"])
def test_a_rate_image_takes_the_place_of_the_scene(
    references: ReferenceStore, tmp_path: Path, name: str
) -> None:
    plane = np.full((scene.ACTIVE, scene.ACTIVE), 40.0, np.float32)
    if name.endswith("fits"):
        fits.writeto(tmp_path / name, plane)
    else:
        asdf.AsdfFile({"data": plane}).write_to(tmp_path / name)
    dark_sky = Effects(background=False)
    image, truth = exposure.simulate_ideal(
        read_plane(str(tmp_path / name), "DN/s"),
        meta_at_pole(references),
        references,
        seed=1,
        effects=dark_sky,
    )
    assert len(truth) == 0
    error = np.median(image.err) / np.sqrt(image.rate.size)
    assert image.rate.mean() == pytest.approx(40.0, abs=5 * error)
    # What the pixels detect is less than L2 says by the flat, and counted in electrons.
    detected, _ = exposure.simulate_ideal(
        read_plane(str(tmp_path / name), "e/s"),
        meta_at_pole(references),
        references,
        seed=1,
        effects=dark_sky,
    )
    where = {"detector": build.DETECTOR, "filter_name": build.FILTER, "date": build.START}
    flat = references.load(kinds.FlatReference, **where).flat
    gain = references.load(kinds.GainReference, **where).gain[4:-4, 4:-4]
    assert detected.rate.mean() == pytest.approx((40.0 / flat / gain).mean(), abs=5 * error)


def test_rate_images_that_will_not_do_are_refused(references: ReferenceStore, tmp_path: Path) -> None:
    fits.writeto(tmp_path / "small.fits", np.ones((10, 10), np.float32))
    fits.writeto(tmp_path / "holes.fits", np.full((10, 10), np.nan, np.float32))
    (tmp_path / "broken.fits").write_bytes(b"SIMPLE")
    small = read_plane(str(tmp_path / "small.fits"), "e/s")
    with pytest.raises(InputError, match=r"small.fits: shape \(10, 10\), the detector's is \(248, 248\)"):
        exposure.simulate_ideal(small, meta_at_pole(references), references, seed=1)
    with pytest.raises(InputError, match=r"holes.fits: 100 pixels are not finite"):
        read_plane(str(tmp_path / "holes.fits"), "e/s")
    with pytest.raises(InputError, match=r"in DN/s or e/s, not in 'Jy'"):
        read_plane(str(tmp_path / "small.fits"), "Jy")
    with pytest.raises(UnreadableProductError, match=r"broken.fits"):
        read_plane(str(tmp_path / "broken.fits"), "e/s")
    told = build.wfi("simulate", tmp_path / "small.fits", "--references", references.url)
    assert told.status == 2
    assert "a rate image needs --ra and --dec" in told.err
