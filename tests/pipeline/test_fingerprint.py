"""Hashes of files: kept while a file stays as it is, and taken anew once it does not."""

import hashlib
import os
from pathlib import Path

import pytest

from nexus_pipeline.errors import UnreadableProductError
from nexus_pipeline.products import fingerprint


def test_a_file_that_changed_has_another_hash_though_its_size_and_date_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "image.asdf"
    path.write_bytes(b"first")
    before = path.stat()
    for _ in range(2):
        assert fingerprint.sha256(str(path)) == hashlib.sha256(b"first").hexdigest()
        assert fingerprint.sha256(path.as_uri()) == hashlib.sha256(b"first").hexdigest()
    path.write_bytes(b"other")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert fingerprint.sha256(str(path)) == hashlib.sha256(b"other").hexdigest()


def test_a_file_that_is_gone_has_no_hash(tmp_path: Path) -> None:
    path = tmp_path / "image.asdf"
    path.write_bytes(b"first")
    fingerprint.sha256(str(path))
    path.unlink()
    with pytest.raises(UnreadableProductError, match="image"):
        fingerprint.sha256(str(path))
