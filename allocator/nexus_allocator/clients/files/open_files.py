"""Which files this machine's processes hold open, as far as /proc lets us see."""

import os
from pathlib import Path

PROC = Path("/proc")


def open_inodes(device: int) -> frozenset[int]:
    """Return the inodes on ``device`` that some process here has a descriptor of.

    Not seen: files open on another machine of a shared volume, files only mapped into memory, and, unless we
    are root, what others' processes hold. So it is one guard of several, never the only one.
    """
    found = set()
    for process in PROC.iterdir():
        if not process.name.isdigit():
            continue
        try:
            descriptors = list(os.scandir(process / "fd"))
        except OSError:
            continue
        for descriptor in descriptors:
            try:
                status = os.stat(descriptor.path)
            except OSError:
                continue
            if status.st_dev == device:
                found.add(status.st_ino)
    return frozenset(found)
