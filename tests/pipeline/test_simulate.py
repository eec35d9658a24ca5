from dataclasses import replace
from pathlib import Path

import galsim
import numpy as np
import pytest
from astropy.table import Table
from scipy.ndimage import correlate1d
from tests.support import pipeline as build
from tests.support import simulator as scene

from nexus_pipeline.errors import InputError, UnreadableProductError
from nexus_pipeline.instrument.filters import AB_ZERO_JY
from nexus_pipeline.instrument.ma_table import IMAGING, SHORT_IMAGING
from nexus_pipeline.products.l1 import write_ramp
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.simulate import catalog, cosmic_rays, detector, exposure, galaxies, random
from nexus_pipeline.simulate.background import background_mjysr
from nexus_pipeline.simulate.detector import DetectorModel, Electronics
from nexus_pipeline.simulate.detector_kernels import BIAS_DN, RESET_E
from nexus_pipeline.simulate.field import make_field
from nexus_pipeline.simulate.random import Effect
from nexus_pipeline.sky import wcs

QUIET = Electronics(channel_offset_dn=0, row_drift_dn=0, pink_dn=0, channel_pink_dn=0)
RA, DEC = 270.0, 66.0


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> ReferenceStore:
    return scene.store(str(tmp_path_factory.mktemp("references")))


def meta_at_pole(references: ReferenceStore) -> exposure.ExposureMeta:
    aim = exposure.aim(references, build.DETECTOR, build.FILTER, ra_deg=RA, dec_deg=DEC, roll_deg=20.0)
    return exposure.exposure_meta(build.DETECTOR, build.FILTER, pointing=aim, ma_table=SHORT_IMAGING)


def few_sources() -> catalog.Sources:
    field = make_field(RA, DEC, n_stars=30, n_galaxies=15, rng=np.random.default_rng(1), radius_deg=0.004)
    return catalog.sources_from_table(field, build.FILTER)


def bare_detector(size: int = 64, *, bend: float = 0.0, read_noise: float = 0.0) -> DetectorModel:
    inverse = np.zeros((3, size, size), dtype=np.float32)
    inverse[0], inverse[1], inverse[2] = BIAS_DN, 1, -bend
    shape = (size, size)
    return DetectorModel(
        build.plane(2.0, shape), build.plane(read_noise, shape), build.plane(50_000, shape), inverse
    )


def exposed(model: DetectorModel, electrons_per_s: float, *, seed: int = 1, **options: object) -> np.ndarray:
    size = model.gain.shape[0]
    arguments = {"deposits": cosmic_rays.no_deposits(size), "electronics": QUIET, **options}
    data, _ = detector.expose(
        build.plane(electrons_per_s, (size, size)),
        model,
        IMAGING,
        seed=seed,
        **arguments,  # type: ignore[arg-type]
    )
    return data


@pytest.mark.parametrize("mean", [0.3, 2.0, 9.9, 10.1, 35.0, 900.0])
def test_poisson_numbers_have_their_mean_and_variance(mean: float) -> None:
    state, n = np.empty(4, np.uint64), 20_000
    random.start(7, 1, 0, state)
    draws = np.array([random.poisson(state, mean, random.exponential_of(mean)) for _ in range(n)])
    error = np.sqrt(mean / n)
    variance_error = np.sqrt((mean + 2 * mean**2) / n)
    print(f"{mean}: mean {draws.mean():.4f} ± {error:.4f}, variance {draws.var():.4f} ± {variance_error:.4f}")
    assert draws.mean() == pytest.approx(mean, abs=4 * error)
    assert draws.var() == pytest.approx(mean, abs=4 * variance_error)


def test_normal_numbers_are_normal_and_rows_are_independent() -> None:
    rows = []
    for row in (0, 1):
        state, pair = np.empty(4, np.uint64), np.empty(2)
        random.start(7, int(Effect.READ_NOISE), row, state)
        values = np.empty((10_000, 2))
        for k in range(len(values)):
            random.normal_pair(state, pair)
            values[k] = pair
        rows.append(values.ravel())
    # 20 000 numbers: mean to 0.007, width to 0.005, correlation to 0.007.
    assert abs(rows[0].mean()) < 4 * 0.0071
    assert rows[0].std() == pytest.approx(1, abs=4 * 0.005)
    assert abs(np.corrcoef(rows)[0, 1]) < 4 * 0.0071


def test_a_level_field_gives_straight_ramps_of_the_right_rate() -> None:
    data = exposed(bare_detector(128), 40.0)[:, 4:-4, 4:-4].astype(float)
    expected = BIAS_DN + (RESET_E + 40.0 * IMAGING.mean_times_s) / 2.0
    # 120² pixels, √(40 × 139) electrons each at most: the mean is good to 0.3 DN, and all reads share noise.
    np.testing.assert_allclose(data.mean(axis=(1, 2)), expected, atol=4 * 0.31)


def test_photon_noise_of_a_resultant_is_that_of_its_averaged_reads() -> None:
    data = exposed(bare_detector(256), 40.0)[:, 4:-4, 4:-4].astype(float)
    reset_variance = 8.0**2 / 4
    variance = 40.0 * IMAGING.variance_times_s / 4 + reset_variance + 1 / 12
    measured = data.var(axis=(1, 2))
    # Relative error of a variance: √(2 / 61504).
    np.testing.assert_allclose(measured, variance, rtol=4 * 0.0057)


def test_the_response_bends_as_the_inverse_polynomial_says() -> None:
    bend = 1e-6
    data = exposed(bare_detector(bend=bend), 600.0)[-1, 4:-4, 4:-4]
    linear = (RESET_E + 600.0 * IMAGING.mean_times_s[-1]) / 2.0
    error = np.sqrt(600 * IMAGING.exposure_time_s) / 2 / 56
    assert data.mean() == pytest.approx(BIAS_DN + linear - bend * linear**2, abs=4 * error + 1)


def test_a_short_ramp_is_bent_by_a_parabola_as_by_the_polynomial() -> None:
    """Beside the same ramps with a deposit of nothing, which are done read by read."""
    model, size = bare_detector(), 64
    model.inverse_linearity[2] = -2e-6
    cubic = np.full((1, size, size), 4e-12, dtype=np.float32)
    model = replace(model, inverse_linearity=np.concatenate([model.inverse_linearity, cubic]))
    rate = 3.0
    n = size * size
    column, first = np.tile(np.arange(size, dtype=np.int32), size), np.arange(0, n + 1, size)
    nothing = cosmic_rays.Deposits(column, np.ones(n, np.int32), np.zeros(n, np.float32), first)
    one, other = exposed(model, rate), exposed(model, rate, deposits=nothing)
    # 10^-3 DN off, a number in 500 may be rounded the other way.
    assert np.abs(one.astype(int) - other).max() <= 1
    assert (one != other).mean() < 2e-3


def test_a_full_well_fills_and_stays_full() -> None:
    data = exposed(bare_detector(), 5_000.0)[:, 4:-4, 4:-4]
    full = 50_000 * 1.05
    assert data.max() == round(full)
    assert (data[-1] == round(full)).all()


def test_reference_pixels_see_no_light_but_share_the_electronics() -> None:
    drifting = Electronics(channel_offset_dn=20.0, row_drift_dn=5.0)
    model = bare_detector(size=128, read_noise=1.0)
    data, amp33 = detector.expose(
        build.plane(500.0, (128, 128)),
        model,
        IMAGING,
        deposits=cosmic_rays.no_deposits(128),
        electronics=drifting,
        seed=2,
    )
    border, inner = data[:, :4].astype(float), data[:, 4:-4, 4:-4].astype(float)
    assert border.max() < BIAS_DN + 150 < inner.min()
    rows = data[:, 4:-4, :4].astype(float).mean(axis=2)
    drift33 = amp33[:, 4:-4].astype(float).mean(axis=2)
    together = [np.corrcoef(rows[k], drift33[k])[0, 1] for k in range(len(rows))]
    assert np.median(together) > 0.8


def test_one_seed_repeats_bit_for_bit_on_any_number_of_threads() -> None:
    model = bare_detector(200, bend=1e-6, read_noise=5.0)
    one, four = (
        exposed(model, 3.0, seed=9, threads=threads, electronics=Electronics()) for threads in (1, 4)
    )
    np.testing.assert_array_equal(one, four)
    assert (exposed(model, 3.0, seed=10) != one).mean() > 0.5


def test_cosmic_rays_leave_the_rest_as_it_was(references: ReferenceStore) -> None:
    sources, meta = few_sources(), meta_at_pole(references)
    with_rays, without = (
        exposure.simulate(sources, meta, references, seed=4, effects=exposure.Effects(cosmic_rays=on)).ramp
        for on in (True, False)
    )
    changed = (with_rays.data != without.data).any(axis=0)
    area_cm2, rate = (build.SMALL * 1e-3) ** 2, 8.0
    expected = rate * area_cm2 * meta.ma_table.exposure_time_s
    assert expected < changed.sum() < 12 * expected
    np.testing.assert_array_equal(with_rays.amp33, without.amp33)


def test_cosmic_rays_come_at_their_rate_and_each_pixel_knows_its_read() -> None:
    hits = cosmic_rays.cosmic_rays(IMAGING, size=1024, rng=np.random.default_rng(3))
    assert hits.read.min() >= 1
    assert hits.read.max() <= IMAGING.n_reads
    assert hits.first[0] == 0
    assert hits.first[-1] == hits.column.size
    n = 8.0 * 1.024**2 * IMAGING.exposure_time_s
    # The mean track leaves 120 eV/µm over 15 µm: some 4,000 electrons; heavy tails leave 10 % doubt.
    assert hits.electrons.sum() / n == pytest.approx(4_500, rel=0.3)


@pytest.mark.parametrize(
    ("n", "radius", "ratio", "angle"),
    # Between the indices whose transforms are kept; the last two are larger than the stamp for details.
    [(1.02, 0.3, 0.7, 0.4), (2.53, 0.15, 0.9, 2.0), (3.98, 0.5, 0.5, 1.0), (1.53, 2.0, 0.6, 2.0)],
)
def test_a_galaxy_is_what_galsim_draws(n: float, radius: float, ratio: float, angle: float) -> None:
    psf, size = scene.grid(active=512), 512
    long, short = radius / np.sqrt(ratio) / 0.11, radius * np.sqrt(ratio) / 0.11
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    one = galaxies.Galaxies(
        np.array([256.3]), np.array([255.8]), np.ones(1), np.array([n]), (turn @ np.diag([long, short]))[None]
    )
    image = np.zeros((size, size), dtype=np.float32)
    galaxies.add_galaxies(image, one, psf, sizes=galaxies.stamp_sizes(one, np.array([1e-3])))
    fine = galsim.GSParams(maximum_fft_size=16384, folding_threshold=1e-3)
    samples = psf.at(256, 256)
    for axis in (0, 1):
        samples = correlate1d(samples, np.array([1, 4, 1]) / 6, axis=axis, mode="mirror")
    star = galsim.InterpolatedImage(
        galsim.Image(samples, scale=0.0275), flux=1, x_interpolant="lanczos7", gsparams=fine
    )
    profile = galsim.Sersic(n=n, half_light_radius=radius, gsparams=fine).shear(
        q=ratio, beta=angle * galsim.radians
    )
    expected = (
        galsim.Convolve(profile, star, gsparams=fine)
        .drawImage(nx=size + 1, ny=size + 1, scale=0.11, offset=(0.3, -0.2), method="no_pixel")
        .array[:size, :size]
    )
    difference = image - expected
    rms = np.sqrt((difference**2).sum() / (expected**2).sum())
    worst = np.abs(difference).max() / expected.max()
    print(f"n {n}: rms {rms:.1e}, worst {worst:.1e}, light {image.sum():.5f} of {expected.sum():.5f}")
    assert rms < 1e-3
    assert worst < 3e-3
    assert image.sum() == pytest.approx(expected.sum(), abs=2e-3)


def test_stamps_hold_the_wings_or_say_what_they_leave_out() -> None:
    """De Vaucouleurs galaxies of 0.05″ to 5″: 0.2 % outside at most, until the largest stamp is reached."""
    radii, n = np.geomspace(0.05, 5.0, 9) / 0.11, 9
    many = galaxies.Galaxies(
        np.zeros(n), np.zeros(n), np.ones(n), np.full(n, 4.0), radii[:, None, None] * np.eye(2)
    )
    sizes = galaxies.stamp_sizes(many, np.full(n, 2e-3))
    outside = galaxies.outside(many, sizes)
    assert (outside[sizes < galaxies.STAMP_SIZES[-1]] <= 2e-3).all()
    for radius, size, share in zip(radii, sizes, outside, strict=True):
        profile = galsim.Sersic(n=4, half_light_radius=radius)
        assert share == pytest.approx(1 - profile.calculateIntegratedFlux(size / 2 - 16), abs=1e-5)


def test_a_position_angle_runs_from_north_through_east(references: ReferenceStore) -> None:
    meta = meta_at_pole(references)
    angle = 35.0
    table = Table(
        {
            "ra": [RA],
            "dec": [DEC],
            "type": ["SER"],
            "mag_F158": [15.0],
            "n": [0.5],
            "ba": [0.3],
            "pa": [angle],
        }
    )
    table["half_light_radius"] = 1.0
    optics = exposure._optics(meta, references)
    sources = catalog.sources_from_table(table, "F158")
    placed = exposure.scene.place(sources, optics.wcs, conversion_megajanskys=1.0, size=scene.ACTIVE)
    image = exposure.scene.draw(sources, placed, optics.wcs, optics.psf, size=scene.ACTIVE).image
    y, x = np.mgrid[: scene.ACTIVE, : scene.ACTIVE] - np.array([placed.y, placed.x])[:, :, None]
    xx, xy, yy = ((image * moment).sum() for moment in (x * x, x * y, y * y))
    along = 0.5 * np.arctan2(2 * xy, xx - yy)
    middle = placed.x[0], placed.y[0]
    ra, dec = optics.wcs([middle[0], middle[0] + np.cos(along)], [middle[1], middle[1] + np.sin(along)])
    east, north = np.diff(ra)[0] * np.cos(np.deg2rad(DEC)), np.diff(dec)[0]
    assert np.rad2deg(np.arctan2(east, north)) % 180 == pytest.approx(angle, abs=0.1)


def test_a_star_falls_where_the_world_coordinates_say_with_its_flux(references: ReferenceStore) -> None:
    meta = meta_at_pole(references)
    optics = exposure._optics(meta, references)
    sources = catalog.sources_from_table(
        scene.star_table(np.array([RA]), np.array([DEC]), np.array([18.0])), "F158"
    )
    conversion = optics.photom.conversion_megajanskys
    placed = exposure.scene.place(sources, optics.wcs, conversion_megajanskys=conversion, size=scene.ACTIVE)
    assert (placed.x[0], placed.y[0]) == pytest.approx(((scene.ACTIVE - 1) / 2,) * 2, abs=1e-4)
    janskys = placed.flux[0] * conversion * 1e6 * (0.11 / 206264.80625) ** 2
    assert janskys == pytest.approx(AB_ZERO_JY * 10 ** (-0.4 * 18.0), rel=1e-6)


def test_the_sky_is_brighter_at_the_ecliptic_and_the_long_filters_glow() -> None:
    date = exposure.DEFAULT_START
    pole = background_mjysr("WFI07", "F158", ra_deg=270.0, dec_deg=66.0, date=date)
    plane = background_mjysr("WFI07", "F158", ra_deg=150.1, dec_deg=2.2, date=date)
    assert 2 * pole < plane < 6 * pole
    unpointable = background_mjysr("WFI07", "F158", ra_deg=70.0, dec_deg=22.0, date=date)
    assert 0.5 * pole < unpointable < plane
    hot = background_mjysr("WFI07", "F213", ra_deg=270.0, dec_deg=66.0, date=date)
    assert hot > 5 * pole


def test_a_made_field_has_what_was_asked_and_lies_in_its_disc() -> None:
    field = make_field(10.0, -60.0, n_stars=200, n_galaxies=300, rng=np.random.default_rng(2))
    sources = catalog.sources_from_table(field, "F158")
    assert sources.is_star.sum() == 200
    assert len(sources) == 500
    distance = np.hypot((sources.ra_deg - 10.0) * np.cos(np.deg2rad(sources.dec_deg)), sources.dec_deg + 60.0)
    assert distance.max() <= 0.0951


def test_magnitudes_and_maggies_mean_the_same() -> None:
    table = scene.star_table(np.array([1.0]), np.array([2.0]), np.array([20.0]))
    by_magnitude = catalog.sources_from_table(table, "F158").flux_jy
    del table["mag_F158"]
    table["F158"] = [10**-8.0]
    np.testing.assert_allclose(catalog.sources_from_table(table, "F158").flux_jy, by_magnitude, rtol=1e-12)
    assert by_magnitude[0] == pytest.approx(3631e-8)


def test_parquet_and_ecsv_hold_the_same_sources(tmp_path: Path) -> None:
    field = make_field(10.0, -60.0, n_stars=5, n_galaxies=5, rng=np.random.default_rng(2))
    catalog.write_table(field, str(tmp_path / "a.parquet"))
    field.write(tmp_path / "a.ecsv")
    one, other = (catalog.read_sources(str(tmp_path / name), "F158") for name in ("a.parquet", "a.ecsv"))
    np.testing.assert_array_equal(one.flux_jy, other.flux_jy)
    np.testing.assert_array_equal(one.is_star, other.is_star)
    np.testing.assert_array_equal(one.position_angle_deg, other.position_angle_deg)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("type", "BLOB", r"unknown types \['BLOB'\]"),
        ("mag_F158", np.nan, "not finite"),
        ("n", 9.0, "Sérsic index outside"),
        ("half_light_radius", 0.0, "not positive"),
        ("ba", 1.5, "axis ratio outside"),
    ],
)
def test_impossible_sources_are_refused_with_their_row(column: str, value: object, message: str) -> None:
    field = make_field(10.0, -60.0, n_stars=1, n_galaxies=3, rng=np.random.default_rng(2))
    field["type"] = np.asarray(field["type"], dtype="U8")
    field[column][2] = value
    with pytest.raises(InputError, match=message):
        catalog.sources_from_table(field, "F158", name="field.ecsv")


def test_missing_columns_are_named() -> None:
    field = make_field(10.0, -60.0, n_stars=1, n_galaxies=3, rng=np.random.default_rng(2))
    with pytest.raises(InputError, match=r"no flux for F062: write a column F062 \(maggies\) or mag_F062"):
        catalog.sources_from_table(field, "F062")
    field.remove_columns(["n", "pa"])
    with pytest.raises(InputError, match="field: lacks the columns n, pa"):
        catalog.sources_from_table(field, "F158", name="field")


@pytest.mark.parametrize("name", ["broken.parquet", "broken.ecsv"])
def test_a_broken_catalogue_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PAR1 not really \xff\xfe")
    with pytest.raises(UnreadableProductError, match=name):
        catalog.read_table(str(tmp_path / name))


def test_unknown_detectors_and_filters_are_refused(references: ReferenceStore) -> None:
    pointing = meta_at_pole(references).pointing
    with pytest.raises(InputError, match="WFI19"):
        exposure.exposure_meta("WFI19", "F158", pointing=pointing)
    with pytest.raises(InputError, match="GRISM"):
        exposure.exposure_meta("WFI01", "GRISM", pointing=pointing)


def test_the_truth_names_every_source_on_the_detector_and_comes_back(
    references: ReferenceStore, tmp_path: Path
) -> None:
    sources, meta = few_sources(), meta_at_pole(references)
    made = exposure.simulate(sources, meta, references, seed=4)
    image = wcs.build(exposure._optics(meta, references).wcs.get_transform("detector", "v2v3"), meta.pointing)
    x, y = wcs.to_pixels(image, sources.ra_deg, sources.dec_deg)
    inside = (x > -50) & (y > -50) & (x < scene.ACTIVE + 50) & (y < scene.ACTIVE + 50)
    assert made.truth["catalog_row"].tolist() == np.flatnonzero(inside).tolist()
    url = exposure.truth_url(str(tmp_path / str(meta.file_name)))
    assert url.endswith("_f158_truth.ecsv")
    exposure.write_truth(made.truth, url)
    again = exposure.read_truth(url)
    np.testing.assert_array_equal(again["flux_njy"], made.truth["flux_njy"])
    write_ramp(made.ramp, str(tmp_path / str(meta.file_name)))


def test_the_converter_s_ripples_are_in_every_read() -> None:
    ripple = np.zeros((32, 2**16), np.float32)
    ripple[:] = 20 * np.sin(np.arange(2**16) / 500)
    for rate in (5.0, 600.0):
        plain, bent = (
            exposed(replace(bare_detector(128), converter=converter), rate)[:, 4:-4, 4:-4].astype(float)
            for converter in (ripple[:, :2] * 0, ripple)
        )
        # The same photons: what differs is the ripple at each read, averaged; rounding is 0.3 DN.
        expected = 20 * np.sin(plain / 500)
        apart = bent - plain - expected
        reads = IMAGING.reads_per_resultant == 1
        assert np.abs(apart[reads]).max() < 1.1
        assert np.abs(apart.mean(axis=(1, 2))).max() < 0.2 if rate < 100 else True


def test_neighbours_show_a_share_of_a_pixel_s_signal_and_none_is_lost() -> None:
    kernel = np.array([[0.001, 0.01, 0.001], [0.02, 0.936, 0.02], [0.001, 0.01, 0.001]], np.float32)
    electrons = np.zeros((64, 64), np.float32)
    electrons[30, 40] = 500
    data = [
        detector.expose(
            electrons, replace(bare_detector(), ipc=ipc), IMAGING,
            deposits=cosmic_rays.no_deposits(64), electronics=QUIET, seed=5,
        )[0].astype(float)
        for ipc in (detector.no_ipc(), kernel)
    ]  # fmt: skip
    rise = [each[-1] - each[0] for each in data]
    stamp, total = rise[1][29:32, 39:42], rise[0][30, 40]
    # The level of the reset differs from pixel to pixel by 4 DN; so do rounded numbers by one.
    np.testing.assert_allclose(stamp / total, kernel, atol=2e-4)
    assert rise[1][4:-4, 4:-4].sum() == pytest.approx(rise[0][4:-4, 4:-4].sum(), rel=1e-3)
