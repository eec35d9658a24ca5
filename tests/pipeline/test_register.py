"""``wfi register``: images in, registered images and their WCS products out; nothing lost where it fails."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import roman_datamodels
from tests.support import pipeline as build
from tests.support import simulator as scene
from tests.support import star_fields as fields

from nexus_pipeline.products import l2
from nexus_pipeline.products.model import RateImage
from nexus_pipeline.references.store import ReferenceStore

NAME = "r0000101001001001001_0001_wfi07_f158_{}.asdf"
SKY, READ_SIGMA, ELECTRONS_PER_VARIANCE = 0.6, 0.02, 1.8 * 139


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ReferenceStore:
    return scene.store(str(tmp_path_factory.mktemp("references")))


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, RateImage]:
    """Return an L2 that looks 1 arcsec astray, a table of its stars, and the image as it truly is."""
    folder = tmp_path_factory.mktemp("field")
    size, rng = scene.ACTIVE, np.random.default_rng(41)
    x, y = scene.grid_of_stars(9, size / 9, jitter=3.0, rng=rng)
    rate = np.full((size, size), SKY, dtype=np.float32)
    scene.grid().add_to(rate, x, y, np.full(81, 500.0), radii=np.full(81, 12))
    rate += rng.standard_normal(rate.shape) * np.sqrt(rate / ELECTRONS_PER_VARIANCE + READ_SIGMA**2)
    true = scene.calibrated(rate, var_poisson=np.maximum(rate, 0) / np.float32(ELECTRONS_PER_VARIANCE))
    ra, dec = true.wcs(x, y)
    columns = {"ra": ra, "dec": dec} | {name: np.zeros(81) for name in ("pmra", "pmdec", "parallax")}
    table = folder / "gaia_field.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns | {"ref_epoch": np.full(81, 2016.0)}), table)
    pointing = true.meta.pointing
    astray = replace(pointing, ra_deg=pointing.ra_deg + 0.6 / 3600, dec_deg=pointing.dec_deg - 0.8 / 3600)
    meta = replace(true.meta, pointing=astray)
    path = folder / NAME.format("cal")
    l2.write_rate_image(replace(scene.pointed(true, astray), meta=meta), str(path))
    return path, table, true


def test_an_image_gets_its_true_place_and_says_so(
    field: tuple[Path, Path, RateImage], store: ReferenceStore, tmp_path: Path
) -> None:
    path, table, true = field
    told = build.wfi("register", path, "--gaia", table, "-r", store.url, "-o", tmp_path)
    assert told.status == 0, told.err
    assert "tweakreg COMPLETE: 81 of 81 stars matched" in told.out
    image = l2.read_rate_image(str(tmp_path / NAME.format("cal")))
    apart = fields.difference_mas(true.wcs, image.wcs, size=scene.ACTIVE)
    before = fields.difference_mas(true.wcs, l2.read_rate_image(str(path)).wcs, size=scene.ACTIVE)
    # 81 stars of S/N 350, 0.4 mas each: a fit of 0.1 mas at the corners.
    assert np.sqrt(np.mean(before**2)) > 500
    assert np.sqrt(np.mean(apart**2)) < 1.0
    assert [record.status for record in image.provenance.steps[-2:]] == ["COMPLETE", "COMPLETE"]
    assert image.s_region != l2.read_rate_image(str(path)).s_region


def test_the_mission_opens_image_and_wcs_without_a_warning(
    field: tuple[Path, Path, RateImage], store: ReferenceStore, tmp_path: Path
) -> None:
    build.wfi("register", field[0], "--gaia", field[1], "-r", store.url, "-o", tmp_path)
    x, y = np.array([0.0, 100.0]), np.array([7.0, 200.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with roman_datamodels.open(tmp_path / NAME.format("cal")) as image:
            assert image.validate() is None
            assert (image.meta.cal_step.source_catalog, image.meta.cal_step.tweakreg) == (
                "COMPLETE",
                "COMPLETE",
            )
            assert image.meta.wcs.name == "FIT-LVL2-gaia_field"
            there = image.meta.wcs(x, y)
        with roman_datamodels.open(tmp_path / NAME.format("wcs")) as product:
            assert product.validate() is None
            assert product.meta.wcs_fit_results["nmatches"] == 81
            assert np.allclose(product.wcs_l2(x, y), there, rtol=0, atol=1e-12)
            assert np.allclose(product.wcs_l1(x + 4, y + 4), there, rtol=0, atol=1e-12)
            assert np.allclose(product.wcs_l1.invert(*there), (x + 4, y + 4), rtol=0, atol=1e-4)


def test_an_image_without_a_match_is_kept_as_it_was_and_says_why(
    field: tuple[Path, Path, RateImage], store: ReferenceStore, tmp_path: Path
) -> None:
    stars = pyarrow.parquet.read_table(field[1])
    few = tmp_path / "few.parquet"
    pyarrow.parquet.write_table(stars.slice(0, 5), few)
    told = build.wfi("register", field[0], "--gaia", few, "-r", store.url, "-o", tmp_path)
    assert told.status == 0
    assert "tweakreg FAILED: few has 5 stars here; 10 are needed" in told.out
    image, before = (l2.read_rate_image(str(at)) for at in (tmp_path / NAME.format("cal"), field[0]))
    assert image.provenance.steps[-1].status == "FAILED"
    assert "10 are needed" in str(image.provenance.steps[-1].reason)
    assert np.array_equal(image.rate, before.rate)
    assert np.max(np.abs(fields.difference_mas(before.wcs, image.wcs, size=scene.ACTIVE))) < 1e-6


def test_a_wrong_table_stops_before_anything_is_written(
    field: tuple[Path, Path, RateImage], store: ReferenceStore, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"x": [1.0], "y": [2.0]}), wrong)
    out = tmp_path / "out"
    told = build.wfi("register", field[0], "--gaia", wrong, "-r", store.url, "-o", out)
    assert told.status == 2
    assert "wrong.parquet: no table of stars in Gaia's columns: it lacks ra" in told.err
    assert not out.exists()


def test_one_unreadable_image_does_not_keep_the_others(
    field: tuple[Path, Path, RateImage], store: ReferenceStore, tmp_path: Path
) -> None:
    broken = tmp_path / NAME.format("cal").replace("wfi07", "wfi08")
    broken.write_bytes(b"no ASDF")
    out = tmp_path / "out"
    told = build.wfi("register", broken, field[0], "--gaia", field[1], "-r", store.url, "-o", out)
    assert told.status == 2
    assert broken.name in told.err
    assert "1 of 2 images failed" in told.err
    assert (out / NAME.format("cal")).exists()
