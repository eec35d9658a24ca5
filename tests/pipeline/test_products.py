"""Products: what is written is what roman_datamodels opens, and what is read back."""

import warnings
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import asdf
import numpy as np
import pytest
import roman_datamodels
from roman_datamodels.datamodels import ImageModel, ImageSourceCatalogModel, ScienceRawModel
from tests.support import pipeline as build

from nexus_pipeline.errors import (
    InvalidProductError,
    UnreadableProductError,
    WrongProductError,
)
from nexus_pipeline.products import l1, l2, l4
from nexus_pipeline.products.model import Catalog, Photometry, Provenance, RateImage, StepRecord
from nexus_pipeline.products.names import ExposureId
from nexus_pipeline.references import kinds
from nexus_pipeline.references.files import write_reference
from nexus_pipeline.steps import assign_wcs


@pytest.fixture
def l1_file(tmp_path: Path) -> Path:
    path = tmp_path / "r0000101001001001001_0001_wfi07_f158_uncal.asdf"
    l1.write_ramp(build.ramp(), str(path))
    return path


def finished_image() -> RateImage:
    """Return an image with all that the last step leaves."""
    transform, _ = build.geometry(build.DETECTOR, 40)
    distortion = kinds.DistortionReference(detector=build.DETECTOR, transform=transform)
    image = assign_wcs.assign(build.rate_image(np.random.default_rng(1).random((40, 40))), distortion)
    steps = (StepRecord("dq_init", "COMPLETE", 0.5, 10**9), StepRecord("photom", "COMPLETE", 2.5, 10**9))
    return replace(
        image,
        jump_indices=np.array([[3, 20, 10], [7, 0, 39]], np.int16),
        photometry=Photometry(0.65, 0.0065, 2.8e-13),
        provenance=Provenance(steps, {"dark": "nexus_dark.asdf"}, "nexus_0123456789ab", ("a line",)),
    )


def test_roman_datamodels_opens_our_l1_without_a_warning(l1_file: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with roman_datamodels.open(l1_file) as model:
            assert isinstance(model, ScienceRawModel)
            model.validate()
            assert model.meta.filename == l1_file.name
            assert model.meta.exposure.start_time.isot == "2027-03-01T12:00:00.000"
            assert model.meta.instrument.optical_element == "F158"
            assert model.meta.observation.visit_id == "0000101001001001001"
            assert len(model.meta.observation.observation_id) == 28
            np.testing.assert_array_equal(model.data, build.ramp().data)


def test_roman_datamodels_opens_our_l2_without_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "r0000101001001001001_0001_wfi07_f158_cal.asdf"
    image = finished_image()
    l2.write_rate_image(image, str(path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with roman_datamodels.open(path) as model:
            assert isinstance(model, ImageModel)
            model.validate()
            assert model.meta.filename == path.name
            assert model.meta.cal_step.photom == "COMPLETE"
            assert model.meta.cal_step.tweakreg == "INCOMPLETE"
            assert model.meta.ref_file.dark == "nexus_dark.asdf"
            assert model.meta.ref_file.crds.context == "nexus_0123456789ab"
            assert model.meta.wcs(0, 0) == pytest.approx(image.wcs(0, 0), abs=1e-12)
            assert model.err.dtype == np.float16
            np.testing.assert_array_equal(model.data, image.rate)


def test_an_l1_is_read_back_as_it_was_written(l1_file: Path) -> None:
    ramp, back = build.ramp(), l1.read_ramp(str(l1_file))
    np.testing.assert_array_equal(back.data, ramp.data)
    np.testing.assert_array_equal(back.amp33, ramp.amp33)
    assert replace(back.meta, carried={}, file_name=None) == ramp.meta
    assert l1.read_meta(str(l1_file)).start_time == datetime(2027, 3, 1, 12, tzinfo=UTC)


def test_optional_planes_of_an_l1_survive(tmp_path: Path) -> None:
    given = build.ramp()
    flags = np.zeros(given.data.shape, np.uint8)
    flags[2, 3, 4] = 9
    read = np.full(given.data.shape[1:], 77, np.uint16)
    edge = np.full(given.amp33.shape[1:], 88, np.uint16)
    l1.write_ramp(
        replace(given, resultant_dq=flags, reference_read=read, reference_amp33=edge),
        str(tmp_path / "a.asdf"),
    )
    back = l1.read_ramp(str(tmp_path / "a.asdf"))
    np.testing.assert_array_equal(back.resultant_dq, flags)
    np.testing.assert_array_equal(back.reference_read, read)
    np.testing.assert_array_equal(back.reference_amp33, edge)


def test_an_l2_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    image = finished_image()
    l2.write_rate_image(image, str(tmp_path / "a_cal.asdf"))
    back = l2.read_rate_image(str(tmp_path / "a_cal.asdf"))
    np.testing.assert_array_equal(back.rate, image.rate)
    np.testing.assert_array_equal(back.jump_indices, image.jump_indices)
    # Half precision has 11 bits.
    np.testing.assert_allclose(back.var_rnoise, image.var_rnoise, rtol=2**-11)
    assert back.photometry == image.photometry
    assert back.provenance == image.provenance
    assert back.s_region == image.s_region
    assert replace(back.meta, carried={}, file_name=None) == image.meta


def test_values_beyond_half_precision_stay_finite(tmp_path: Path) -> None:
    huge, none = build.plane(1e9, (40, 40)), build.plane(np.nan, (40, 40))
    image = build.rate_image(np.ones((40, 40)), dumo=huge, err=none)
    l2.write_rate_image(image, str(tmp_path / "a_cal.asdf"))
    back = l2.read_rate_image(str(tmp_path / "a_cal.asdf"))
    assert (back.dumo == np.finfo(np.float16).max).all()
    assert np.isnan(back.err).all()


def test_an_image_before_photom_says_so(tmp_path: Path) -> None:
    l2.write_rate_image(build.rate_image(np.ones((40, 40))), str(tmp_path / "a_cal.asdf"))
    back = l2.read_rate_image(str(tmp_path / "a_cal.asdf"))
    assert back.photometry is None
    assert back.wcs is None


def test_what_only_the_l1_knows_is_carried_into_the_l2(tmp_path: Path, l1_file: Path) -> None:
    with asdf.open(l1_file, mode="rw") as file:
        file["roman"]["meta"]["program"]["title"] = "Microlensing of everything"
        file.update()
    meta = l1.read_ramp(str(l1_file)).meta
    l2.write_rate_image(build.rate_image(np.ones((40, 40)), meta=meta), str(tmp_path / "a_cal.asdf"))
    with roman_datamodels.open(tmp_path / "a_cal.asdf") as model:
        assert model.meta.program.title == "Microlensing of everything"
        assert model.meta.filename == "a_cal.asdf"
        assert model.meta.model_type == "ImageModel"


def test_a_catalogue_is_read_back_with_units_and_exposure(tmp_path: Path) -> None:
    table = ImageSourceCatalogModel.create_fake_data().source_catalog
    meta = build.meta(exposure_id=ExposureId(visit=3))
    given = Catalog(meta, table, photometry=Photometry(0.65, 0.0065, 2.8e-13), extra={"depth": 25.5})
    l4.write_catalog(given, str(tmp_path / "a_cat.parquet"))
    back = l4.read_catalog(str(tmp_path / "a_cat.parquet"))
    assert back.table.colnames == table.colnames
    assert str(back.table["nn_distance"].unit) == "arcsec"
    assert replace(back.meta, carried={}, file_name=None) == meta
    assert back.photometry == given.photometry
    assert back.extra["depth"] == 25.5


def test_a_catalogue_that_would_break_the_schema_is_not_written(tmp_path: Path) -> None:
    table = ImageSourceCatalogModel.create_fake_data().source_catalog
    table.remove_column("label")
    with pytest.raises(InvalidProductError, match=r"a_cat\.parquet: would break its schema"):
        l4.write_catalog(Catalog(build.meta(), table), str(tmp_path / "a_cat.parquet"))
    assert list(tmp_path.iterdir()) == []


def test_an_image_that_would_break_the_schema_is_not_written(tmp_path: Path) -> None:
    image = build.rate_image(np.ones((40, 40)), meta=build.meta(exposure_type="HOLIDAY"))
    with pytest.raises(InvalidProductError, match="would break its schema"):
        l2.write_rate_image(image, str(tmp_path / "a_cal.asdf"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.98])
def test_a_truncated_file_is_refused(l1_file: Path, share: float) -> None:
    whole = l1_file.read_bytes()
    l1_file.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UnreadableProductError, match="truncated"):
        l1.read_ramp(str(l1_file))


def test_a_corrupt_block_is_refused(l1_file: Path) -> None:
    whole = bytearray(l1_file.read_bytes())
    start = whole.index(b"\xd3BLK") + 200
    whole[start : start + 4000] = bytes(4000)
    l1_file.write_bytes(whole)
    with pytest.raises(UnreadableProductError, match="corrupt"):
        l1.read_ramp(str(l1_file))


def test_files_of_another_kind_are_refused_by_what_they_are(tmp_path: Path, l1_file: Path) -> None:
    foreign = tmp_path / "foreign.asdf"
    asdf.AsdfFile({"mine": [1, 2, 3]}).write_to(foreign)
    text = tmp_path / "text.asdf"
    text.write_text("nothing of the kind")
    gain = tmp_path / "gain.asdf"
    write_reference(build.gain((16, 16)), str(gain))
    with pytest.raises(WrongProductError, match="not one of the Roman mission"):
        l1.read_ramp(str(foreign))
    with pytest.raises(UnreadableProductError, match="not an ASDF file"):
        l1.read_ramp(str(text))
    with pytest.raises(WrongProductError, match="'GainRef', not an L1 ramp"):
        l1.read_ramp(str(gain))
    with pytest.raises(WrongProductError, match="holds an L1 ramp, not an L2 image"):
        l2.read_rate_image(str(l1_file))
    with pytest.raises(UnreadableProductError, match="not a Parquet file"):
        l4.read_catalog(str(l1_file))


def test_a_ramp_that_contradicts_its_read_pattern_is_refused(tmp_path: Path) -> None:
    short = build.ramp(np.ones((5, 64, 64), np.uint16))
    l1.write_ramp(short, str(tmp_path / "a.asdf"))
    with pytest.raises(WrongProductError, match="its read pattern has 9 resultants"):
        l1.read_ramp(str(tmp_path / "a.asdf"))


def test_metadata_that_make_no_sense_are_refused(l1_file: Path) -> None:
    with asdf.open(l1_file, mode="rw") as file:
        file["roman"]["meta"]["exposure"]["frame_time"] = -999999.0
        file.update()
    with pytest.raises(WrongProductError, match=r"make no sense: a read takes -999999.0 s"):
        l1.read_ramp(str(l1_file))
