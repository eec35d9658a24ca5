"""Sources put into ramps: only what they touch is fitted again, as the whole would be."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support import injection
from tests.support import pipeline as build
from tests.support import simulator as scene

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.products import l1, l2, l4
from nexus_pipeline.products.model import Ramp, RateImage
from nexus_pipeline.recipes import exposure, inject
from nexus_pipeline.recipes.catalog import picture
from nexus_pipeline.recipes.inject import Light
from nexus_pipeline.recipes.inject_ramp import into_ramp
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.runner import Settings
from nexus_pipeline.simulate import stamps

NAME = "r0000101001001001001_0001_wfi07_f158_{}.asdf"
PLANES = ("rate", "err", "var_poisson", "var_rnoise", "dq", "chisq", "dumo", "jump_indices")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ReferenceStore:
    return scene.store(str(tmp_path_factory.mktemp("references")))


@pytest.fixture(scope="module")
def ramp(store: ReferenceStore) -> Ramp:
    return build.small_ramp(store, seed=21)[0]


@pytest.fixture(scope="module")
def image(ramp: Ramp, store: ReferenceStore, tmp_path_factory: pytest.TempPathFactory) -> RateImage:
    return calibrated(ramp, store, tmp_path_factory.mktemp("l1"))


def calibrated(
    ramp: Ramp, store: ReferenceStore, folder: Path, settings: Settings | None = None
) -> RateImage:
    url = str(folder / NAME.format("uncal"))
    l1.write_ramp(ramp, url)
    return exposure.calibrate(url, store, settings=settings)


def starlight(
    image: RateImage, magnitude: float, x: list[float], y: list[float], *, noisy: bool
) -> list[Light]:
    put = injection.injections(image.wcs, np.array(x), np.array(y), np.full(len(x), magnitude))
    return inject.lights(picture(image), put, scene.grid(), stamps.render, seed=1, noisy=noisy)


def same(one: Any, other: Any) -> bool:
    return bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))


@pytest.mark.parametrize("magnitude", [21.0, 13.0])
def test_a_refit_of_what_was_touched_is_the_whole_calibration_bit_for_bit(
    ramp: Ramp, image: RateImage, store: ReferenceStore, *, tmp_path: Path, magnitude: float
) -> None:
    """The brighter stars saturate, and with them their neighbours."""
    added = starlight(image, magnitude, [60.3, 200.0], [50.0, 180.7], noisy=False)
    changed, touched = into_ramp(ramp, added, store, seed=4)
    partly, whole = exposure.recalibrate(changed, image, touched, store), calibrated(changed, store, tmp_path)
    for name in PLANES:
        assert same(getattr(partly, name), getattr(whole, name)), name
    assert not same(partly.rate, image.rate)
    saturated = (partly.dq & DQ.SATURATED) > (image.dq & DQ.SATURATED)
    assert saturated.any() == (magnitude < 15)
    assert 50 < touched.sum() < 0.1 * touched.size


def test_the_light_that_was_put_in_comes_out_of_the_fit_with_the_noise_of_its_photons(
    ramp: Ramp, image: RateImage, store: ReferenceStore
) -> None:
    x, y = scene.grid_of_stars(6, 40.0, jitter=2.0, rng=np.random.default_rng(3))
    added = starlight(image, 20.0, (x + 4).tolist(), (y + 4).tolist(), noisy=False)
    changed, touched = into_ramp(ramp, added, store, seed=5)
    made = exposure.recalibrate(changed, image, touched, store)
    good = ((made.dq | image.dq) & (DQ.DO_NOT_USE | DQ.JUMP_DET)) == 0
    pulls, told, light = [], [], []
    for each in added:
        box = each.rows, each.columns
        bright = good[box] & (each.light > 1)
        more = (made.rate[box] - image.rate[box] - each.light)[bright]
        variance = (made.var_poisson[box] - image.var_poisson[box])[bright]
        pulls.append(more.sum() / np.sqrt(variance.sum()))
        told.append(more.sum())
        light.append(each.light[bright].sum())
    # 36 stars of 6,000 electrons: their light is known to 0.2 %, the width of their pulls to 12 %.
    assert sum(told) / sum(light) == pytest.approx(0, abs=0.006)
    assert np.std(pulls) == pytest.approx(1, abs=0.36)


def test_noise_drawn_without_the_ramp_is_like_that_of_a_refit(
    ramp: Ramp, image: RateImage, store: ReferenceStore
) -> None:
    """Where only the image is there: as much noise and variance for the same light."""
    x, y = scene.grid_of_stars(6, 40.0, jitter=2.0, rng=np.random.default_rng(3))
    places = (x + 4).tolist(), (y + 4).tolist()
    drawn = starlight(image, 19.0, *places, noisy=True)
    quiet = starlight(image, 19.0, *places, noisy=False)
    changed, touched = into_ramp(ramp, quiet, store, seed=6)
    made = exposure.recalibrate(changed, image, touched, store)
    ratio, scatter = [], {"drawn": [], "fitted": []}
    good = ((made.dq | image.dq) & (DQ.DO_NOT_USE | DQ.JUMP_DET)) == 0
    for each in drawn:
        box = each.rows, each.columns
        bright = good[box] & (each.light > 5)
        variance = (made.var_poisson[box] - image.var_poisson[box])[bright]
        ratio.append(each.variance[bright].sum() / variance.sum())
        scatter["drawn"].append(each.noise[bright] / np.sqrt(variance))
        scatter["fitted"].append((made.rate[box] - image.rate[box] - each.light)[bright] / np.sqrt(variance))
    drawn_width, fitted_width = (np.concatenate(each).std() for each in scatter.values())
    print(f"variance drawn over fitted {np.median(ratio):.3f}; widths {drawn_width:.3f}, {fitted_width:.3f}")
    # Weights of a fit follow the brightness: what one faint pixel tells of photons holds to a tenth.
    assert np.median(ratio) == pytest.approx(1, abs=0.15)
    assert drawn_width == pytest.approx(fitted_width, rel=0.15)


def test_settings_that_an_image_tells_are_those_of_the_refit(
    ramp: Ramp, store: ReferenceStore, tmp_path: Path
) -> None:
    settings = Settings({"ramp_fitting": {"algorithm": "casertano"}}, frozenset({"dark_decay"}))
    before = calibrated(ramp, store, tmp_path, settings)
    added = starlight(before, 20.0, [100.0], [100.0], noisy=False)
    changed, touched = into_ramp(ramp, added, store, seed=4)
    partly = exposure.recalibrate(changed, before, touched, store)
    assert same(partly.rate, calibrated(changed, store, tmp_path, settings).rate)


def test_an_image_with_grown_snowballs_is_not_refitted_in_parts(
    ramp: Ramp, store: ReferenceStore, tmp_path: Path
) -> None:
    grown = calibrated(ramp, store, tmp_path, Settings({"ramp_fitting": {"expand_large_events": True}}))
    with pytest.raises(InputError, match="calibrated whole"):
        exposure.recalibrate(ramp, grown, np.zeros(grown.rate.shape, np.bool_), store)


def test_wfi_inject_puts_photons_into_the_ramp_where_it_is_there(
    ramp: Ramp, store: ReferenceStore, tmp_path: Path
) -> None:
    image, folder = calibrated(ramp, store, tmp_path), tmp_path / "out"
    # Of a noise that pixels do not share, and a PSF without IPC.
    l2.write_rate_image(image, str(tmp_path / NAME.format("cal")))
    arguments = ("--references", store.url, "--output", folder, "--number", 2, "--magnitudes", 18, 19)
    told = build.wfi("inject", tmp_path / NAME.format("cal"), *arguments, "--stars", 1, "--ramps", tmp_path)
    assert told.status == 0, told.err
    assert "2 sources put in, 2 found" in told.out
    made = l2.read_rate_image(str(folder / NAME.format("injected_cal")))
    assert made.provenance.steps[-1].parameters["ramp"]
    changed = made.rate != image.rate
    assert 10 < changed.sum() < 0.1 * changed.size
    assert l4.read_catalog(str(folder / NAME.format("injected_cat").replace(".asdf", ".parquet"))).table
    missing = build.wfi("inject", tmp_path / NAME.format("cal"), *arguments, "--ramps", folder)
    assert missing.status == 2
    assert "_uncal.asdf: no such file" in missing.err
