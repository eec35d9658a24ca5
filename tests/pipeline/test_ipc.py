"""Inter-pixel capacitance: what the simulator puts in is what the PSF of the photometry knows of."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import convolve
from tests.support import pipeline as build
from tests.support import simulator as scene

from nexus_pipeline.errors import InputError, MismatchedReferenceError
from nexus_pipeline.instrument.ma_table import IMAGING
from nexus_pipeline.measure.compare import median_and_error, robust_width
from nexus_pipeline.products.l1 import write_ramp
from nexus_pipeline.psf import fit
from nexus_pipeline.psf.grid import PsfGrid, from_reference
from nexus_pipeline.recipes import epsf, forced
from nexus_pipeline.recipes.exposure import calibrate
from nexus_pipeline.references.make import Maker
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.runner import Settings
from nexus_pipeline.simulate import exposure
from nexus_pipeline.simulate.catalog import sources_from_table
from nexus_pipeline.simulate.snowballs import Snowballs
from nexus_pipeline.sky import wcs
from nexus_pipeline.sky.distortion import synthetic_distortion

KERNEL = Maker(build.DETECTOR, 1, build.SMALL).ipc(build.FILTER).kernel
OPTICS = scene.epsf()
WITH = from_reference(OPTICS, ipc=KERNEL)
Rows = NDArray[np.float32]


def shared(light: Rows, *, bend: float) -> Rows:
    """Return ``light`` (linear DN) converted, shared with the neighbours, and made linear again."""
    shown = convolve(light - bend * light.astype(np.float64) ** 2, KERNEL.astype(np.float64))
    return ((1 - np.sqrt(1 - 4 * bend * shown)) / (2 * bend)).astype(np.float32)


def fluxes(image: Rows, psf: PsfGrid, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    zero = np.zeros_like(image)
    # Every pixel weighs the same, as where the sky is brighter than the star.
    curve = fit.NoiseCurve(np.array([0.0, 1e9]), np.array([1e6, 1e6]))
    usable = np.ones(image.shape, bool)
    fits = fit.fit_sources(image, zero, usable, extra_variance=zero, psf=psf, noise=curve, x=x, y=y, passes=1)
    return fits.flux


@pytest.mark.parametrize("phase", [0.0, 0.25, 0.5])
def test_a_star_without_noise_keeps_its_flux_from_the_scene_to_the_fit(phase: float) -> None:
    x = y = np.array([60.0 + phase])
    light = np.zeros((scene.ACTIVE, scene.ACTIVE), np.float32)
    flux = np.array([40_000.0])
    from_reference(OPTICS).add_to(light, x, y, flux, radii=np.array([14]))
    seen = shared(light, bend=1e-6)
    ours, without = (
        fluxes(seen, WITH, x, y)[0] / flux[0],
        fluxes(seen, from_reference(OPTICS), x, y)[0] / flux[0],
    )
    print(f"phase {phase}: with IPC in the PSF {ours - 1:+.5f}, without {without - 1:+.4f}")
    # What is left is the order of conversion and sharing: 2 % of a bend of 1 % in the brightest pixel.
    assert abs(ours - 1) <= 5e-4
    assert -0.02 <= without - 1 <= -0.005


def simulated(folder: Path, *, ipc: bool) -> tuple[ReferenceStore, exposure.Simulated]:
    references = scene.store(str(folder / "references"))
    aim = exposure.aim(references, build.DETECTOR, build.FILTER, ra_deg=270.0, dec_deg=66.0)
    meta = exposure.exposure_meta(build.DETECTOR, build.FILTER, pointing=aim, ma_table=IMAGING)
    x, y = scene.grid_of_stars(14, scene.ACTIVE / 14, jitter=1.0, rng=np.random.default_rng(8))
    sky = wcs.build(synthetic_distortion(build.DETECTOR), aim, size=scene.ACTIVE)(x, y)
    field = sources_from_table(scene.star_table(*sky, np.full(x.size, 21.0)), build.FILTER)
    effects = exposure.Effects(cosmic_rays=False, snowballs=Snowballs().off(), ipc=ipc)
    return references, exposure.simulate(field, meta, references, seed=5, effects=effects)


@pytest.mark.parametrize("ipc", [True, False])
def test_stars_keep_their_flux_whether_or_not_pixels_couple(tmp_path: Path, ipc: bool) -> None:
    references, made = simulated(tmp_path, ipc=ipc)
    url = str(tmp_path / "l1_uncal.asdf")
    write_ramp(made.ramp, url)
    image = calibrate(url, references, settings=Settings(skip=frozenset({"refpix"})))
    assert epsf.has_ipc(image.meta) is ipc
    x, y = np.asarray(made.truth["x"]), np.asarray(made.truth["y"])
    stars = forced.forced(image, references, x=x, y=y)
    good = np.isfinite(stars.flux) & (stars.flux > 0)
    ratio = stars.flux[good] / np.asarray(made.truth["flux_njy"])[good]
    median, error = median_and_error(ratio)
    width = robust_width((ratio - 1) * np.asarray(made.truth["flux_njy"])[good] / stars.flux_err[good])
    psf, _ = epsf.psf_of(image.meta, references)
    predicted = predicted_width(psf, image.var_poisson, image.var_rnoise, KERNEL if ipc else None)
    print(
        f"IPC {ipc}: {good.sum()} stars, {median:.5f} +- {error:.5f}, {width:.3f}, expected {predicted:.3f}"
    )
    assert abs(median - 1) <= 3 * error
    assert error < 0.002
    # The width of 196 numbers, taken robustly, is good to 0.06.
    assert width == pytest.approx(predicted, abs=3 * 0.06)


def predicted_width(psf: PsfGrid, poisson: Rows, reads: Rows, kernel: Rows | None) -> float:
    """Return the true width of a faint star's flux over what independent pixels would give."""
    stamp = np.pad(psf.stamp(100, 100, radius=6), 2)
    photons, quiet = float(np.median(poisson)), float(np.median(reads))
    spread = stamp if kernel is None else convolve(stamp, kernel[::-1, ::-1].astype(float), mode="constant")
    true = photons * (spread**2).sum() + quiet * (stamp**2).sum()
    return float(np.sqrt(true / ((photons + quiet) * (stamp**2).sum())))


def test_the_stored_psf_says_what_it_includes_and_gets_ipc_once() -> None:
    assert "ipc" in WITH.includes
    assert "ipc" not in OPTICS.includes
    twice = replace(OPTICS, includes=("pixel", "ipc"))
    with pytest.raises(MismatchedReferenceError, match="twice"):
        from_reference(twice, ipc=KERNEL)


def test_an_epsf_with_ipc_serves_photometry_as_it_is_and_the_simulator_not(tmp_path: Path) -> None:
    references = build.small_store(str(tmp_path)).add([replace(OPTICS, includes=("pixel", "ipc"))])
    psf, files = epsf.psf_of(build.meta(), references)
    assert files.keys() == {"epsf"}
    assert psf.includes == ("pixel", "ipc")
    aim = exposure.aim(references, build.DETECTOR, build.FILTER, ra_deg=270.0, dec_deg=66.0)
    meta = exposure.exposure_meta(build.DETECTOR, build.FILTER, pointing=aim)
    field = sources_from_table(
        scene.star_table(np.array([270.0]), np.array([66.0]), np.array([20.0])), build.FILTER
    )
    with pytest.raises(InputError, match="needs one without"):
        exposure.simulate(field, meta, references, seed=1)
