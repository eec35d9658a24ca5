"""``wfi calibrate`` over many ramps: processes side by side, failures, interrupts, what is there already."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tests.support import pipeline as build
from tests.support.worker_tasks import die, many_times

from nexus_pipeline.errors import InputError
from nexus_pipeline.products import l1, l2
from nexus_pipeline.products.names import ExposureId
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.runner import Settings
from nexus_pipeline.scale import batch, workers

NAME = "r0000101001001001001_{:04d}_wfi07_f158_{}.asdf"
N_PIXELS = 128


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ReferenceStore:
    return build.small_store(str(tmp_path_factory.mktemp("references")), n_pixels=N_PIXELS)


@pytest.fixture(scope="module")
def folder(store: ReferenceStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of two exposures of one detector, and a file that is no ramp."""
    made = tmp_path_factory.mktemp("l1")
    ramp, _ = build.small_ramp(store, seed=31)
    for number in (1, 2):
        meta = replace(ramp.meta, exposure_id=ExposureId(exposure=number))
        l1.write_ramp(replace(ramp, meta=meta), str(made / NAME.format(number, "uncal")))
    (made / "notes.txt").write_text("none of ours")
    return made


def test_a_folder_is_all_of_its_ramps_and_an_exposure_its_detectors(folder: Path, tmp_path: Path) -> None:
    first, second = (str(folder / NAME.format(number, "uncal")) for number in (1, 2))
    assert batch.ramps([str(folder)]) == [first, second]
    assert batch.ramps([f"{folder}/r0000101001001001001_0002"]) == [second]
    assert batch.ramps(["anything.asdf", f"{folder}/"]) == ["anything.asdf", first, second]
    with pytest.raises(InputError, match=r"no L1 ramps there \(\*_uncal.asdf\)"):
        batch.ramps([str(tmp_path)])
    with pytest.raises(InputError, match=r"no L1 ramps there \(r0000101001001001001_0009_\*_uncal.asdf\)"):
        batch.ramps([f"{folder}/r0000101001001001001_0009"])


def test_two_processes_make_what_one_makes_and_one_bad_ramp_stops_neither(
    folder: Path, store: ReferenceStore, tmp_path: Path
) -> None:
    bad = tmp_path / NAME.format(3, "uncal")
    bad.write_bytes(b"#ASDF 1.0.0\nnonsense")
    done = build.wfi("calibrate", bad, folder, "-r", store.url, "-o", tmp_path / "two", "--jobs", 2)
    assert done.status == 2
    assert done.err.startswith(f"wfi: {bad}: not an ASDF file, or a truncated or corrupt one")
    assert done.err.endswith("wfi: 1 of 3 ramps failed\n")
    assert done.out.count("ramp_fitting") == 2
    alone = build.wfi("calibrate", folder, "-r", store.url, "-o", tmp_path / "one", "--jobs", 1)
    assert alone.status == 0, alone.err
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == [
        NAME.format(number, "cal") for number in (1, 2)
    ]
    for path in (tmp_path / "one").iterdir():
        one, two = (l2.read_rate_image(str(each)) for each in (path, tmp_path / "two" / path.name))
        np.testing.assert_array_equal(one.rate, two.rate)


def test_images_that_are_there_are_left_or_made_again(
    folder: Path, store: ReferenceStore, tmp_path: Path
) -> None:
    old = tmp_path / NAME.format(1, "cal")
    old.write_bytes(b"old")
    command = ("calibrate", folder, "-r", store.url, "-o", tmp_path, "--jobs", 1)
    done = build.wfi(*command, "--skip-existing")
    assert done.status == 0
    assert done.out.startswith("1 of 2 images are there already\n")
    assert old.read_bytes() == b"old"
    assert build.wfi(*command, "--skip-existing").out == "2 of 2 images are there already\n"
    assert build.wfi(*command).status == 0
    assert l2.read_rate_image(str(old)).meta.exposure_id.exposure == 1


def test_an_error_nobody_expected_is_told_with_its_traceback_and_the_batch_goes_on(
    store: ReferenceStore, folder: Path, tmp_path: Path
) -> None:
    tasks = [batch.Task(str(folder / NAME.format(1, "uncal")), str(tmp_path / "a_cal.asdf"))] * 2
    broken = replace(store, rules=(None,))  # type: ignore[arg-type]
    outcomes = list(batch.calibrate(tasks, broken, settings=Settings()))
    assert [str(outcome.error) for outcome in outcomes] == [
        f"{tasks[0].source}: AttributeError: 'NoneType' object has no attribute 'kind'"
    ] * 2
    assert all("Traceback" in (outcome.trace or "") for outcome in outcomes)


def test_a_worker_that_dies_loses_its_own_input_only() -> None:
    told = dict(workers.over(die, ["a", "killed", "b"], jobs=1, cores=1))
    assert told == {0: "a on 1", 1: workers.Lost(-signal.SIGKILL), 2: "b on 1"}
    lost = batch._lost(batch.Task("x_uncal.asdf", ""), -signal.SIGKILL)
    assert str(lost.error).startswith("x_uncal.asdf: its process ended by SIGKILL; was there memory enough?")


def test_what_stops_a_batch_leaves_no_half_product_and_no_process(tmp_path: Path) -> None:
    script = f"""
import signal
from functools import partial
from tests.support.worker_tasks import half_a_file
from nexus_pipeline.scale import workers
# Whoever started the tests may have had interrupts ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
if __name__ == "__main__":
    list(workers.over(partial(half_a_file, {str(tmp_path / "out")!r}), ["a", "b"], jobs=2, cores=1))
"""
    (tmp_path / "run.py").write_text(script)
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen(
        [sys.executable, tmp_path / "run.py"], env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        until = time.monotonic() + 120
        while len(list((tmp_path / "out").glob(".*.part"))) < 2:
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert list((tmp_path / "out").iterdir()) == []


def test_two_who_write_one_product_leave_one_whole_product(tmp_path: Path) -> None:
    written = workers.over(partial(many_times, str(tmp_path / "a.bin")), [b"1", b"2"], jobs=2, cores=1)
    seen = set()
    for _, result in written:
        assert result is None
        content = (tmp_path / "a.bin").read_bytes()
        assert len(content) == 300_000
        seen.add(content[:1])
        assert content == content[:1] * 300_000
    assert seen <= {b"1", b"2"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
