"""Shapes without the PSF: sheared pairs, errors, and GalSim's HSM as the oracle."""

import galsim
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support import sheared
from tests.support.sheared import Kind

from nexus_pipeline.measure import shape_kernels, shapes
from nexus_pipeline.psf.grid import PsfGrid, from_stamps

SHEAR = 0.05
PSF = galsim.Convolve(galsim.Moffat(beta=3.0, fwhm=2.6).shear(g1=0.04, g2=-0.02), galsim.Pixel(1.0))


def psf() -> PsfGrid:
    """Return a Moffat profile of 2.6 pixels that is not round, pixel and all."""
    stamp = PSF.drawImage(nx=161, ny=161, scale=0.5, method="no_pixel").array * 4
    return from_stamps(stamp[None].astype(np.float32), [0.0], [0.0], oversample=2)


def star(grid: PsfGrid) -> NDArray[np.float32]:
    return grid.stamp(0, 0, radius=36).astype(np.float32)


@pytest.mark.parametrize(("index", "within"), [(1.0, 0.01), (4.0, 0.015)])
def test_a_shear_comes_back_from_galaxies_and_their_turned_twins(index: float, within: float) -> None:
    grid, kind = psf(), Kind((index,), (2.5, 5.0), longest=0.3)
    found = []
    for sign in (1, -1):
        rng = np.random.default_rng(71)
        seen = sheared.scene(grid, kind, shear=sign * SHEAR * (1 + 1j) / 2**0.5, side=8, pitch=96, rng=rng)
        made = sheared.measured(seen, star(grid), signal=1e4, rng=rng)
        found.append([sheared.mean_of_pairs(each) for each in (made.g1, made.g2)])
    plus, minus = np.array(found)
    gain = (plus - minus).mean(axis=1) / (2 * SHEAR / 2**0.5) - 1
    offset = (plus + minus).mean(axis=1) / 2
    error = (plus - minus).std(axis=1) / (2 * SHEAR / 2**0.5) / 32**0.5
    print(f"n = {index}: m {gain} ± {error}, c {offset}")
    assert np.abs(gain).max() < within + 3 * error.max()
    # The PSF's own ellipticity is 0.03 and more: less than a hundredth of it is left.
    assert np.abs(offset).max() < 5e-4 + 3 * float((plus + minus).std() / 2 / 32**0.5)


def test_the_error_of_a_shape_is_its_scatter() -> None:
    grid, kind = psf(), Kind((1.0,), (3.0, 3.001), longest=1e-3)
    rng = np.random.default_rng(72)
    seen = sheared.scene(grid, kind, shear=0, side=20, pitch=64, rng=rng)
    made = sheared.measured(seen, star(grid), signal=60.0, rng=rng)
    scatter, error = np.std([made.g1, made.g2]), float(np.median(made.err))
    print(f"scatter {scatter:.4f}, error {error:.4f}")
    # 800 values tell their scatter to 2.5 %; the error is that of a Gaussian galaxy.
    assert error == pytest.approx(scatter, rel=0.1)


def test_adaptive_moments_are_those_of_hsm() -> None:
    galaxy = galsim.Sersic(n=1.5, half_light_radius=3.0).shear(g1=0.2, g2=-0.1)
    image = galsim.Convolve(galaxy, PSF).drawImage(nx=64, ny=64, scale=1.0, method="no_pixel")
    out = np.empty((1, 7))
    shape_kernels.adapted(image.array[None].astype(np.float32), np.array([[0.0, 0.0, 6.0, 0.0, 6.0]]), out)
    theirs = galsim.hsm.FindAdaptiveMom(image)
    _, _, xx, xy, yy, _, fourth = out[0]
    assert (xx * yy - xy**2) ** 0.25 == pytest.approx(theirs.moments_sigma, rel=1e-3)
    assert (xx - yy) / (xx + yy) == pytest.approx(theirs.observed_shape.e1, abs=1e-3)
    assert 2 * xy / (xx + yy) == pytest.approx(theirs.observed_shape.e2, abs=1e-3)
    assert fourth == pytest.approx(theirs.moments_rho4, rel=2e-3)


def test_a_shape_is_nearer_the_truth_than_hsm_s_regaussianization() -> None:
    grid = psf()
    galaxy = galsim.Sersic(n=2.5, half_light_radius=3.0).shear(g1=0.2, g2=-0.1)
    image = galsim.Convolve(galaxy, PSF).drawImage(nx=96, ny=96, scale=1.0, method="no_pixel")
    kernel = PSF.drawImage(nx=73, ny=73, scale=1.0, method="no_pixel")
    theirs = galsim.hsm.EstimateShear(image, kernel)
    theirs = galsim.Shear(e1=theirs.corrected_e1, e2=theirs.corrected_e2)
    x = y = np.array([47.5])
    made = sheared.measured(
        sheared.Scene(image.array, x, y), star(grid), signal=1e5, rng=np.random.default_rng(73)
    )
    print(f"ours {made.g1[0]:.4f} {made.g2[0]:.4f}, hsm {theirs.g1:.4f} {theirs.g2:.4f}, true 0.2 -0.1")
    ours = abs(made.g1[0] - 0.2) + abs(made.g2[0] + 0.1)
    assert ours < abs(theirs.g1 - 0.2) + abs(theirs.g2 + 0.1)
    assert ours < 0.006


def test_a_star_and_a_faint_source_have_no_shape() -> None:
    grid = psf()
    image = np.zeros((96, 96), np.float32)
    grid.add_to(image, np.array([48.0]), np.array([48.0]), np.array([1.0]), radii=np.array([30]))
    seen = sheared.Scene(image, np.array([48.0]), np.array([48.0]))
    for signal in (1e4, shapes.LEAST_SIGNAL / 2):
        made = sheared.measured(seen, star(grid), signal=signal, rng=np.random.default_rng(74))
        assert np.isnan([made.g1[0], made.g2[0], made.err[0]]).all()
