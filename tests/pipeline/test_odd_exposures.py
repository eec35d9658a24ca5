"""Exposures and references that are not as usual: some are valid products all the same, some are refused."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import roman_datamodels
from tests.support import pipeline as build

from nexus_pipeline.errors import InputError, MismatchedReferenceError
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.ma_table import MATable
from nexus_pipeline.products import l1, l2
from nexus_pipeline.products.model import Ramp, RateImage
from nexus_pipeline.recipes import exposure
from nexus_pipeline.references import kinds
from nexus_pipeline.references.files import write_reference
from nexus_pipeline.references.store import ReferenceStore, Rule

N_PIXELS = 128
WHO = {"detector": build.DETECTOR, "date": build.START}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ReferenceStore:
    folder = str(tmp_path_factory.mktemp("references"))
    return build.small_store(folder, n_pixels=N_PIXELS, filter_names=[build.FILTER, "GRISM"])


@pytest.fixture(scope="module")
def ramp(store: ReferenceStore) -> Ramp:
    return build.small_ramp(store, seed=41)[0]


def calibrated(ramp: Ramp, store: ReferenceStore, folder: Path) -> RateImage:
    """Return the image of ``ramp``, written and validated by the mission's models on its way."""
    l1.write_ramp(ramp, str(folder / "a_uncal.asdf"))
    image = exposure.calibrate(str(folder / "a_uncal.asdf"), store)
    l2.write_rate_image(image, str(folder / "a_cal.asdf"))
    with roman_datamodels.open(folder / "a_cal.asdf") as model:
        model.validate()
    return image


def status(image: RateImage) -> dict[str, tuple[str, str | None]]:
    return {step.name: (step.status, step.reason) for step in image.provenance.steps}


def test_a_spectrum_goes_through_without_flat_and_conversion_as_the_mission_has_it(
    ramp: Ramp, store: ReferenceStore, tmp_path: Path
) -> None:
    meta = replace(ramp.meta, filter_name="GRISM", exposure_type="WFI_SPECTRAL")
    image = calibrated(replace(ramp, meta=meta), store, tmp_path)
    told = status(image)
    assert told["flatfield"] == ("SKIPPED", "a spectrum (GRISM) takes no imaging flat")
    assert told["photom"] == ("SKIPPED", "the photom reference has no conversion for GRISM")
    assert told["ramp_fitting"][0] == told["assign_wcs"][0] == told["dark_current"][0] == "COMPLETE"
    assert image.photometry is None
    assert image.var_flat is None
    assert "flat" not in image.provenance.references
    with roman_datamodels.open(tmp_path / "a_cal.asdf") as model:
        assert model.meta.cal_step.flat_field == "SKIPPED"
        assert model.meta.photometry.conversion_megajanskys is None


def test_a_detector_saturated_all_over_is_a_zero_image_and_the_other_steps_are_skipped(
    ramp: Ramp, store: ReferenceStore, tmp_path: Path
) -> None:
    image = calibrated(replace(ramp, data=np.full_like(ramp.data, 65_535)), store, tmp_path)
    assert not image.rate.any()
    assert np.all(image.dq & DQ.SATURATED)
    told = status(image)
    done = [name for name, (how, _) in told.items() if how == "COMPLETE"]
    assert done == ["read", "dq_init", "saturation"]
    assert {reason for how, reason in told.values() if how == "SKIPPED"} >= {"every pixel is saturated"}
    assert image.wcs is None
    with roman_datamodels.open(tmp_path / "a_cal.asdf") as model:
        assert model.meta.statistics.good_pixel_fraction == 0
        assert np.isnan(model.meta.statistics.image_median)


def test_one_resultant_gives_no_rate_and_says_so(ramp: Ramp, store: ReferenceStore, tmp_path: Path) -> None:
    table = MATable("ONE", 999, ((1,),), ramp.meta.ma_table.read_time_s)
    short = replace(
        ramp, data=ramp.data[:1].copy(), amp33=ramp.amp33[:1].copy(), meta=replace(ramp.meta, ma_table=table)
    )
    image = calibrated(short, store, tmp_path)
    assert np.all(image.dq & DQ.DO_NOT_USE)
    assert not np.all(image.dq & DQ.SATURATED)


def test_what_was_flagged_on_board_and_a_reference_read_are_honoured_to_the_end(
    ramp: Ramp, store: ReferenceStore, tmp_path: Path
) -> None:
    plain = calibrated(ramp, store, tmp_path)
    read = np.full(ramp.data.shape[1:], 20, np.uint16)
    flags = np.zeros(ramp.data.shape, np.uint8)
    flags[:, 40, 50] = DQ.DO_NOT_USE
    sent = replace(ramp, data=ramp.data - 20, reference_read=read, resultant_dq=flags)
    image = calibrated(sent, store, tmp_path)
    assert image.dq[36, 46] & DQ.DO_NOT_USE
    differs = image.rate != plain.rate
    differs[36, 46] = False
    assert not differs.any()


def test_statistics_are_those_of_the_usable_pixels(tmp_path: Path) -> None:
    rate = np.arange(100, dtype=np.float32).reshape(10, 10)
    dq = np.zeros((10, 10), np.uint32)
    rate[9, 9], dq[9, 9] = 1e9, DQ.DO_NOT_USE
    rate[0, 0] = np.nan
    told = l2.statistics(build.rate_image(rate, dq=dq))
    # 1 … 98 remain: median 49.5, deviations 0.5 … 48.5 twice each, theirs 24.5.
    assert told["image_median"] == 49.5
    assert told["image_rms"] == pytest.approx(1.4826 * 24.5, rel=1e-4)
    assert told["good_pixel_fraction"] == 0.98
    assert told["zodiacal_light"] == -1


def test_a_reference_of_ones_own_stands_in_for_the_stores(
    ramp: Ramp, store: ReferenceStore, tmp_path: Path
) -> None:
    flat = store.load(kinds.FlatReference, filter_name=build.FILTER, **WHO)
    mine = tmp_path / "my_flat.asdf"
    write_reference(replace(flat, flat=np.full_like(flat.flat, 2)), str(mine))
    l1.write_ramp(ramp, str(tmp_path / "a_uncal.asdf"))
    command = ("calibrate", tmp_path / "a_uncal.asdf", "-r", store.url, "-o", tmp_path)
    done = build.wfi(*command, "--reference", f"flat={mine}")
    assert done.status == 0, done.err
    image = l2.read_rate_image(str(tmp_path / "a_cal.asdf"))
    assert image.provenance.references["flat"] == str(mine)
    assert image.provenance.context != store.context
    usual = exposure.calibrate(str(tmp_path / "a_uncal.asdf"), store)
    np.testing.assert_allclose(image.rate * 2, usual.rate * flat.flat, rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("flat", "--reference takes KIND=FILE"),
        ("flatt=a.asdf", "no reference is called 'flatt'; there are dark,"),
        ("flat=none.asdf", "none.asdf: no such file (given as the flat reference)"),
    ],
)
def test_a_reference_of_ones_own_that_cannot_be_is_refused_first(
    given: str, said: str, store: ReferenceStore, tmp_path: Path
) -> None:
    done = build.wfi("calibrate", tmp_path / "a_uncal.asdf", "-r", store.url, "--reference", given)
    assert done.status == 2
    assert said in done.err


def test_a_reference_without_a_number_is_refused_by_name(store: ReferenceStore, tmp_path: Path) -> None:
    gain = store.load(kinds.GainReference, filter_name=build.FILTER, **WHO)
    lost = replace(gain, gain=np.full_like(gain.gain, np.nan))
    poorer = ReferenceStore(str(tmp_path)).add([lost])
    with pytest.raises(MismatchedReferenceError, match=r"gain_20200101\.asdf: its gain holds no number"):
        poorer.load(kinds.GainReference, filter_name=build.FILTER, **WHO)


def test_a_reference_that_begins_after_its_rule_is_refused(store: ReferenceStore, tmp_path: Path) -> None:
    gain = store.load(kinds.GainReference, filter_name=build.FILTER, **WHO)
    later = ReferenceStore(str(tmp_path)).add([replace(gain, useafter=datetime(2028, 1, 1, tzinfo=UTC))])
    wrong = Rule("gain", build.DETECTOR, None, kinds.DAWN, later.rules[0].file)
    with pytest.raises(MismatchedReferenceError, match="holds from 2028-01-01 on, but the rules"):
        later.read(kinds.GainReference, wrong)


def test_an_element_that_lets_no_light_through_is_refused(
    ramp: Ramp, store: ReferenceStore, tmp_path: Path
) -> None:
    l1.write_ramp(replace(ramp, meta=replace(ramp.meta, filter_name="DARK")), str(tmp_path / "a_uncal.asdf"))
    with pytest.raises(InputError, match="taken through DARK; only images and spectra are calibrated"):
        exposure.calibrate(str(tmp_path / "a_uncal.asdf"), store)
