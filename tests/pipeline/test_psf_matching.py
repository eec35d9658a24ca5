"""Matching kernels: what they leave of a difference between two PSFs, and what they refuse."""

from functools import cache

import galsim
import galsim.roman
import numpy as np
import pytest
from scipy.signal import fftconvolve
from tests.support import simulator as scene

from nexus_pipeline.errors import InputError
from nexus_pipeline.measure import circle_kernels
from nexus_pipeline.psf.grid import PsfGrid, from_stamps
from nexus_pipeline.psf.matching import kernel_between, matching_kernel
from nexus_pipeline.psf.mosaic import mosaic_psf

SCALE, SEED = 0.055, 20
RADII_ARCSEC = np.arange(0.2, 1.01, 0.1)


@cache
def profile(filter_name: str) -> galsim.GSObject:
    """Return a star of one wavelength, with jitter, as the pixels of a detector see it."""
    band, nm = {"F106": ("Y106", 1060.0), "F158": ("H158", 1577.0)}[filter_name]
    optical = galsim.roman.getPSF(7, band, pupil_bin=8, wavelength=nm)
    return galsim.Convolve(optical, galsim.Gaussian(sigma=0.012), galsim.Pixel(0.11))


@cache
def psf(filter_name: str) -> PsfGrid:
    """Return the ePSF of a mosaic's pixels, drizzled from points."""
    image = profile(filter_name).drawImage(nx=301, ny=301, scale=SCALE / 2, method="no_pixel", dtype=float)
    stamp = image.array[None].astype(np.float32) * 16
    return mosaic_psf(from_stamps(stamp, [0.0], [0.0], oversample=4), finer=2)


def star(filter_name: str, x: float, y: float) -> np.ndarray:
    """Return a star of unit flux, ``x``, ``y`` off the middle of 121² pixels: drawn, not sampled."""
    drawn = profile(filter_name).drawImage(
        nx=121, ny=121, scale=SCALE, offset=(x, y), method="no_pixel", dtype=float
    )
    return np.asarray(drawn.array)


def light_within(image: np.ndarray, x: float, y: float, radii: np.ndarray) -> np.ndarray:
    """Return the light (n,) of circles about a place off the middle."""
    middle = image.shape[0] // 2
    light, out = image.astype(np.float32), np.empty((3, 1, radii.size))
    circle_kernels.circles(
        light, np.zeros_like(light), np.zeros(image.shape, np.bool_),
        np.array([middle + x]), np.array([middle + y]), radii, *out,
    )  # fmt: skip
    return out[0, 0]


def test_a_star_has_the_same_colour_in_all_apertures_once_its_filters_are_matched() -> None:
    made = kernel_between(psf("F106"), psf("F158"), x=0, y=0, radius=30)
    rng, worst, raw = np.random.default_rng(SEED), 0.0, 0.0
    for x, y in rng.uniform(-0.5, 0.5, (6, 2)):
        blue, red = star("F106", x, y), star("F158", x, y)
        matched = fftconvolve(blue, made.kernel, mode="same")
        wanted = light_within(red, x, y, RADII_ARCSEC / SCALE)
        found = light_within(matched, x, y, RADII_ARCSEC / SCALE)
        worst = max(worst, np.abs(2.5 * np.log10(found / wanted)).max())
        before = light_within(blue, x, y, RADII_ARCSEC / SCALE)
        raw = max(raw, np.abs(2.5 * np.log10(before / wanted)).max())
    print(f"colours: {worst:.4f} mag, without matching {raw:.3f}; residual {made.residual:.1e}")
    assert raw > 0.1
    # Noise-free: the drizzled pixels of 0.055 arcsec are fine enough for both filters.
    assert worst < 0.01


@pytest.mark.parametrize("oversample", [2, 4])
def test_stamps_of_any_sampling_are_matched_to_what_the_kernel_says_it_leaves(oversample: int) -> None:
    a, b = (
        profile(name).drawImage(nx=181, ny=181, scale=0.11 / oversample, method="no_pixel", dtype=float).array
        for name in ("F106", "F158")
    )
    made = matching_kernel(a, b)
    left = np.abs(fftconvolve(a, made.kernel, mode="same") - b).max() / b.max()
    assert left == pytest.approx(made.residual, rel=1e-3)
    assert made.residual < 5e-3
    # But for what lies outside the stamps.
    assert made.kernel.sum() == pytest.approx(b.sum() / a.sum(), rel=4e-3)
    assert made.gain < 1.2


def test_between_two_gaussians_the_kernel_is_a_third() -> None:
    axis = np.arange(-40, 41)
    x, y = np.meshgrid(axis, axis)
    narrow, wide, between = (scene.gaussian_fraction(x, y, sigma) for sigma in (3.0, 5.0, 4.0))
    made = matching_kernel(narrow, wide)
    # 3² + 4² = 5², but for the pixels, which both have, and what the penalty holds back.
    np.testing.assert_allclose(made.kernel, between, atol=1e-2 * between.max())


def test_equal_psfs_need_no_kernel() -> None:
    a = psf("F158").stamp(0, 0, radius=20)
    made = matching_kernel(a, a.copy(), radius=4)
    wanted = np.zeros((9, 9))
    wanted[4, 4] = 1
    np.testing.assert_array_equal(made.kernel, wanted)
    assert (made.residual, made.gain) == (0, 1)


def test_sharpening_is_refused_unless_a_penalty_says_how_far_to_go() -> None:
    red, blue = (psf(name).stamp(0, 0, radius=40) for name in ("F158", "F106"))
    with pytest.raises(InputError, match=r"sharper than the first: matching would amplify noise .*-fold"):
        matching_kernel(red, blue)
    gentle, bold = (matching_kernel(red, blue, penalty=penalty) for penalty in (1e-4, 1e-6))
    untouched = np.abs(red - blue).max() / blue.max()
    print(f"residuals {untouched:.3f}, {gentle.residual:.3f}, {bold.residual:.3f}; gain {bold.gain:.1f}")
    assert bold.residual < gentle.residual < untouched
    assert bold.gain > gentle.gain
    assert gentle.penalty == 1e-4


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (np.ones((5, 5)), np.ones((7, 7)), "between equal stamps"),
        (np.ones((4, 4)), np.ones((4, 4)), "square with an odd edge"),
        (np.full((5, 5), np.nan), np.ones((5, 5)), "holds light and no NaN"),
        (np.zeros((5, 5)), np.ones((5, 5)), "holds light and no NaN"),
    ],
)
def test_what_is_no_psf_is_refused(a: np.ndarray, b: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=said):
        matching_kernel(a, b)
