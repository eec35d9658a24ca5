"""Products and references in an object store: the same code by another URL."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.support import pipeline as build
from tests.support.s3 import s3_server

from nexus_pipeline.products import l1

WFI = Path(sys.executable).with_name("wfi")


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    with s3_server("mission", "mine") as environment:
        yield environment


def wfi(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [WFI, *arguments], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_ramp_in_a_bucket_is_calibrated_into_a_bucket(s3: dict[str, str], tmp_path: Path) -> None:
    # A process of its own, because s3fs keeps the first endpoint it is told of.
    script = """
import sys
from tests.support import pipeline as build
from nexus_pipeline.products import l1
store = build.small_store("s3://mission/references")
ramp, _ = build.small_ramp(store, seed=1)
l1.write_ramp(ramp, "s3://mission/l1/r0000101001001001001_0001_wfi07_f158_uncal.asdf")
"""
    made = subprocess.run(
        [sys.executable, "-c", script], env=s3, capture_output=True, text=True, timeout=120, check=False,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    source = "s3://mission/l1/r0000101001001001001_0001_wfi07_f158_uncal.asdf"
    done = wfi(s3, "calibrate", source, "--references", "s3://mission/references", "--output", "s3://mine/l2")
    assert done.returncode == 0, done.stderr
    told = wfi(s3, "info", "s3://mine/l2/r0000101001001001001_0001_wfi07_f158_cal.asdf")
    assert told.returncode == 0, told.stderr
    assert "L2 image" in told.stdout
    assert "nexus_wfi07_dark_20200101.asdf" in told.stdout


def test_an_object_that_is_not_there_is_said_without_a_traceback(s3: dict[str, str]) -> None:
    done = wfi(s3, "info", "s3://mission/none_cal.asdf")
    assert done.returncode == 2
    assert done.stderr == "wfi: s3://mission/none_cal.asdf: no such file\n"


def test_a_bucket_that_is_not_there_is_a_failure_of_storage(s3: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "a_uncal.asdf"
    l1.write_ramp(build.ramp(np.ones((9, 256, 256), np.uint16)), str(path))
    store = str(tmp_path / "references")
    build.small_store(store)
    done = wfi(s3, "calibrate", str(path), "--references", store, "--output", "s3://nobodys/l2")
    assert done.returncode == 3
    assert "s3://nobodys/l2/a_cal.asdf: could not be written" in done.stderr
    assert "Traceback" not in done.stderr
