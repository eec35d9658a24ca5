"""Products and references in an object store: the same code by another URL."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import s3fs
from tests.support import pipeline as build
from tests.support.s3 import s3_server

from nexus_pipeline.products import l1, l2

SOURCE = "s3://mission/l1/r0000101001001001001_0001_wfi07_f158_uncal.asdf"
TARGET = "s3://mine/l2/r0000101001001001001_0001_wfi07_f158_cal.asdf"


@pytest.fixture(autouse=True)
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lead this process to a server of its own; s3fs would else keep the endpoint of the test before."""
    with s3_server("mission", "mine") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        yield
        s3fs.S3FileSystem.clear_instance_cache()


def test_a_ramp_in_a_bucket_is_calibrated_into_a_bucket() -> None:
    store = build.small_store("s3://mission/references")
    ramp, truth = build.small_ramp(store, seed=1)
    l1.write_ramp(ramp, SOURCE)
    done = build.wfi("calibrate", SOURCE, "--references", "s3://mission/references", "-o", "s3://mine/l2")
    assert (done.status, done.err) == (0, "")
    image = l2.read_rate_image(TARGET)
    assert image.provenance.context == store.context
    # Hot pixels and noise leave the median alone: 0.02 DN/s is 3.5 times what the reference pixels add.
    assert abs(np.median(image.rate - truth)) < 0.02
    told = build.wfi("info", TARGET)
    assert "L2 image" in told.out
    assert "nexus_wfi07_dark_20200101.asdf" in told.out


def test_an_object_that_is_not_there_is_said() -> None:
    done = build.wfi("info", "s3://mission/none_cal.asdf")
    assert (done.status, done.err) == (2, "wfi: s3://mission/none_cal.asdf: no such file\n")


def test_a_bucket_that_is_not_there_is_a_failure_of_storage(tmp_path: Path) -> None:
    path, store = tmp_path / "a_uncal.asdf", str(tmp_path / "references")
    l1.write_ramp(build.small_ramp(build.small_store(store), seed=2)[0], str(path))
    done = build.wfi("calibrate", path, "--references", store, "--output", "s3://nobodys/l2")
    assert done.status == 3
    assert "s3://nobodys/l2/a_cal.asdf: could not be written" in done.err
