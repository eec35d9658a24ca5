"""``wfi calibrate`` from ramp to image: the recipe, the runner and the command line."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import roman_datamodels
from tests.support import pipeline as build

from nexus_pipeline.errors import MissingReferenceError
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.products import l1, l2
from nexus_pipeline.products.associations import read_association
from nexus_pipeline.products.model import RateImage, StepRecord
from nexus_pipeline.recipes import exposure
from nexus_pipeline.references.store import ReferenceStore, open_store

WFI = Path(sys.executable).with_name("wfi")
NAME = "r0000101001001001001_0001_wfi07_f158_{}.asdf"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ReferenceStore:
    return build.small_store(str(tmp_path_factory.mktemp("references")))


@pytest.fixture(scope="module")
def made(store: ReferenceStore, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """Return an L1 file and the true rates of its pixels."""
    ramp, truth = build.small_ramp(store, seed=21)
    path = tmp_path_factory.mktemp("l1") / NAME.format("uncal")
    l1.write_ramp(ramp, str(path))
    return path, truth


@pytest.fixture(scope="module")
def image(made: tuple[Path, np.ndarray], store: ReferenceStore) -> RateImage:
    return exposure.calibrate(str(made[0]), store)


def test_the_truth_comes_back_within_its_errors(made: tuple[Path, np.ndarray], image: RateImage) -> None:
    usable = image.dq & (DQ.DO_NOT_USE | DQ.JUMP_DET) == 0
    # ``err`` adds the flat's own 0.1 %, an error this flat does not have.
    error = np.sqrt(image.var_poisson + image.var_rnoise)
    pull = ((image.rate - made[1]) / error)[usable]
    assert usable.mean() > 0.99
    # 61 000 pixels: the mean is known to 0.004, the width to 0.003. The reference pixels add 2 % of
    # noise, common to many pixels: 0.02 DN/s at most.
    assert abs(np.mean((image.rate - made[1])[usable])) < 0.02
    assert 1.4826 * np.median(np.abs(pull - np.median(pull))) == pytest.approx(1, abs=0.04)


def test_no_step_leaves_a_trend_with_brightness(made: tuple[Path, np.ndarray], image: RateImage) -> None:
    usable = image.dq & (DQ.DO_NOT_USE | DQ.JUMP_DET) == 0
    ratio = [
        np.mean(image.rate[:, band][usable[:, band]] / made[1][:, band][usable[:, band]])
        for band in (slice(100, 130), slice(218, 248))
    ]
    # 7 000 pixels of S/N 65 and more: 0.02 % each; linearity changes these rates by 1 % and more.
    assert ratio[0] == pytest.approx(1, abs=0.002)
    assert ratio[1] == pytest.approx(1, abs=0.002)


def test_the_product_tells_how_it_was_made(image: RateImage, store: ReferenceStore) -> None:
    assert [step.name for step in image.provenance.steps] == [
        "read", "dq_init", "saturation", "refpix", "dark_decay", "wfi18_transient", "linearity",
        "ramp_fitting", "dark_current", "assign_wcs", "photom", "flatfield",
        "persistence",
    ]  # fmt: skip
    run = [step for step in image.provenance.steps if step.status == "COMPLETE"]
    left_out = {step.name for step in image.provenance.steps} - {step.name for step in run}
    assert left_out == {"wfi18_transient", "persistence"}
    assert all(step.seconds > 0 and step.peak_memory_bytes > 10**7 for step in run)
    assert image.provenance.context == store.context
    assert image.provenance.references["gain"] == "nexus_wfi07_gain_20200101.asdf"
    assert len(image.provenance.logs) == 13


def test_each_step_is_heard_of_when_it_is_done(made: tuple[Path, np.ndarray], store: ReferenceStore) -> None:
    heard: list[StepRecord] = []
    done = exposure.calibrate(str(made[0]), store, on_step=heard.append)
    assert tuple(step.name for step in heard) == tuple(step.name for step in done.provenance.steps)


def test_a_missing_reference_stops_it_before_any_step(
    made: tuple[Path, np.ndarray], store: ReferenceStore
) -> None:
    heard: list[StepRecord] = []
    poorer = ReferenceStore(store.url, tuple(rule for rule in store.rules if rule.kind != "flat"))
    with pytest.raises(MissingReferenceError, match="no flat reference for WFI07 F158"):
        exposure.calibrate(str(made[0]), poorer, on_step=heard.append)
    assert [step.name for step in heard] == ["read"]


def test_the_command_writes_an_image_and_tells_time_and_memory_of_each_step(
    made: tuple[Path, np.ndarray], store: ReferenceStore, image: RateImage, tmp_path: Path
) -> None:
    done = build.wfi("calibrate", made[0], "--references", store.url, "--output", tmp_path / "out")
    assert done.status == 0, done.err
    for step in image.provenance.steps:
        assert re.search(
            rf"^  {step.name} +\d+\.\d\d s   peak +\d+\.\d\d GB   {step.status}$", done.out, re.M
        )
    target = tmp_path / "out" / NAME.format("cal")
    assert str(target) in done.out
    with roman_datamodels.open(target) as model:
        model.validate()
        assert model.meta.cal_step.flat_field == "COMPLETE"
    np.testing.assert_array_equal(l2.read_rate_image(str(target)).rate, image.rate)


def test_one_bad_ramp_of_three_does_not_stop_the_others(
    made: tuple[Path, np.ndarray], store: ReferenceStore, tmp_path: Path
) -> None:
    (tmp_path / "truncated_uncal.asdf").write_bytes(made[0].read_bytes()[:100_000])
    done = build.wfi(
        "calibrate", tmp_path / "none_uncal.asdf", tmp_path / "truncated_uncal.asdf", f"file://{made[0]}",
        "--references", store.url, "--output", tmp_path / "out", "--jobs", 1,
    )  # fmt: skip
    assert done.status == 2
    lines = done.err.splitlines()
    assert lines[0] == f"wfi: {tmp_path}/none_uncal.asdf: no such file"
    assert lines[1].startswith(f"wfi: {tmp_path}/truncated_uncal.asdf: not an ASDF file, or a truncated")
    assert lines[2:] == ["wfi: 2 of 3 ramps failed"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == [NAME.format("cal")]


def test_an_l2_given_for_an_l1_is_refused_by_name(
    image: RateImage, store: ReferenceStore, tmp_path: Path
) -> None:
    l2.write_rate_image(image, str(tmp_path / "a_cal.asdf"))
    done = build.wfi("calibrate", tmp_path / "a_cal.asdf", "--references", store.url, "--output", tmp_path)
    assert (done.status, done.err) == (
        2,
        f"wfi: {tmp_path}/a_cal.asdf: holds an L2 image, not an L1 ramp\n",
    )


def test_references_of_another_size_are_refused(made: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    build.small_store(str(tmp_path / "other"), n_pixels=128)
    done = build.wfi("calibrate", made[0], "--references", tmp_path / "other", "--output", tmp_path / "out")
    assert done.status == 2
    assert "frames of (128, 128), the exposure of (256, 256)" in done.err
    assert not (tmp_path / "out").exists()


def test_a_store_that_is_none_is_refused(made: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    done = build.wfi("calibrate", made[0], "--references", tmp_path)
    assert done.status == 2
    assert "is no reference store" in done.err


def test_two_ramps_of_one_name_are_refused_first(store: ReferenceStore, tmp_path: Path) -> None:
    done = build.wfi("calibrate", tmp_path / "a" / "x.asdf", tmp_path / "b" / "x.asdf", "-r", store.url)
    assert done.status == 2
    assert "one file name" in done.err


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a file system with room for less than one image."""
    folder = tmp_path / "full"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system; test_store limits a file's size instead")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder], check=True, timeout=30)
    yield folder
    subprocess.run(["umount", folder], check=True, timeout=30)


def test_a_full_disk_is_said_and_leaves_no_half_image(
    made: tuple[Path, np.ndarray], store: ReferenceStore, full_disk: Path
) -> None:
    done = build.wfi("calibrate", made[0], "--references", store.url, "--output", full_disk)
    assert done.status == 3
    target = full_disk / NAME.format("cal")
    assert done.err == f"wfi: {target}: could not be written: No space left on device\n"
    assert list(full_disk.iterdir()) == []


def test_references_are_made_by_command_only_for_what_exists(tmp_path: Path) -> None:
    done = build.wfi("references", "make", tmp_path / "store", "--detector", "WFI19")
    assert done.status == 2
    assert done.err.startswith("wfi: no detector is called 'WFI19'; there are WFI01, WFI02")
    assert not (tmp_path / "store").exists()


def test_the_old_image_stays_when_a_new_one_fails(
    made: tuple[Path, np.ndarray], store: ReferenceStore, tmp_path: Path, image: RateImage
) -> None:
    target = tmp_path / NAME.format("cal")
    l2.write_rate_image(image, str(target))
    before = target.read_bytes()
    (tmp_path / NAME.format("uncal")).write_bytes(made[0].read_bytes()[:-100_000])
    done = build.wfi("calibrate", tmp_path / NAME.format("uncal"), "-r", store.url, "-o", tmp_path)
    assert done.status == 2
    assert target.read_bytes() == before


def test_a_store_by_url_is_the_store_by_path(store: ReferenceStore) -> None:
    assert replace(open_store(f"file://{store.url}"), url="") == replace(open_store(store.url), url="")


def test_the_installed_command_refuses_in_one_line(tmp_path: Path) -> None:
    command = [WFI, "info", tmp_path / "none.asdf"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"wfi: {tmp_path}/none.asdf: no such file\n"


def test_images_are_associated_with_the_skycells_they_touch(image: RateImage, tmp_path: Path) -> None:
    ra, dec = image.meta.pointing.ra_deg, image.meta.pointing.dec_deg
    l2.write_rate_image(image, str(tmp_path / NAME.format("cal")))
    for name, at in (("here", dec), ("elsewhere", -dec)):
        done = build.wfi("skymap", tmp_path / f"{name}.asdf", "--around", ra, at, 0.01)
        assert done.status == 0, done.err
        assert "projection regions" in done.out
    out = tmp_path / "out"
    images, skymap = (tmp_path / NAME.format("cal"), tmp_path / "here.asdf")
    done = build.wfi("associate", images, "--skymap", skymap, "--product", "visit", "--output", out)
    assert done.status == 0, done.err
    written = sorted(out.iterdir())
    assert len(written) == len(done.out.splitlines()) > 0
    made = read_association(str(written[0]))
    assert made.members == (NAME.format("cal"),)
    assert made.product.startswith("r00001_p_v01001001001001_")
    lost = build.wfi(
        "associate", images, "--skymap", tmp_path / "elsewhere.asdf", "--output", tmp_path / "no"
    )
    assert lost.status == 2
    assert "touches no skycell" in lost.err
    assert not (tmp_path / "no").exists()
