"""Detection and deblending, beside scipy, sep and photutils on small images."""

import numpy as np
import pytest
from numpy.typing import NDArray
from photutils.segmentation import deblend_sources, detect_sources
from scipy.ndimage import label
from scipy.signal import convolve2d
from scipy.spatial import cKDTree
from scipy.special import ndtr
from tests.support import simulator as scene
from tests.support.sep_run import extracted

from nexus_pipeline.measure import detect
from nexus_pipeline.measure.between_pixels import between
from nexus_pipeline.measure.deblend import Rule, flood
from nexus_pipeline.measure.islands import islands
from nexus_pipeline.measure.matched_filter import significance

SIZE = 400
Plane = NDArray[np.float32]


def stamp(radius: int = 3) -> Plane:
    return scene.grid(active=SIZE).stamp(SIZE // 2, SIZE // 2, radius=radius).astype(np.float32)


def crowd(*, seed: int, n: int, pair_pixels: float) -> tuple[Plane, NDArray[np.float64]]:
    """Return an image of noise 1 with ``n`` pairs of stars and a wide galaxy, and where the stars are."""
    rng = np.random.default_rng(seed)
    x, y = scene.grid_of_stars(round(n**0.5), SIZE / round(n**0.5), jitter=4.0, rng=rng)
    angle = rng.uniform(0, 2 * np.pi, x.size)
    x = np.concatenate([x, x + pair_pixels * np.cos(angle)])
    y = np.concatenate([y, y + pair_pixels * np.sin(angle)])
    image = rng.standard_normal((SIZE, SIZE), dtype=np.float32)
    flux = np.concatenate([rng.uniform(300, 3000, angle.size), rng.uniform(100, 300, angle.size)])
    scene.grid(active=SIZE).add_to(image, x, y, flux, radii=np.full(x.size, 14))
    return image, np.column_stack([x, y])


def filtered(image: Plane, kernel: Plane) -> Plane:
    return significance(image, np.ones_like(image), np.ones(image.shape, np.bool_), kernel)


def found_share(truth: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the share of the truth with a source of its own within a pixel and a half."""
    distance, which = cKDTree(np.column_stack([x, y])).query(truth)
    return len(np.unique(which[distance < 1.5])) / len(truth)


def test_the_filter_is_the_convolution_weighed_by_inverse_variance() -> None:
    rng = np.random.default_rng(1)
    image = rng.standard_normal((70, 90), dtype=np.float32)
    variance = rng.uniform(0.5, 2, image.shape).astype(np.float32)
    usable = rng.random(image.shape) > 0.05
    image[3, 5], usable[20, 20:30] = np.nan, False
    kernel = stamp(4)
    weight = np.where(usable & np.isfinite(image), 1 / variance, 0)
    above = convolve2d(np.where(weight > 0, image, 0) * weight, kernel[::-1, ::-1], mode="same")
    below = convolve2d(weight, kernel[::-1, ::-1] ** 2, mode="same")
    # Separable terms leave 3 % of the kernel's norm at most.
    np.testing.assert_allclose(
        significance(image, variance, usable, kernel), above / np.sqrt(below), atol=0.05 * 4
    )


def test_islands_are_what_scipy_labels() -> None:
    rng = np.random.default_rng(2)
    values = rng.standard_normal((200, 170)).astype(np.float32)
    found = islands(values, 0.7)
    labels, n = label(values > 0.7, structure=np.ones((3, 3)))
    assert len(found.size) == n
    ours = np.zeros(values.shape, int)
    for row, first, last, island in zip(found.row, found.first, found.last, found.island, strict=True):
        ours[row, first : last + 1] = island + 1
    pairs = np.unique(np.column_stack([ours.ravel(), labels.ravel()]), axis=0)
    assert len(pairs) == n + 1
    np.testing.assert_array_equal(found.height, [values[ours == k + 1].max() for k in range(n)])


def flooded(values: Plane, rule: Rule) -> list[int]:
    """Return the flat index of the peak that each pixel of a row belongs to."""
    labels, peaks = np.zeros(values.shape, np.int32), np.full(values.size, -1, np.int64)
    order = np.argsort(-values.ravel(), kind="stable")
    flood(values, order, peaks, rule.contrast, rule.prominence, rule.photons, labels)
    return [int(peaks[k - 1]) for k in labels.ravel()]


def test_a_pixel_belongs_to_the_peak_it_leads_up_to() -> None:
    values = np.array([[1, 2, 5, 2, 1.5, 3, 8, 3]], dtype=np.float32)
    assert flooded(values, Rule(prominence=0.5)) == [2, 2, 2, 2, 6, 6, 6, 6]
    assert flooded(values, Rule(prominence=4.0)) == [6] * 8


def test_the_light_above_the_saddle_decides_against_that_of_the_higher_peak() -> None:
    values = np.array([[0.5, 4, 1, 900, 0.5]], dtype=np.float32)
    # 3 above the saddle, beside 899.
    assert flooded(values, Rule(contrast=0.003, prominence=1)) == [1, 1, 3, 3, 3]
    assert flooded(values, Rule(contrast=0.004, prominence=1)) == [3] * 5


def test_speckles_that_outshine_each_other_fall_to_the_star_they_belong_to() -> None:
    values = np.array([[5, 1.5, 6, 1, 5000, 1]], dtype=np.float32)
    # Either stands by itself beside the other, and holds a thousandth of the star.
    assert flooded(values, Rule(contrast=0.005, prominence=1)) == [4] * 6
    assert flooded(values[:, :3].copy(), Rule(contrast=0.005, prominence=1)) == [0, 2, 2]


def test_photons_of_a_bright_source_make_no_neighbours() -> None:
    values = np.array([[400, 390, 402]], dtype=np.float32)
    assert flooded(values, Rule(contrast=0, prominence=3)) == [0, 2, 2]
    assert flooded(values, Rule(contrast=0, prominence=3, photons=0.05)) == [2, 2, 2]


@pytest.mark.parametrize(("pair_pixels", "least"), [(4.0, 0.53), (6.0, 0.98)])
def test_pairs_come_apart_as_with_sep_and_photutils(pair_pixels: float, least: float) -> None:
    image, truth = crowd(seed=3, n=196, pair_pixels=pair_pixels)
    kernel = stamp()
    ours = detect.detect(filtered(image, kernel))
    theirs = extracted(image, kernel, threshold=5.0)
    segments = detect_sources(filtered(image, kernel), 5.0, n_pixels=1)
    apart = deblend_sources(filtered(image, kernel), segments, n_pixels=1, n_levels=32, contrast=0.005)
    shares = {
        "ours": found_share(truth, ours.x, ours.y),
        "sep": found_share(truth, theirs["x"], theirs["y"]),
    }
    print(f"{pair_pixels} pixels apart: {shares}; photutils {apart.n_labels} sources, ours {len(ours)}")
    # 392 stars, one more or less is 0.3 %; at four pixels most of the fainter have no peak once filtered.
    assert shares["ours"] >= max(least, shares["sep"] - 0.005)
    assert len(ours) <= 1.01 * len(truth)
    assert abs(len(ours) - apart.n_labels) <= 0.03 * len(truth)


def test_faint_stars_are_found_in_a_crowd_where_the_whole_island_outshines_them() -> None:
    image, truth = crowd(seed=4, n=1600, pair_pixels=5.0)
    kernel = stamp()
    ours = detect.detect(filtered(image, kernel))
    theirs = extracted(image, kernel, threshold=5.0)
    shares = [found_share(truth, *at) for at in ((ours.x, ours.y), (theirs["x"], theirs["y"]))]
    print(f"3,200 stars on 400²: ours {shares[0]:.3f}, sep {shares[1]:.3f}")
    # 3,200 stars: 1.7 standard errors of a share are 0.014.
    assert shares[0] >= shares[1] + 0.1
    assert shares[0] >= 0.67


def test_stars_where_detector_pixels_meet_are_found_as_often_as_in_the_middle_of_one() -> None:
    """Stars as sharp as a detector's pixels see them (FWHM of 1.7), of 5.5 σ each in its own place."""
    rng = np.random.default_rng(16)
    size, psf = 1400, scene.grid(active=1400, sigma=0.7)
    middle = size // 2
    kernel = psf.stamp(middle, middle, radius=4).astype(np.float32)
    inside = between(lambda dx, dy, radius: psf.stamp(middle + dx, middle + dy, radius=radius), kernel)
    nodes = np.arange(15, size - 15, 16.0)
    x, y = (axis.ravel() for axis in np.meshgrid(nodes, nodes))
    corner = np.arange(x.size) % 2 == 1
    beside = np.where(corner, 0.48, 0.0)
    norm = [float(np.sqrt(np.sum(psf.stamp(middle + d, middle + d, radius=6) ** 2))) for d in (0.0, 0.48)]
    flux = 5.5 / np.where(corner, norm[1], norm[0])
    image = rng.standard_normal((size, size), dtype=np.float32)
    psf.add_to(image, x + beside, y + beside, flux, radii=np.full(x.size, 10))
    found = detect.detect(filtered(image, kernel), between=inside)
    places = np.column_stack([x, y]) + beside[:, None]
    near = cKDTree(np.column_stack([found.x, found.y])).query(places)[0] < 2.5
    expected = float(ndtr(0.5))
    error = np.sqrt(expected * (1 - expected) / corner.sum())
    shares = near[~corner].mean(), near[corner].mean()
    print(f"middle {shares[0]:.3f}, corner {shares[1]:.3f}, expected {expected:.3f} ± {error:.3f}")
    assert shares == pytest.approx((expected, expected), abs=0.03 + 3 * error)
    strange = np.count_nonzero(cKDTree(places).query(np.column_stack([found.x, found.y]))[0] > 4)
    assert strange <= 0.01 * len(found)


def test_isolated_stars_are_found_as_often_as_their_significance_says() -> None:
    rng = np.random.default_rng(6)
    # As sharp as on a mosaic's pixels.
    size, psf = 1600, scene.grid(active=1600, sigma=1.5)
    kernel = psf.stamp(size // 2, size // 2, radius=6).astype(np.float32)
    image = rng.standard_normal((size, size), dtype=np.float32)
    nodes = np.arange(15, size - 15, 20.0)
    x, y = (axis.ravel() for axis in np.meshgrid(nodes, nodes))
    x, y = x + rng.uniform(-0.5, 0.5, x.size), y + rng.uniform(-0.5, 0.5, x.size)
    norm = float(np.sqrt(np.sum(psf.stamp(size // 2, size // 2, radius=12) ** 2)))
    ratio = rng.uniform(4, 7.5, x.size)
    in_noise = len(detect.detect(filtered(image, kernel)))
    psf.add_to(image, x, y, ratio / norm, radii=np.full(x.size, 10))
    found = detect.detect(filtered(image, kernel))
    places = np.column_stack([x, y])
    distance, _ = cKDTree(np.column_stack([found.x, found.y])).query(places)
    for low in (4.0, 4.5, 5.0, 5.5, 6.0, 6.5):
        here = (ratio >= low) & (ratio < low + 0.5)
        share, expected = np.mean(distance[here] < 3), float(np.mean(ndtr(ratio[here] - 5)))
        error = np.sqrt(expected * (1 - expected) / here.sum())
        print(f"S/N {low + 0.25}: {share:.3f}, expected {expected:.3f} ± {error:.3f}")
        assert share == pytest.approx(expected, abs=0.03 + 3 * error)
    strange = np.count_nonzero(cKDTree(places).query(np.column_stack([found.x, found.y]))[0] > 4)
    print(f"{strange} of {len(found)} detections are no stars; in noise alone {in_noise}")
    assert strange <= 0.01 * len(found)
    assert in_noise <= 5


def test_labels_are_numbered_and_hold_their_peaks() -> None:
    image, _ = crowd(seed=5, n=196, pair_pixels=5.0)
    found = detect.detect(filtered(image, stamp()))
    np.testing.assert_array_equal(found.labels[found.y, found.x], np.arange(1, len(found) + 1))
    assert found.labels.max() == len(found)
    assert (found.significance >= detect.PEAK_SIGMA).all()


def test_a_map_that_is_level_or_empty_has_an_answer() -> None:
    assert len(detect.detect(np.zeros((40, 40), np.float32))) == 0
    assert len(detect.detect(np.full((40, 40), 9.0, np.float32))) == 1
