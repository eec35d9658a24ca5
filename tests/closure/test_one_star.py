"""Stars without noise, from the scene through every step to a flux; and what each step is worth.

A detector of a million times the gain makes photons so many that their chance does not show: what is left of
noise is the rounding to whole DN, 0.3 DN a resultant. Its electronics have offsets but neither drift nor 1/f
noise, which no step takes out whole, and there is no IPC, which is in no Gaussian ePSF.
"""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support import pipeline as build
from tests.support import simulator as scene

from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.products import l1
from nexus_pipeline.products.model import RateImage
from nexus_pipeline.recipes.exposure import calibrate
from nexus_pipeline.recipes.forced import forced
from nexus_pipeline.references import kinds
from nexus_pipeline.references.store import ReferenceStore, open_store
from nexus_pipeline.runner import Settings
from nexus_pipeline.simulate import exposure
from nexus_pipeline.simulate.catalog import sources_from_table
from nexus_pipeline.simulate.electronics import Electronics
from nexus_pipeline.simulate.snowballs import Snowballs
from nexus_pipeline.sky import distortion, wcs

MANY_ELECTRONS = 1e6
# From half a full well in 139 s down: fainter ones show how a thousandth of a DN/s is rounded.
MAGNITUDES = np.repeat([18.0, 19.0, 20.0], 3)
SEED = 81


@dataclass(frozen=True)
class Frame:
    """A noise-free ramp's file, the store to calibrate it with, and where its stars are."""

    url: str
    store: ReferenceStore
    truth: Any

    def image(self, *skip: str, **parameters: dict[str, Any]) -> RateImage:
        return calibrate(self.url, self.store, settings=Settings(parameters, skip=frozenset(skip)))

    def flux_errors(self, image: RateImage) -> np.ndarray:
        x, y = (np.asarray(self.truth[name], dtype=float) for name in ("x", "y"))
        return np.asarray(forced(image, self.store, x=x, y=y).flux) / np.asarray(self.truth["flux_njy"]) - 1

    def dark_sky(self, image: RateImage) -> tuple[float, float]:
        """Return the mean rate (DN/s) where no light falls, and its standard error."""
        rows, columns = np.indices(image.rate.shape)
        empty = image.dq & DQ.DO_NOT_USE == 0
        for x, y in zip(self.truth["x"], self.truth["y"], strict=True):
            empty &= np.hypot(columns - x, rows - y) > 17
        rates = image.rate[empty].astype(float)
        return float(rates.mean()), float(rates.std() / np.sqrt(rates.size))


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Frame:
    folder = tmp_path_factory.mktemp("one-star")
    made = build.small_store(str(folder / "references")).add([scene.epsf()])
    shutil.copytree(folder / "references", folder / "noiseless")
    return frame(made, open_store(str(folder / "noiseless")), folder)


@pytest.fixture(scope="module")
def image(given: Frame) -> RateImage:
    """Return the image after all steps."""
    return given.image()


def frame(store: ReferenceStore, noiseless: ReferenceStore, folder: Path) -> Frame:
    detector = build.DETECTOR
    who = {"detector": detector, "filter_name": build.FILTER, "date": build.START}
    gain = noiseless.load(kinds.GainReference, **who)
    noise = noiseless.load(kinds.ReadNoiseReference, **who)
    noiseless = noiseless.add(
        [
            replace(gain, gain=gain.gain * np.float32(MANY_ELECTRONS)),
            replace(noise, read_noise=np.zeros_like(noise.read_noise)),
        ]
    )
    aim = exposure.aim(noiseless, detector, build.FILTER, ra_deg=270.0, dec_deg=66.0)
    meta = exposure.exposure_meta(detector, build.FILTER, pointing=aim)
    x, y = scene.grid_of_stars(3, scene.ACTIVE / 3, jitter=5.0, rng=np.random.default_rng(SEED))
    image_wcs = wcs.build(distortion.synthetic_distortion(detector), aim, size=scene.ACTIVE)
    table = scene.star_table(*image_wcs(x, y), MAGNITUDES)
    effects = exposure.Effects(
        cosmic_rays=False,
        snowballs=Snowballs().off(),
        background=False,
        ipc=False,
        electronics=Electronics(row_drift_dn=0.0, pink_dn=0.0, channel_pink_dn=0.0),
    )
    made = exposure.simulate(
        sources_from_table(table, build.FILTER), meta, noiseless, seed=SEED, effects=effects
    )
    url = str(folder / str(meta.file_name))
    l1.write_ramp(made.ramp, url)
    return Frame(url, store, made.truth)


def test_a_noise_free_star_comes_back_with_its_flux(given: Frame, image: RateImage) -> None:
    errors = given.flux_errors(image)
    for magnitude in np.unique(MAGNITUDES):
        print(f"AB {magnitude}: flux / truth - 1 = {errors[magnitude == MAGNITUDES]}")
    assert np.abs(errors).max() < 5e-4


@pytest.mark.parametrize("step", ["refpix", "dark_decay"])
def test_a_step_takes_out_what_the_electronics_added(given: Frame, image: RateImage, step: str) -> None:
    (left, error), (without, _) = given.dark_sky(image), given.dark_sky(given.image(step))
    print(f"dark sky, DN/s: {left:+.5f} ± {error:.5f}, without {step} {without:+.5f}")
    # Eight offsets of a few DN, each rounded to one: about a thousandth of a DN/s.
    assert abs(left) < 2e-3 + 3 * error
    assert abs(without) > 5 * abs(left)


@pytest.mark.parametrize("integral", [False, True])
def test_the_response_is_made_straight(given: Frame, image: RateImage, *, integral: bool) -> None:
    bent = given.image(linearity={"integral": False}) if integral else given.image("linearity")
    left, without = (np.abs(given.flux_errors(each)).max() for each in (image, bent))
    name = "the integral part of linearity" if integral else "linearity"
    print(f"worst flux error {left:.5f}, without {name} {without:.5f}")
    assert left < 0.5 * without
