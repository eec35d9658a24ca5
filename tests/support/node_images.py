"""Our images, brought from where they were built onto a real node."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.nexus import ROOT
from tests.support.node import Node

NEEDED = ("allocator", "hub", "proxy", "lab")
# A folder with NAME.tar, as `buildah push … docker-archive:` writes it, and its reference in NAME.ready.
ARCHIVES = "NEXUS_IMAGES"
LACKING = (
    "are built by `make images`, or stand as NAME.tar beside NAME.ready in a folder that NEXUS_IMAGES names"
)
ROOM_BYTES = 15 << 30


def references() -> dict[str, str] | str:
    """Return the reference of each image that is there to be had, or what lacks."""
    if folder := os.environ.get(ARCHIVES):
        kept = {name: Path(folder) / f"{name}.ready" for name in NEEDED}
        missing = [name for name, path in kept.items() if not path.exists()]
        found = {name: path.read_text().strip() for name, path in kept.items() if path.exists()}
    else:
        words = [sys.executable, str(ROOT / "images" / "build.py"), "--tags", *NEEDED]
        told = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout.split()
        found = dict(zip(NEEDED, told, strict=True))
        missing = [name for name, reference in found.items() if not in_buildah(reference)]
    return found if not missing else f"the images {', '.join(missing)} lack: {LACKING}"


def in_buildah(reference: str) -> bool:
    if shutil.which("buildah") is None:
        return False
    words = ["buildah", "inspect", "--type", "image", reference]
    return subprocess.run(words, capture_output=True, check=False, timeout=60).returncode == 0


def bring(node: Node, images: dict[str, str]) -> None:
    """Import every image, one after the other: the largest is on the disk three times meanwhile."""
    for name, reference in images.items():
        assert shutil.disk_usage(node.folder).free > ROOM_BYTES, "less than 15 GiB of disk are free"
        for archive in archived(node, name, reference):
            node.import_image(archive, reference.removeprefix("localhost/"))


def archived(node: Node, name: str, reference: str) -> Iterator[Path]:
    if folder := os.environ.get(ARCHIVES):
        yield Path(folder) / f"{name}.tar"
        return
    archive = node.folder / f"{name}.tar"
    words = ["buildah", "push", "--quiet", reference, f"docker-archive:{archive}:{reference}"]
    subprocess.run(words, check=True, capture_output=True, timeout=900)
    try:
        yield archive
    finally:
        archive.unlink()
