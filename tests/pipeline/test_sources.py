"""Sums, moments, ellipses, circles and sharpness, beside photutils on the same image; errors are scatters."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from photutils.aperture import CircularAperture, aperture_photometry
from photutils.detection import DAOStarFinder
from photutils.segmentation import SegmentationImage, SourceCatalog
from tests.support import simulator as scene

from nexus_pipeline.measure import correlation, daofind, sources
from nexus_pipeline.measure.circle_kernels import middle_of

SHAPE, CENTRE, SIGMA_PX, NOISE = (21, 21), (10.2, 9.7), 1.8, 1.0
DRAWS = 2000
# The standard deviation of n draws has a relative standard error of 1/sqrt(2 n): 1.6 %; three of them.
TOLERANCE = 3 / np.sqrt(2 * DRAWS)
Image = NDArray[np.float32]


def field_of(image: Image, labels: NDArray[np.int32], *, noise: float = NOISE) -> sources.Field:
    return sources.Field(
        image.astype(np.float32),
        np.full(image.shape, noise**2, np.float32),
        np.zeros(image.shape, np.bool_),
        labels,
        correlation.independent(),
    )


def star_of(flux: float) -> NDArray[np.float64]:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    shape = np.exp(-0.5 * ((x - CENTRE[0]) ** 2 + (y - CENTRE[1]) ** 2) / SIGMA_PX**2)
    return flux * shape / shape.sum()


def disc() -> NDArray[np.int32]:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return ((x - 10) ** 2 + (y - 10) ** 2 <= 36).astype(np.int32)


def galaxies(*, noise: float = 0.0) -> tuple[Image, NDArray[np.int32]]:
    """Return four elliptical Gaussians on 120² pixels, and the pixels of each."""
    y, x = np.mgrid[:120, :120].astype(float)
    image, labels = np.zeros((120, 120)), np.zeros((120, 120), np.int32)
    for k, (at_x, at_y, a, b, angle) in enumerate(
        [
            (30.2, 28.7, 4.0, 2.0, 0.3),
            (85.4, 32.1, 3.0, 3.0, 0.0),
            (33.3, 88.8, 5.0, 2.5, 1.2),
            (88, 86, 2, 1.5, -0.7),
        ]
    ):
        u = (x - at_x) * np.cos(angle) + (y - at_y) * np.sin(angle)
        v = (y - at_y) * np.cos(angle) - (x - at_x) * np.sin(angle)
        light = 1000 * (k + 1) * np.exp(-0.5 * (u**2 / a**2 + v**2 / b**2)) / (2 * np.pi * a * b)
        labels[light > 0.4] = k + 1
        image += light
    image += noise * np.random.default_rng(8).standard_normal(image.shape)
    return image.astype(np.float32), labels


def measured(
    image: Image, labels: NDArray[np.int32]
) -> tuple[sources.Segments, sources.Extents, SourceCatalog]:
    field = field_of(image, labels, noise=0.05)
    peaks = [
        np.unravel_index(np.argmax(image * (labels == k)), image.shape) for k in range(1, labels.max() + 1)
    ]
    y, x = np.array(peaks, dtype=np.int64).T
    segments = sources.segments(field, x, y)
    theirs = SourceCatalog(image, SegmentationImage(labels), error=np.full(image.shape, 0.05, np.float32))
    return segments, sources.extents(field, segments), theirs


def test_sums_and_moments_are_those_of_photutils() -> None:
    segments, _, theirs = measured(*galaxies())
    np.testing.assert_allclose(segments.flux, theirs.segment_flux, rtol=1e-5)
    np.testing.assert_allclose(segments.flux_err, theirs.segment_flux_err, rtol=1e-5)
    np.testing.assert_allclose(segments.x, theirs.x_centroid, atol=1e-3)
    np.testing.assert_allclose(segments.y, theirs.y_centroid, atol=1e-3)
    major, minor = segments.semiaxes
    np.testing.assert_allclose(major, theirs.semimajor_axis.value, rtol=1e-3)
    np.testing.assert_allclose(minor, theirs.semiminor_axis.value, rtol=1e-3)
    tilted = [0, 2, 3]  # the second is round
    turned = np.rad2deg(segments.angle) - theirs.orientation.value
    np.testing.assert_allclose(np.mod(turned[tilted] + 90, 180) - 90, 0, atol=0.1)
    for ours, name in zip(segments.quadratic, ("cxx", "cxy", "cyy"), strict=True):
        np.testing.assert_allclose(ours, getattr(theirs, f"ellipse_{name}").value, rtol=2e-3, atol=1e-5)
    box = np.column_stack([getattr(theirs, f"bbox_{edge}") for edge in ("xmin", "xmax", "ymin", "ymax")])
    np.testing.assert_array_equal(segments.box, box)


def test_kron_and_half_light_are_near_photutils_own() -> None:
    _, extents, theirs = measured(*galaxies(noise=0.05))
    # Theirs leaves neighbours' pixels out, ours takes those across the centre; the soft edge differs too.
    np.testing.assert_allclose(extents.radius, theirs.kron_radius.value, rtol=0.03)
    np.testing.assert_allclose(extents.flux, theirs.kron_flux, rtol=0.01)
    np.testing.assert_allclose(extents.half_light, theirs.flux_radius(0.5).value, rtol=0.02)
    np.testing.assert_allclose(extents.x, theirs.x_centroid_win, atol=0.01)
    np.testing.assert_allclose(extents.y, theirs.y_centroid_win, atol=0.01)


def test_a_neighbour_in_the_kron_ellipse_is_replaced_by_what_lies_across() -> None:
    image, labels = galaxies()
    alone, _, _ = measured(image, labels)
    segments, extents, _ = measured(image, labels)
    lit, marked = image.copy(), labels.copy()
    lit[28:34, 39:45], marked[28:34, 39:45] = 50, 5
    _, beside, _ = measured(lit, marked)
    assert extents.flux[0] == pytest.approx(1000, rel=0.02)
    assert beside.flux[0] == pytest.approx(extents.flux[0], rel=0.01)
    assert alone.flux[0] == segments.flux[0]


@pytest.mark.parametrize("radius", [0.91, 1.82, 3.64, 14.5])
def test_circles_have_the_exact_area_of_photutils(radius: float) -> None:
    rng = np.random.default_rng(9)
    image = rng.uniform(0.5, 1.5, (60, 60)).astype(np.float32)
    x, y = rng.uniform(25, 35, (2, 40))
    found = sources.circles(
        field_of(image, np.zeros(image.shape, np.int32)), x, y, radii=[radius], ring=(18.0, 21.0)
    )
    theirs = aperture_photometry(image, CircularAperture(np.column_stack([x, y]), radius))["aperture_sum"]
    area = np.pi * radius**2
    np.testing.assert_allclose(found.flux[:, 0] + found.ring * area, theirs, atol=3e-3 * 2 * np.pi * radius)


def test_the_middle_of_numbers_is_their_median() -> None:
    rng = np.random.default_rng(10)
    for n in (1, 2, 3, 10, 501, 502):
        values = rng.standard_normal(n).astype(np.float32)
        assert middle_of(values.copy()) == pytest.approx(float(np.median(values)))
    assert middle_of(np.full(50, 2, np.float32)) == 2


def test_sharpness_and_roundness_are_daofinds() -> None:
    rng = np.random.default_rng(11)
    image = rng.normal(0, 0.05, (200, 200)).astype(np.float32)
    x, y = scene.grid_of_stars(5, 40.0, jitter=3.0, rng=rng)
    scene.grid(active=200).add_to(image, x, y, rng.uniform(20, 90, x.size), radii=np.full(x.size, 12))
    pixels = np.column_stack([np.rint(x), np.rint(y)]).astype(int)
    found = sources.sharp_and_round(field_of(image, np.zeros(image.shape, np.int32)), x, y, fwhm=1.6)
    everything = (-np.inf, np.inf)
    theirs = DAOStarFinder(
        threshold=0.0, fwhm=1.6, xycoords=pixels, min_separation=0,
        sharpness_range=everything, roundness_range=everything,
    )(image)  # fmt: skip
    assert theirs is not None
    assert len(theirs) == len(x)
    np.testing.assert_allclose(found[:, 0], theirs["sharpness"], rtol=1e-4)
    np.testing.assert_allclose(found[:, 1], theirs["roundness1"], rtol=1e-3, atol=1e-4)
    assert daofind.kernel(1.6).sum() == pytest.approx(0, abs=1e-12)


def test_the_error_of_a_centre_of_mass_is_its_scatter() -> None:
    rng = np.random.default_rng(7)
    star, inside = star_of(flux=4000.0), disc()
    images = star + rng.normal(0, NOISE, (DRAWS, *SHAPE))
    found = [centre(image, inside)[:2] for image in images]
    errors = centre(star, inside)[2:]
    print(f"scatter {np.std(found, axis=0)}, errors {errors}, tolerance {TOLERANCE:.3f}")
    np.testing.assert_allclose(errors, np.std(found, axis=0), rtol=TOLERANCE)


def centre(image: NDArray[np.floating], labels: NDArray[np.int32]) -> tuple[float, float, float, float]:
    found = sources.segments(field_of(image.astype(np.float32), labels), np.array([10]), np.array([10]))
    return found.x[0], found.y[0], found.x_err[0], found.y_err[0]


def test_the_error_of_a_windowed_centroid_is_its_scatter() -> None:
    rng = np.random.default_rng(8)
    star, inside = star_of(flux=4000.0), disc()
    found = []
    for image in star + rng.normal(0, NOISE, (DRAWS, *SHAPE)):
        field = field_of(image, inside)
        windowed = sources.extents(field, sources.segments(field, np.array([10]), np.array([10])))
        found.append((windowed.x[0], windowed.y[0], windowed.x_err[0], windowed.y_err[0]))
    x, y, x_err, y_err = np.array(found).T
    print(f"scatter {x.std():.4f} {y.std():.4f}, errors {x_err.mean():.4f} {y_err.mean():.4f}")
    # The formula is SExtractor's, for a window that is not itself noisy: right to a tenth.
    np.testing.assert_allclose([x_err.mean() / x.std(), y_err.mean() / y.std()], 1, atol=0.1)
    np.testing.assert_allclose([x.mean(), y.mean()], CENTRE, atol=0.01)


def test_a_source_without_flux_has_no_centre_and_no_error() -> None:
    field = field_of(np.zeros(SHAPE, np.float32), np.ones(SHAPE, np.int32))
    found = sources.segments(field, np.array([10]), np.array([10]))
    assert np.isnan([found.x[0], found.x_err[0]]).all()
    extents = sources.extents(field, found)
    assert np.isnan([extents.flux[0], extents.half_light[0], extents.x[0]]).all()


def test_correlated_noise_is_told_from_the_pixels_and_makes_the_errors_those_of_blank_circles() -> None:
    rng = np.random.default_rng(12)
    white = rng.standard_normal((1200, 1200))
    kernel = np.array([0.25, 0.5, 0.25])
    for axis in (0, 1):
        white = np.apply_along_axis(np.convolve, axis, white, kernel, mode="same")
    noise = (white / white.std()).astype(np.float32)
    found = correlation.measured(noise, np.ones(noise.shape, np.bool_))
    # A kernel of variance 3/8 has correlations of 2/3 and 1/6 along an axis.
    middle = found.lags.shape[0] // 2
    np.testing.assert_allclose(found.lags[middle, middle + 1 : middle + 3], [2 / 3, 1 / 6], atol=0.01)
    x, y = (each.ravel() for each in np.meshgrid(np.arange(20, 1180, 24.0), np.arange(20, 1180, 24.0)))
    field = replace(field_of(noise, np.zeros(noise.shape, np.int32), noise=1), correlation=found)
    radii = [1.0, 2.0, 4.0, 8.0]
    circles = sources.circles(field, x, y, radii=radii, ring=(9.0, 11.0))
    scatter = (circles.flux + circles.ring[:, None] * np.pi * np.array(radii) ** 2).std(axis=0)
    own = np.sqrt(
        np.median(circles.flux_err, axis=0) ** 2
        - (np.median(circles.ring_err) * np.pi * np.array(radii) ** 2) ** 2
    )
    print(f"predicted over scatter {own / scatter} ± {1 / np.sqrt(2 * x.size):.3f}")
    # 2,400 circles: three standard errors are 4 %.
    np.testing.assert_allclose(own / scatter, 1, atol=0.05)


def test_white_noise_has_no_correlation() -> None:
    noise = np.random.default_rng(13).standard_normal((600, 600)).astype(np.float32)
    lags = correlation.measured(noise, np.ones(noise.shape, np.bool_)).lags
    assert lags.sum() == pytest.approx(1, abs=0.05)
