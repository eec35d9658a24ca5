"""Btrfs volumes of the tests' own: a loop device over a sparse file, mounted and unmounted by who asks."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

# Small enough to be made in a moment; btrfs wants at least 109 MiB for its own.
SIZE_BYTES = 400 << 20
DEVNULL = subprocess.DEVNULL


def why_no_btrfs() -> str | None:
    """Return why no loopback volume can be had here, None where it can."""
    if os.geteuid() != 0:
        return "only root may mount"
    if "btrfs" not in Path("/proc/filesystems").read_text().split():
        return "this kernel has no btrfs"
    missing = [name for name in ("mkfs.btrfs", "btrfs", "mount") if shutil.which(name) is None]
    return f"not installed: {', '.join(missing)}" if missing else None


@contextmanager
def btrfs_volume(*, size_bytes: int = SIZE_BYTES) -> Iterator[Path]:
    """Mount a new btrfs in a temporary place that every uid can reach; it is gone afterwards.

    Skips with the reason where that can't be: loudly, and as a failure for root under CI=true.
    """
    if reason := why_no_btrfs():
        refuse(reason)
    with reachable_folder() as folder:
        yield from _mounted(folder, size_bytes)


@contextmanager
def reachable_folder() -> Iterator[Path]:
    """A temporary folder that others may pass through, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="nexus-volume-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _mounted(folder: Path, size_bytes: int) -> Iterator[Path]:
    image, mounted = folder / "volume.img", folder / "volume"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(size_bytes)
    subprocess.run(["mkfs.btrfs", "-q", image], check=True, stdout=DEVNULL, stderr=DEVNULL)
    words = ["mount", "-t", "btrfs", "-o", "loop,nosuid,nodev", image, mounted]
    made = subprocess.run(words, check=False, capture_output=True, text=True)
    if made.returncode:
        refuse(f"a loopback volume can't be mounted: {made.stderr.strip()}")
    try:
        yield mounted
    finally:
        subprocess.run(["umount", mounted], check=True)


def refuse(reason: str) -> None:
    """Skip, saying why; where CI runs as root the volume must be there."""
    if os.environ.get("CI") == "true" and os.geteuid() == 0:
        pytest.fail(f"CI runs as root, so the btrfs half must run: {reason}")
    warnings.warn(pytest.PytestWarning(f"SKIPPED: nothing is tested on btrfs: {reason}"), stacklevel=2)
    pytest.skip(f"no btrfs volume: {reason}")


def as_person(uid: int, code: str, *words: object, gids: Sequence[int] = ()) -> dict[str, object]:
    """Run Python ``code`` as another uid (gids: its groups, the first its own) and return what it says.

    The code finds its words in `sys.argv[1:]` and prints one JSON object at its end.
    """
    own, *more = gids or (uid,)
    # The environment's own path may lie where another uid can't go; the interpreter itself does not.
    python = os.path.realpath(sys.executable)
    done = subprocess.run(
        [python, "-I", "-S", "-c", code, *map(str, words)],
        user=uid, group=own, extra_groups=list(more), umask=0o002, cwd="/", env={},
        check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    said: dict[str, object] = json.loads(done.stdout)
    return said


# Writes until refused; says how much went in and which errno ended it.
FILL = """
import errno, json, os, sys
written, path = 0, sys.argv[1]
try:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o664)
    while written < 1 << 30:
        written += os.write(file, os.urandom(1 << 20))
        os.fsync(file)
    refused = None
except OSError as error:
    refused = errno.errorcode[error.errno]
print(json.dumps({"written": written, "errno": refused, "uid": os.getuid()}))
"""

# A subvolume made without any right but that to write in the folder: BTRFS_IOC_SUBVOL_CREATE.
NEST = """
import fcntl, json, os, struct, sys
folder = os.open(sys.argv[1], os.O_RDONLY)
fcntl.ioctl(folder, 0x5000940E, bytearray(struct.pack("q4088s", 0, b"nested")))
print(json.dumps({"uid": os.getuid()}))
"""

# Says why a folder can't be listed.
LIST = """
import errno, json, os, sys
try:
    os.listdir(sys.argv[1])
    refused = None
except OSError as error:
    refused = errno.errorcode[error.errno]
print(json.dumps({"errno": refused}))
"""
