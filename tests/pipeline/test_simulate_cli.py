from pathlib import Path

import numpy as np
import pytest
from tests.support import pipeline as build
from tests.support import simulator as scene

from nexus_pipeline.products import l1, l4, segm
from nexus_pipeline.simulate import exposure
from nexus_pipeline.simulate.catalog import write_table
from nexus_pipeline.simulate.field import make_field

OPTIONS = ("--detector", build.DETECTOR, "--filter", build.FILTER, "--seed", 5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli")
    scene.store(str(path / "references"))
    field = make_field(40.0, -10.0, n_stars=40, n_galaxies=20, rng=np.random.default_rng(1), radius_deg=0.005)
    write_table(field, str(path / "sources.parquet"))
    return path


def simulate(
    folder: Path, *more: object, sources: str = "sources.parquet", output: str = "out"
) -> build.Told:
    references = ("--references", folder / "references", "--output", folder / output)
    return build.wfi("simulate", folder / sources, *references, *OPTIONS, *more)


def test_a_catalogue_becomes_ramp_image_and_catalogue_on_the_command_line(folder: Path) -> None:
    told = simulate(folder)
    assert told.status == 0, told.err
    ramp, truth = told.out.split()[:2]
    assert ramp.endswith("_0001_wfi07_f158_uncal.asdf")
    references = ("--references", folder / "references", "--output", folder / "out")
    calibrated = build.wfi("calibrate", ramp, *references)
    assert calibrated.status == 0, calibrated.err
    catalogued = build.wfi("catalog", ramp.replace("uncal", "cal"), *references)
    assert catalogued.status == 0, catalogued.err
    assert "psf_photometry" in catalogued.out
    found = l4.read_catalog(ramp.replace("uncal.asdf", "cat.parquet")).table
    url = ramp.replace("uncal", "segm")
    assert np.unique(segm.read_segments(url)[1]).tolist() == [0, *sorted(found["label"])]
    assert "L4 segmentation map" in build.wfi("info", url).out
    bright = exposure.read_truth(truth)
    bright = bright[(bright["flux_dn_s"] > 5) & (bright["x"] > 5) & (bright["y"] > 5)]
    bright = bright[(bright["x"] < scene.ACTIVE - 5) & (bright["y"] < scene.ACTIVE - 5)]
    near = [np.hypot(found["x_psf"] - row["x"], found["y_psf"] - row["y"]).min() < 3 for row in bright]
    assert len(near) >= 5
    assert np.mean(near) > 0.7


def test_the_same_seed_gives_the_same_ramp_and_another_exposure_another_name(folder: Path) -> None:
    first = simulate(folder).out.split()[0]
    again = simulate(folder, "--exposure", 2, output="again").out.split()[0]
    assert "_0002_" in again
    np.testing.assert_array_equal(l1.read_ramp(first).data, l1.read_ramp(again).data)


def test_a_catalogue_without_the_needed_columns_is_refused_and_nothing_is_written(folder: Path) -> None:
    field = make_field(40.0, -10.0, n_stars=2, n_galaxies=2, rng=np.random.default_rng(1))
    field.remove_columns(["dec", "n"])
    write_table(field, str(folder / "poor.parquet"))
    told = simulate(folder, sources="poor.parquet", output="nothing")
    assert told.status == 2
    assert "lacks the columns dec" in told.err
    assert not (folder / "nothing").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--ma-table", 77), "no MA table 77"),
        (("--detector", "WFI19"), "WFI19"),
        (("--detector", "WFI03"), "no distortion reference for WFI03"),
    ],
)
def test_impossible_exposures_are_refused(folder: Path, more: tuple[object, ...], message: str) -> None:
    told = simulate(folder, *more, output="nothing")
    assert told.status == 2
    assert message in told.err
