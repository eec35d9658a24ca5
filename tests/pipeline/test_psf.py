from dataclasses import replace

import galsim
import numpy as np
import pytest
from tests.support import simulator as scene

from nexus_pipeline.errors import InputError, MismatchedReferenceError
from nexus_pipeline.psf import fit
from nexus_pipeline.psf.grid import PsfGrid, from_reference
from nexus_pipeline.simulate import optics

SIZE = 248
FLAT_NOISE = fit.NoiseCurve(np.array([-1e6, 1e6]), np.array([1e-4, 1e-4]))


def image_of(psf: PsfGrid, x: np.ndarray, y: np.ndarray, flux: np.ndarray) -> np.ndarray:
    image = np.zeros((SIZE, SIZE), dtype=np.float32)
    psf.add_to(image, x, y, flux, radii=np.full(len(x), psf.radius - 1))
    return image


def fitted(image: np.ndarray, psf: PsfGrid, x: np.ndarray, y: np.ndarray, **options: object) -> fit.PsfFits:
    arguments = {
        "background": np.zeros_like(image),
        "extra_variance": np.zeros_like(image),
        "usable": np.ones(image.shape, dtype=bool),
        "noise": FLAT_NOISE,
        **options,
    }
    return fit.fit_sources(image, psf=psf, x=x, y=y, **arguments)  # type: ignore[arg-type]


def test_a_sampled_star_has_the_exact_light_in_each_pixel() -> None:
    stamp = scene.grid().stamp(100.3, 57.55, radius=8)
    x, y = np.meshgrid(np.arange(-8, 9) - 0.3, np.arange(-8, 9) + 0.45)
    # Cubic splines between quarter pixels of a Gaussian of 0.8 pixels.
    np.testing.assert_allclose(stamp, scene.gaussian_fraction(x, y), atol=2e-4 * stamp.max())
    assert stamp.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("filter_name", ["F062", "F158"])
def test_a_sampled_roman_star_is_what_galsim_draws_from_the_optics(filter_name: str) -> None:
    profile = optics.optics_at("WFI07", filter_name, 2043.5, 2043.5, kelvin=5800.0)
    with_pixel = galsim.Convolve(profile, galsim.Pixel(0.11))
    stamps = with_pixel.drawImage(nx=361, ny=361, scale=0.0275, method="no_pixel", dtype=float).array * 16
    reference = replace(scene.epsf(), psf=np.broadcast_to(stamps, (1, 1, 9, 361, 361)).astype(np.float32))
    ours = from_reference(reference).stamp(100.37, 80.81, radius=15)
    direct = profile.drawImage(nx=31, ny=31, scale=0.11, offset=(0.37, -0.19), dtype=float).array
    # Four samples a pixel are just enough for F062, whose optics pass 2.5 times finer detail.
    worst = 6e-3 if filter_name == "F062" else 5e-4
    assert np.abs(ours - direct).max() < worst * direct.max()
    assert (ours * direct).sum() / (direct**2).sum() == pytest.approx(1, abs=worst / 3)


def test_between_its_grid_positions_the_psf_is_the_mean_of_its_neighbours() -> None:
    psf = scene.grid(growth=0.2)
    left, right = psf.at(0, 50), psf.at(psf.xs[1], 50)
    np.testing.assert_allclose(psf.at(psf.xs[1] / 4, 50), 0.75 * left + 0.25 * right, atol=1e-7)
    np.testing.assert_array_equal(psf.at(-500, 50), left)


@pytest.mark.parametrize("oversample", [2, 4])
def test_stars_are_added_as_their_stamps_are_over_edges_too(oversample: int) -> None:
    rng = np.random.default_rng(48)
    size, radius = 41 * oversample, 6
    # Coefficients of nothing in particular, different at each of nine places.
    coefficients = rng.standard_normal((9, size, size)).astype(np.float32)
    lines = np.array([0.0, 20.0, 40.0])
    psf = PsfGrid(coefficients[:, 1:, 1:], lines, lines, oversample)
    x, y, flux = rng.uniform(-4, 46, 30), rng.uniform(-4, 46, 30), rng.uniform(-2, 2, 30)
    image = np.zeros((41, 43), np.float32)
    psf.add_to(image, x, y, flux, radii=np.full(30, radius))
    wide = np.zeros((41 + 40, 43 + 40))
    for at_x, at_y, light in zip(x, y, flux, strict=True):
        column, row = int(np.floor(at_x + 0.5)) + 20, int(np.floor(at_y + 0.5)) + 20
        window = np.s_[row - radius : row + radius + 1, column - radius : column + radius + 1]
        wide[window] += light * psf.stamp(at_x, at_y, radius=radius)
    np.testing.assert_allclose(image, wide[20:-20, 20:-20], atol=2e-5 * np.abs(wide).max())


@pytest.mark.parametrize("level", [[1.0, 1.5, 1.6, 9.0, 400.0], [-1e6, 1e6], [2.0, 2.0, 3.0]])
def test_the_noise_of_a_plane_is_read_between_the_nodes_of_its_curve(level: list[float]) -> None:
    nodes, variance = np.array(level), np.linspace(1, 2, len(level))
    brightness = np.random.default_rng(48).lognormal(0.5, 2, (40, 50)).astype(np.float32)
    brightness[0, :3] = np.inf, -np.inf, level[1]
    made = fit.NoiseCurve(nodes, variance).of_plane(brightness)
    beside = np.isin(brightness, nodes)
    assert beside.any()
    np.testing.assert_allclose(made[~beside], np.interp(brightness, nodes, variance)[~beside], rtol=1e-6)
    assert ((made >= 1) & (made <= 2)).all()


def test_noiseless_stars_come_back_exactly() -> None:
    psf = scene.grid(growth=0.1)
    rng = np.random.default_rng(3)
    x, y = scene.grid_of_stars(7, 34.0, jitter=8.0, rng=rng)
    flux = rng.uniform(5, 5000, x.size)
    start = rng.uniform(-0.5, 0.5, (2, x.size))
    found = fitted(image_of(psf, x, y, flux), psf, x + start[0], y + start[1])
    assert found.converged.all()
    # Single precision images; neighbours 20 pixels away are beyond the Gaussian's reach.
    np.testing.assert_allclose(found.flux, flux, rtol=2e-5)
    np.testing.assert_allclose(found.x, x, atol=2e-5)
    np.testing.assert_allclose(found.y, y, atol=2e-5)


def test_quoted_errors_are_the_scatter_and_weights_leave_no_bias() -> None:
    psf, rng, n = scene.grid(), np.random.default_rng(4), 900
    read, photon, sky, flux = 1e-3, 4e-3, 0.4, 12.0
    x, y = (rng.uniform(20, 28, n) for _ in range(2))
    noise = fit.NoiseCurve(np.array([0.0, 1e3]), np.array([read, read + photon * 1e3]))
    results = []
    for k in range(n):
        clean = image_of(psf, x[k : k + 1], y[k : k + 1], np.array([flux]))[:48, :48]
        variance = read + photon * (clean + sky)
        noisy = (clean + rng.normal(size=clean.shape) * np.sqrt(variance)).astype(np.float32)
        background = np.full_like(noisy, sky)
        found = fitted(noisy, psf, x[k : k + 1], y[k : k + 1], background=background, noise=noise)
        results.append((found.flux[0], found.flux_err[0], found.x[0] - x[k], found.x_err[0]))
    values, errors, offset, offset_error = np.array(results).T
    pull = (values - flux) / errors
    # S/N about 30; the standard error of the mean is 1/30, of the width 1/√1800.
    print(f"S/N {flux / errors.mean():.1f}: pull {pull.mean():+.3f} ± 0.033, width {pull.std():.3f} ± 0.024")
    assert abs(pull.mean()) < 3.5 * 0.033
    assert pull.std() == pytest.approx(1, abs=3 * 0.024)
    assert (offset / offset_error).std() == pytest.approx(1, abs=3 * 0.024)


def test_a_forced_fit_stays_where_it_is_told_and_may_be_negative() -> None:
    psf = scene.grid(growth=0.1)
    x, y, flux = np.array([60.3, 100.7, 150.2]), np.array([60.1, 99.6, 150.4]), np.array([50.0, 2.0, -7.0])
    found = fitted(image_of(psf, x, y, flux), psf, x, y, free=False)
    assert found.converged.all()
    np.testing.assert_allclose(found.flux, flux, rtol=2e-5)
    np.testing.assert_array_equal((found.x, found.y), (x, y))


def test_fixed_positions_leave_faint_fluxes_unbiased_where_free_ones_are_brightened() -> None:
    psf, rng, n = scene.grid(), np.random.default_rng(5), 1500
    noise = 0.01
    stamp = psf.stamp(24, 24, radius=8)
    flux = 8 * noise / np.sqrt((stamp**2).sum())
    ratios = []
    for _ in range(n):
        x, y = rng.uniform(20, 28, (2, 1))
        clean = image_of(psf, x, y, np.array([flux]))[:48, :48]
        noisy = (clean + rng.normal(0, noise, clean.shape)).astype(np.float32)
        both = (fitted(noisy, psf, x, y, free=free, passes=1) for free in (False, True))
        ratios.append([one.flux[0] / flux - 1 if one.converged[0] else np.nan for one in both])
    forced, free = np.nanmean(ratios, axis=0)
    error = 1 / 8 / np.sqrt(n)
    # Portillo et al. (2020): two free parameters of position brighten a star by (S/N)⁻².
    print(f"S/N 8: forced {forced:+.4f}, free {free:+.4f} ± {error:.4f}, expected 0 and {1 / 64:+.4f}")
    assert abs(forced) < 3 * error
    assert free - forced == pytest.approx(1 / 64, abs=0.005)


def test_close_neighbours_are_taken_off_each_other() -> None:
    psf = scene.grid()
    x, y, flux = np.array([100.2, 103.9]), np.array([90.0, 91.1]), np.array([100.0, 400.0])
    found = fitted(image_of(psf, x, y, flux), psf, x, y, passes=6)
    np.testing.assert_allclose(found.flux, flux, rtol=1e-3)


def test_the_extent_is_the_variance_beyond_a_star_s() -> None:
    psf, rng = scene.grid(), np.random.default_rng(6)
    x, y = scene.grid_of_stars(7, 34.0, jitter=6.0, rng=rng)
    flux = np.full(x.size, 100.0)
    blurred = scene.grid(sigma=float(np.sqrt(scene.SIGMA**2 + 0.02)))
    for grid, expected in ((psf, 0.0), (blurred, 0.02)):
        noisy = image_of(grid, x, y, flux) + rng.normal(0, 0.01, (SIZE, SIZE)).astype(np.float32)
        found = fitted(noisy, psf, x, y)
        pull = (found.extent - expected) / found.extent_err
        print(f"{expected}: {found.extent.mean():.4f}, error {found.extent_err.mean():.5f}")
        # First order in the extent: to a tenth of it. 49 stars tell their mean to a seventh of their error.
        tolerance = 3 * found.extent_err.mean() / 7 + 0.1 * expected
        assert found.extent.mean() == pytest.approx(expected, abs=tolerance)
        # Their width to a tenth.
        assert pull.std() == pytest.approx(1, abs=0.3)


def test_unusable_pixels_do_not_count_and_a_source_without_pixels_is_reported() -> None:
    psf = scene.grid()
    x, y, flux = np.array([60.3, 150.0]), np.array([60.1, 150.0]), np.array([50.0, 50.0])
    image = image_of(psf, x, y, flux)
    usable = np.ones(image.shape, dtype=bool)
    image[60, 61], usable[60, 61] = 1e6, False
    image[61, 59] = np.nan
    usable[140:160, 140:160] = False
    found = fitted(image, psf, x, y, usable=usable)
    assert found.flux[0] == pytest.approx(50, rel=1e-4)
    assert found.converged.tolist() == [True, False]
    assert found.n_used.tolist() == [79, 0]
    assert np.isnan(found.flux_err[1])


def test_a_pixel_with_extra_variance_hardly_counts() -> None:
    psf = scene.grid()
    at = np.array([60.3]), np.array([60.1])
    image = image_of(psf, *at, np.array([50.0]))
    extra = np.zeros_like(image)
    image[61, 61] += 5
    biased = fitted(image, psf, *at)
    extra[61, 61] = 1e4
    found = fitted(image, psf, *at, extra_variance=extra)
    assert abs(biased.flux[0] / 50 - 1) > 0.01
    assert found.flux[0] == pytest.approx(50, rel=1e-4)
    assert found.flux_err[0] > biased.flux_err[0]


def test_the_result_does_not_depend_on_the_number_of_threads() -> None:
    psf, rng = scene.grid(), np.random.default_rng(5)
    x, y = rng.uniform(20, 228, (2, 60))
    image = image_of(psf, x, y, rng.uniform(1, 50, 60))
    one, three = (fitted(image, psf, x, y, threads=threads) for threads in (1, 3))
    np.testing.assert_array_equal(one.flux, three.flux)


def test_no_sources_are_no_trouble() -> None:
    none = np.empty(0)
    assert fitted(np.zeros((SIZE, SIZE), np.float32), scene.grid(), none, none).flux.shape == (0,)


def test_an_optical_psf_of_unit_sum_is_refused() -> None:
    reference = scene.epsf()
    with pytest.raises(MismatchedReferenceError, match="pixel response"):
        from_reference(replace(reference, psf=reference.psf / 16))


def test_positions_that_form_no_grid_are_refused() -> None:
    reference = scene.epsf()
    with pytest.raises(MismatchedReferenceError, match="no rectangular grid"):
        from_reference(replace(reference, pixel_x=(1.0, *reference.pixel_x[1:])))


def test_an_unknown_spectral_type_is_refused() -> None:
    with pytest.raises(MismatchedReferenceError, match="no spectral type O5V"):
        from_reference(scene.epsf(), spectral_type="O5V")


def test_an_element_without_images_has_no_psf() -> None:
    with pytest.raises(InputError, match="GRISM"):
        optics.epsf_reference("WFI07", "GRISM")
