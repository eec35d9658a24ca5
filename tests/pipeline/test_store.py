"""Where products lie: whole or not at all, locally and in an object store."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec import AbstractFileSystem, register_implementation
from tests.support.pipeline import interrupted

from nexus_pipeline.errors import StorageError, UnreadableProductError
from nexus_pipeline.products import store


class FullStore(AbstractFileSystem):
    """An object store with no room left."""

    protocol = "full"

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def full_store() -> Iterator[str]:
    register_implementation("full", FullStore, clobber=True)
    return "full://bucket/product.asdf"


def test_what_is_saved_is_read_back_by_path_and_by_url(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "a.bin"
    store.save(str(path), lambda handle: handle.write(b"abc") and None)
    assert store.exists(f"file://{path}")
    with store.open_for_reading(f"file://{path}") as handle:
        assert handle.read() == b"abc"
    assert [entry.name for entry in path.parent.iterdir()] == ["a.bin"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("broken"), MemoryError()])
def test_an_interrupted_save_leaves_nothing_new_and_the_old_as_it_was(
    tmp_path: Path, error: BaseException
) -> None:
    old = tmp_path / "old.bin"
    old.write_bytes(b"old")
    for path in (old, tmp_path / "new.bin"):
        with pytest.raises(type(error)):
            store.save(str(path), interrupted(1_000_000, error))
    assert old.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["old.bin"]


def test_ctrl_c_in_the_middle_of_a_file_leaves_no_file(tmp_path: Path) -> None:
    script = f"""
import os, signal, time
from nexus_pipeline.products import store
# Whoever started the tests may have had interrupts ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
def write(handle):
    handle.write(b"x" * 5_000_000); handle.flush(); print("half", flush=True); time.sleep(60)
store.save({str(tmp_path / "a.bin")!r}, write)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        assert len(list(tmp_path.iterdir())) == 1
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=90)
    assert "KeyboardInterrupt" in errors
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_is_said_and_leaves_no_half_file(tmp_path: Path) -> None:
    # A limit on file size makes the kernel refuse the write as a full disk does, whoever runs the test.
    script = f"""
import resource
from nexus_pipeline.errors import StorageError
from nexus_pipeline.products import store
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    store.save({str(tmp_path / "a.bin")!r}, lambda handle: handle.write(b"x" * 1_000_000) and None)
except StorageError as error:
    print(error)
"""
    python = [sys.executable, "-c", script]
    done = subprocess.run(python, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"{tmp_path}/a.bin: could not be written: File too large\n"
    assert list(tmp_path.iterdir()) == []


def test_a_full_object_store_is_said(full_store: str) -> None:
    with pytest.raises(StorageError, match="could not be written: No space left on device") as caught:
        store.save(full_store, lambda handle: handle.write(b"abc") and None)
    assert caught.value.facts["errno"] == errno.ENOSPC


def test_a_folder_that_may_not_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="could not be written"):
        store.save(str(tmp_path / "file" / "a.bin"), lambda handle: handle.write(b"abc") and None)


def test_a_file_that_is_not_there_or_is_a_folder_cannot_be_read(tmp_path: Path) -> None:
    for url in (str(tmp_path / "none"), str(tmp_path), "file:///nowhere/at/all"):
        with pytest.raises(UnreadableProductError, match="no such file"), store.open_for_reading(url):
            pass


def test_an_unknown_scheme_is_said() -> None:
    with pytest.raises(StorageError, match="gopher"):
        store.exists("gopher://host/a")


def test_the_new_file_has_the_rights_the_umask_gives(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    store.save(str(path), lambda handle: handle.write(b"abc") and None)
    reference = tmp_path / "b.bin"
    reference.write_bytes(b"abc")
    assert path.stat().st_mode == reference.stat().st_mode
