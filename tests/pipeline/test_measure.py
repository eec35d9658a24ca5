from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from photutils.aperture import CircularAperture
from tests.support import pipeline as build
from tests.support import simulator as scene

from nexus_pipeline.errors import InputError, MissingReferenceError, WrongProductError
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.measure import background, columns, compare, correlation, detect, sources
from nexus_pipeline.measure.matched_filter import significance
from nexus_pipeline.products import l2, segm
from nexus_pipeline.products.l4 import read_catalog, write_catalog
from nexus_pipeline.products.model import RateImage
from nexus_pipeline.recipes.catalog import NJY_PER_MJY, catalog, picture
from nexus_pipeline.recipes.forced import forced
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.sky.distortion import pixel_area_at

SIZE, SKY, NOISE = scene.ACTIVE, 0.3, 0.05
PHOTON_VARIANCE = 4e-3


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> ReferenceStore:
    return ReferenceStore(str(tmp_path_factory.mktemp("references"))).add([scene.epsf()])


def noisy(clean: np.ndarray, *, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return an image with noise, and the variance the pipeline would quote for it (from its own values)."""
    rng = np.random.default_rng(seed)
    image = clean + rng.normal(size=clean.shape) * np.sqrt(NOISE**2 + PHOTON_VARIANCE * clean)
    return image.astype(np.float32), (NOISE**2 + PHOTON_VARIANCE * np.maximum(image, 0)).astype(np.float32)


def starry(x: np.ndarray, y: np.ndarray, flux: np.ndarray, *, seed: int = 1) -> RateImage:
    """Return an L2 image of stars (DN/s) on a level sky; pixels are nominal, near enough, in the middle."""
    clean = np.full((SIZE, SIZE), SKY, dtype=np.float32)
    scene.grid().add_to(clean, x, y, flux, radii=np.full(len(x), 14))
    image, variance = noisy(clean, seed=seed)
    return scene.calibrated(
        image, var_poisson=variance - NOISE**2, var_rnoise=build.plane(NOISE**2, image.shape)
    )


def test_the_noise_curve_is_that_of_the_model_not_of_the_noise() -> None:
    clean = SKY + np.geomspace(1e-3, 200, SIZE * SIZE).reshape(SIZE, SIZE)
    image, variance = noisy(clean)
    level, curve = background.noise_curve(image, variance, np.zeros(image.shape, bool))
    assert (np.diff(level) > 0).all()
    # A bin's median value and median variance may lie a bin's width apart.
    np.testing.assert_allclose(curve, NOISE**2 + PHOTON_VARIANCE * level, rtol=0.05)


def test_too_few_pixels_tell_no_noise() -> None:
    image = np.ones((20, 20), dtype=np.float32)
    with pytest.raises(InputError, match="too few"):
        background.noise_curve(image, image, np.ones(image.shape, bool))


def test_the_background_follows_a_slope_and_ignores_sources_and_bad_pixels() -> None:
    slope = (0.3 + 0.01 * np.linspace(0, 1, 512)[None, :] * np.ones((512, 1))).astype(np.float32)
    image, _ = noisy(slope)
    sources = np.zeros(image.shape, bool)
    sources[100:140, 100:140] = sources[300:310, 400:480] = True
    image[sources] += 50
    bad = np.zeros(image.shape, bool)
    bad[200, ::3], image[200, ::3] = True, np.nan
    found = background.estimate(image, bad, sources=sources)
    # 0.06 DN/s of noise over some 14 000 pixels a box: 0.0007; the outer half boxes are level: 0.0025.
    np.testing.assert_allclose(found, slope, atol=4 * 0.0007 + 0.0025)


def test_a_background_of_one_row_in_four_is_that_of_all_but_for_noise() -> None:
    rng = np.random.default_rng(59)
    image = (SKY + NOISE * rng.standard_normal((512, 512))).astype(np.float32)
    # What is not looked at may be anything.
    image[1::4] = 1e3
    bad = np.zeros(image.shape, bool)
    found = background.estimate(image, bad, every=4)
    # Medians of 4096 pixels: 1.25 σ / 64 each, and 16 of them.
    np.testing.assert_allclose(found, SKY, atol=5 * 1.25 * NOISE / 64)
    assert np.median(background.estimate(image, bad)) > SKY + 0.1 * NOISE


def test_the_matched_filter_gives_the_significance_of_a_star() -> None:
    stamp = scene.grid().stamp(100, 100, radius=4).astype(np.float32)
    image = np.zeros((64, 64), dtype=np.float32)
    image[28:37, 20:29] = 2.0 * stamp
    variance = build.plane(0.01, image.shape)
    filtered = significance(image, variance, np.ones(image.shape, bool), stamp)
    assert filtered[32, 24] == pytest.approx(2.0 * np.sqrt((stamp**2).sum() / 0.01), rel=1e-4)
    assert np.unravel_index(filtered.argmax(), filtered.shape) == (32, 24)


def test_white_noise_filtered_has_unit_width_and_no_sources() -> None:
    stamp = scene.grid().stamp(100, 100, radius=4).astype(np.float32)
    image = (0.1 * np.random.default_rng(4).normal(size=(512, 512))).astype(np.float32)
    usable = np.random.default_rng(5).random(image.shape) > 0.02
    image[~usable] = np.nan
    filtered = significance(image, build.plane(0.01, image.shape), usable, stamp)
    # Some 512²/12 independent values: the width is good to 0.5 %.
    assert filtered.std() == pytest.approx(1, abs=0.03)
    assert len(detect.detect(filtered)) == 0


def test_two_peaks_stay_apart_and_a_ripple_does_not() -> None:
    x = np.arange(60)
    profile = lambda at, height: height * np.exp(-((x - at) ** 2) / 8)  # noqa: E731
    values = np.maximum(profile(20, 100.0), profile(30, 40.0)) + 0.0
    values[45], values[46], values[47] = 30.0, 29.0, 30.5
    image = np.tile(values, (3, 1)).astype(np.float32)
    image[[0, 2]] *= 0.9
    found = detect.detect(image)
    assert sorted(found.x.tolist()) == [20, 30, 47]
    assert found.labels[1, 45] == found.labels[1, 47] != 0


def test_circles_hold_their_share_of_a_star_and_the_ring_its_level() -> None:
    psf = scene.grid()
    image = build.plane(0.01, (SIZE, SIZE))
    x, y = np.array([120.0, 60.0]), np.array([120.0, 70.0])
    psf.add_to(image, x, y, np.array([100.0, 50.0]), radii=np.full(2, 14))
    field = sources.Field(
        image,
        build.plane(0.02**2, image.shape),
        np.zeros(image.shape, bool),
        np.zeros(image.shape, np.int32),
        correlation.independent(),
    )
    radius = 0.4 / 0.11
    measured = sources.circles(field, x, y, radii=[radius], ring=(2.4 / 0.11, 2.8 / 0.11))
    np.testing.assert_allclose(measured.ring, 0.01, atol=1e-6)
    share = 1 - np.exp(-(radius**2) / 2 / (scene.SIGMA**2 + 1 / 12))
    np.testing.assert_allclose(measured.flux[:, 0], [100 * share, 50 * share], rtol=1e-3)
    weights = CircularAperture((0, 0), radius).to_mask().data
    np.testing.assert_allclose(measured.flux_err[:, 0], 0.02 * np.sqrt((weights**2).sum()), rtol=1e-3)


def test_a_catalogue_has_the_stars_that_are_there(references: ReferenceStore) -> None:
    rng = np.random.default_rng(6)
    x, y = scene.grid_of_stars(7, SIZE / 7, jitter=6.0, rng=rng)
    flux = rng.uniform(20, 200, x.size)
    image = starry(x, y, flux)
    made = catalog(image, references)
    assert len(made.table) == 49
    assert image.photometry is not None
    to_njy = image.photometry.pixel_area_sr * image.photometry.conversion_megajanskys * NJY_PER_MJY
    truth = Table({"x": x, "y": y, "type": ["PSF"] * x.size, "flux_njy": flux * to_njy})
    pairs = compare.isolated_stars(truth, made.table, size=SIZE, isolation=10.0)
    assert len(pairs.found) >= 25
    assert not len(pairs.missed)
    # The pixels of this corner of the frame are up to 1.5 % from nominal; noise is 1 to 3 %.
    assert np.median(pairs.flux_ratio) == pytest.approx(1, abs=0.03)
    assert not pairs.found["is_extended"].any()
    assert made.provenance.references["epsf"].endswith("epsf_20200101.asdf")
    names = [step.name for step in made.provenance.steps]
    assert names == ["background", "detection", "psf_photometry", "source_catalog"]


def test_fluxes_weigh_each_pixel_with_its_area(references: ReferenceStore) -> None:
    x, y = np.array([40.0, 200.0]), np.array([124.0, 124.0])
    image = starry(x, y, np.array([500.0, 500.0]))
    stretched = image.wcs.get_transform("detector", "v2v3")
    made = catalog(image, references).table
    area = pixel_area_at(stretched, x, y)
    ratio = made["psf_flux"][np.argmin(np.hypot(made["x_psf"] - 40, made["y_psf"] - 124))] / area[0]
    assert image.photometry is not None
    nominal = image.photometry.pixel_area_sr * image.photometry.conversion_megajanskys * NJY_PER_MJY
    # S/N 300: three standard errors.
    assert ratio / nominal == pytest.approx(500, rel=0.01)


def test_an_extended_source_is_called_so_and_a_saturated_one_flagged(references: ReferenceStore) -> None:
    x, y = np.array([60.0, 180.0]), np.array([60.0, 180.0])
    image = starry(x, y, np.array([1e-3, 300.0]))
    yy, xx = np.mgrid[:SIZE, :SIZE]
    blob = (600 * scene.gaussian_fraction(xx - 60.0, yy - 60.0, 3.0)).astype(np.float32)
    dq = image.dq.copy()
    dq[180, 181] |= DQ.SATURATED
    made = catalog(replace(image, rate=image.rate + blob, dq=dq), references).table
    galaxy = made[np.argmin(np.hypot(made["x_centroid"] - 60, made["y_centroid"] - 60))]
    star = made[np.argmin(np.hypot(made["x_psf"] - 180, made["y_psf"] - 180))]
    assert galaxy["is_extended"]
    assert not star["is_extended"]
    assert star["image_flags"] == 2
    assert galaxy["image_flags"] == 0
    assert galaxy["fwhm"] > 2 * star["fwhm"]


def test_an_image_without_sources_gives_a_catalogue_of_no_rows(
    references: ReferenceStore, tmp_path: Path
) -> None:
    empty = starry(np.array([-200.0]), np.array([-200.0]), np.array([1.0]))
    made = catalog(empty, references)
    assert len(made.table) == 0
    assert made.segments is not None
    assert not made.segments.any()
    url = str(tmp_path / "empty_cat.parquet")
    write_catalog(made, url)
    assert len(read_catalog(url).table) == 0


def test_a_catalogue_has_the_mission_s_columns_and_comes_back(
    references: ReferenceStore, tmp_path: Path
) -> None:
    made = catalog(starry(np.array([100.0]), np.array([90.0]), np.array([500.0])), references)
    assert set(columns.required_columns()) <= set(made.table.colnames)
    url = str(tmp_path / "one_cat.parquet")
    write_catalog(made, url)
    again = read_catalog(url)
    assert again.table.colnames == made.table.colnames
    np.testing.assert_array_equal(again.table["psf_flux"], made.table["psf_flux"])
    assert str(again.table["psf_flux"].unit) == "nJy"


def test_the_segmentation_map_has_each_source_s_label_where_it_is(
    references: ReferenceStore, tmp_path: Path
) -> None:
    made = catalog(
        starry(np.array([100.0, 30.0]), np.array([90.0, 200.0]), np.array([500.0, 90.0])), references
    )
    assert made.segments is not None
    url = str(tmp_path / "two_segm.asdf")
    segm.write_segments(made, made.segments, url)
    meta, labels = segm.read_segments(url)
    assert meta.detector == build.DETECTOR
    assert labels.shape == (SIZE, SIZE)
    assert sorted(np.unique(labels)) == [0, *sorted(made.table["label"])]
    for row in made.table:
        assert labels[round(row["y_psf"]), round(row["x_psf"])] == row["label"]
        area = np.count_nonzero(labels == row["label"]) * 0.11**2
        assert row["segment_area"].item() == pytest.approx(area, rel=0.02)
    with pytest.raises(WrongProductError, match="holds an L4 segmentation map, not an L2 image"):
        l2.read_rate_image(url)


def test_an_uncalibrated_image_is_refused(references: ReferenceStore) -> None:
    image = build.rate_image(np.zeros((SIZE, SIZE)))
    with pytest.raises(InputError, match="calibrate it first"):
        catalog(image, references)


def test_a_store_without_a_psf_is_named(tmp_path: Path) -> None:
    image = starry(np.array([100.0]), np.array([90.0]), np.array([500.0]))
    with pytest.raises(MissingReferenceError, match="epsf"):
        catalog(image, ReferenceStore(str(tmp_path)))


def test_robust_figures_are_those_of_a_normal_distribution() -> None:
    values = np.random.default_rng(7).normal(2.0, 3.0, 20_000)
    middle, error = compare.median_and_error(values)
    assert error == pytest.approx(1.2533 * 3 / np.sqrt(20_000), rel=0.03)
    assert middle == pytest.approx(2.0, abs=4 * error)
    assert compare.robust_width(values) == pytest.approx(3.0, abs=4 * compare.robust_width_error(values))


def test_the_sky_of_skewed_photon_noise_is_its_mean_and_faint_noise_peaks_do_not_darken_it() -> None:
    rng, electrons = np.random.default_rng(61), 40.0
    image = (rng.poisson(electrons, (512, 512)) / electrons).astype(np.float32)
    nothing = np.zeros(image.shape, dtype=bool)
    extremes = np.abs(image - 1) > 4 / np.sqrt(electrons)
    found = float(background.estimate(image, nothing, sources=extremes).mean())
    # 262,144 pixels of 16 % know their mean to 0.03 %; the median lies a third of an electron lower.
    print(f"mean {found:.5f}, median {np.median(image):.5f}")
    assert found == pytest.approx(1, abs=0.002)


@pytest.mark.parametrize("covered", [0.8, 0.97, 1.0])
def test_a_field_with_hardly_any_sky_has_a_background_all_the_same(covered: float) -> None:
    rng = np.random.default_rng(62)
    image = rng.normal(3, 0.1, (256, 256)).astype(np.float32)
    sources = np.zeros(image.shape, dtype=bool)
    sources[: round(covered * 256)] = True
    found = background.estimate(image, np.zeros_like(sources), sources=sources)
    np.testing.assert_allclose(found, 3, atol=0.02)


def test_what_a_cosmic_ray_leaves_beside_its_pixel_brightens_a_faint_star_less(
    references: ReferenceStore,
) -> None:
    at = {"x": np.array([100.0]), "y": np.array([90.0])}
    plain = starry(at["x"], at["y"], np.array([2.0]))
    lit, flags = plain.rate.copy(), plain.dq.copy()
    flags[90, 101] = DQ.JUMP_DET
    for y, x in ((89, 101), (91, 101), (90, 100), (90, 102)):
        lit[y, x] += 0.1
    brighter = [
        forced(replace(plain, rate=lit, dq=dq), references, **at).flux[0]
        / forced(replace(plain, dq=dq), references, **at).flux[0]
        - 1
        for dq in (plain.dq, flags)
    ]
    print(
        f"a tenth of a DN/s beside a ray's pixel: {brighter[1]:+.3f}, if nobody knew of it {brighter[0]:+.3f}"
    )
    assert brighter[0] > 0.05
    # Pixels with four times the variance of the sky, of three times that of the star.
    assert abs(brighter[1]) < 0.5 * brighter[0]


def test_what_a_cosmic_ray_leaves_in_its_neighbours_is_no_source() -> None:
    image = scene.calibrated(np.zeros((32, 32), np.float32))
    image.dq[10, 10:12] = DQ.JUMP_DET
    beside = picture(image).beside_jumps
    assert sorted(zip(*np.nonzero(beside), strict=True)) == [
        (9, 10),
        (9, 11),
        (10, 9),
        (10, 12),
        (11, 10),
        (11, 11),
    ]
