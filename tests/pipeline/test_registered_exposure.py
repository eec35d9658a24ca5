"""Simulate, calibrate, register: three detectors that look elsewhere than their metadata say."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import roman_datamodels
from astropy.table import vstack
from tests.support import pipeline as build
from tests.support import simulator as scene
from tests.support import star_fields as fields

from nexus_pipeline.products import l2
from nexus_pipeline.products.model import Pointing
from nexus_pipeline.recipes import registration
from nexus_pipeline.references.make import make_references
from nexus_pipeline.references.store import open_store
from nexus_pipeline.scale.simulation import seed_of
from nexus_pipeline.simulate import catalog
from nexus_pipeline.simulate.attitude import PointingError, true_pointing
from nexus_pipeline.simulate.detector import darks
from nexus_pipeline.simulate.exposure import DEFAULT_START
from nexus_pipeline.simulate.gaia import reference_stars
from nexus_pipeline.sky import distortion, wcs
from nexus_pipeline.sky.star_table import read_star_table

DETECTORS = ("WFI01", "WFI07", "WFI18")
POINTING = Pointing(ra_deg=268.0, dec_deg=-29.0, roll_deg=60.0)
ERROR = PointingError(east_arcsec=0.6, north_arcsec=-0.8, roll_arcsec=20.0, jitter_mas=20.0)
SEED, STARS_ACROSS = 12, 8
NAME = "r0000101001001001001_0001_{}_f158_{}.asdf"


def image_wcs(detector: str, pointing: Pointing) -> object:
    return wcs.build(distortion.synthetic_distortion(detector, scene.ACTIVE), pointing, size=scene.ACTIVE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of references, Gaia's table, and three L1 ramps of an exposure gone astray."""
    path, rng = tmp_path_factory.mktemp("astray"), np.random.default_rng(SEED)
    store = make_references(
        str(path / "references"),
        distortion.geometry,
        darks,
        detectors=DETECTORS,
        filter_names=[build.FILTER],
        n_pixels=build.SMALL,
    )
    store.add([replace(scene.epsf(), detector=name) for name in DETECTORS])
    x, y = scene.grid_of_stars(STARS_ACROSS, 26.0, jitter=2.0, rng=rng)
    # S/N 500 to 100: 0.3 to 1 mas each; Gaia's own 1.6 to 3.6 mas after eleven years are the most of it.
    tables = [
        scene.star_table(*image_wcs(name, POINTING)(x + 20, y + 20), rng.uniform(18, 19.5, x.size))  # type: ignore[operator]
        for name in DETECTORS
    ]
    stars = vstack(tables)
    catalog.write_table(stars, str(path / "stars.parquet"))
    gaia = reference_stars(stars, build.FILTER, DEFAULT_START, rng=rng)
    catalog.write_table(gaia, str(path / "gaia.parquet"))
    wrong = ", ".join(f"{key} = {value}" for key, value in vars(ERROR).items()).replace(", ", "\n")
    (path / "astray.toml").write_text(f"[pointing_error]\n{wrong}\n")
    told = build.wfi(
        "simulate", path / "stars.parquet", "-r", path / "references", "-o", path / "l1", "--seed", SEED,
        "--ma-table", 3, "--parameters", path / "astray.toml", "--jobs", 1,
        "--detectors", ",".join(DETECTORS),
        "--ra", POINTING.ra_deg, "--dec", POINTING.dec_deg, "--roll", POINTING.roll_deg,
    )  # fmt: skip
    assert told.status == 0, told.err
    return path


def calibrate(folder: Path, what: Path, out: Path, *more: object) -> build.Told:
    return build.wfi("calibrate", what, "-r", folder / "references", "-o", out, "--jobs", 1, *more)


def image(folder: Path, detector: str, kind: str = "cal") -> Path:
    return folder / NAME.format(detector.lower(), kind)


@pytest.fixture(scope="module")
def registered(folder: Path) -> tuple[Path, build.Told]:
    told = calibrate(folder, folder / "l1", folder / "l2", "--gaia", folder / "gaia.parquet")
    assert told.status == 0, told.err
    return folder / "l2", told


def test_shift_roll_and_each_detector_s_own_offset_are_recovered_to_2_mas(
    registered: tuple[Path, build.Told],
) -> None:
    l2_folder, told = registered
    assert told.out.endswith("tweakreg: 3 COMPLETE, 0 FAILED, 0 SKIPPED\n")
    left, before = [], []
    for detector in DETECTORS:
        found = l2.read_rate_image(str(image(l2_folder, detector)))
        truly = true_pointing(POINTING, ERROR, seed=seed_of(SEED, detector))
        assert found.meta.carried["wcs_fit_results"]["nmatches"] >= 50
        apart = [
            fields.difference_mas(image_wcs(detector, truly), other, size=scene.ACTIVE)
            for other in (found.wcs, image_wcs(detector, POINTING))
        ]
        left.append(np.sqrt(np.mean(apart[0] ** 2)))
        before.append(np.sqrt(np.mean(apart[1] ** 2)))
        record = found.provenance.steps[-1]
        assert (record.name, record.status) == ("tweakreg", "COMPLETE")
    print(f"mas rms an axis: {np.round(before)} before, {np.round(left, 2)} after registration")
    assert min(before) > 500
    # 64 stars of about 2.5 mas with Gaia's errors: 0.3 mas for a shift, as much for a turn at the edges.
    assert np.sqrt(np.mean(np.square(left))) <= 2.0
    assert max(left) <= 2.5


def test_the_mission_s_library_reads_what_was_registered(registered: tuple[Path, build.Told]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with roman_datamodels.open(image(registered[0], "WFI18")) as opened:
            opened.validate()
            assert opened.meta.cal_step.tweakreg == "COMPLETE"
        with roman_datamodels.open(image(registered[0], "WFI18", "wcs")) as product:
            product.validate()


def test_what_cannot_be_registered_is_kept_and_says_why(folder: Path, tmp_path: Path) -> None:
    ramp = image(folder / "l1", "WFI07", "uncal")
    stars = pyarrow.parquet.read_table(folder / "gaia.parquet")
    pyarrow.parquet.write_table(stars.slice(64, 4), tmp_path / "few.parquet")
    told = calibrate(folder, ramp, tmp_path, "--gaia", tmp_path / "few.parquet")
    assert told.status == 0, told.err
    assert "few has 4 stars here; 10 are needed" in told.out
    assert told.out.endswith("tweakreg: 0 COMPLETE, 1 FAILED, 0 SKIPPED\n")
    last = l2.read_rate_image(str(image(tmp_path, "WFI07"))).provenance.steps[-1]
    assert (last.name, last.status) == ("tweakreg", "FAILED")
    # Again without world coordinates.
    told = calibrate(
        folder, ramp, tmp_path / "none", "--gaia", folder / "gaia.parquet", "--skip", "assign_wcs"
    )
    assert told.status == 0, told.err
    assert "tweakreg SKIPPED: it has no world coordinates" in told.out
    with roman_datamodels.open(image(tmp_path / "none", "WFI07")) as opened:
        opened.validate()
        assert (opened.meta.cal_step.source_catalog, opened.meta.cal_step.tweakreg) == ("SKIPPED", "SKIPPED")
    assert not image(tmp_path / "none", "WFI07", "wcs").exists()


def test_without_an_epsf_the_step_fails_and_the_image_stays(
    registered: tuple[Path, build.Told], folder: Path, tmp_path: Path
) -> None:
    store = open_store(str(folder / "references"))
    bare = replace(store, rules=tuple(rule for rule in store.rules if rule.kind != "epsf"))
    source, target = str(image(registered[0], "WFI01")), str(image(tmp_path, "WFI01"))
    (outcome,) = registration.register({source: target}, read_star_table(str(folder / "gaia.parquet")), bare)
    assert outcome.error is None
    found = l2.read_rate_image(target)
    assert [step.status for step in found.provenance.steps[-2:]] == ["FAILED", "FAILED"]
    assert "no epsf reference for WFI01" in str(found.provenance.steps[-1].reason)
    np.testing.assert_array_equal(found.rate, l2.read_rate_image(source).rate)


def test_wrong_tables_and_contradictions_are_refused_before_any_work(folder: Path, tmp_path: Path) -> None:
    told = calibrate(folder, folder / "l1", tmp_path / "out", "--gaia", folder / "stars.parquet")
    assert told.status == 2
    assert "no table of stars in Gaia's columns" in told.err
    told = calibrate(
        folder, folder / "l1", tmp_path / "out", "--gaia", folder / "gaia.parquet", "--skip", "tweakreg"
    )
    assert told.status == 2
    assert "no use for --gaia" in told.err
    parameters = tmp_path / "own.toml"
    parameters.write_text("[tweakreg]\nmin_stars = 'many'\n")
    told = calibrate(
        folder, folder / "l1", tmp_path / "out", "--gaia", folder / "gaia.parquet", "--parameters", parameters
    )
    assert told.status == 2
    assert "tweakreg.min_stars must be a whole number, not 'many'" in told.err
    # Known without --gaia as well: one file of parameters serves both.
    told = calibrate(folder, folder / "l1", tmp_path / "out", "--parameters", parameters)
    assert "tweakreg.min_stars must be a whole number" in told.err
    assert not (tmp_path / "out").exists()
