"""Images of single static programs, made without a builder or a registry."""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

READ_AND_RUN = 0o755
# What images call this machine.
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def write_image(archive: Path, reference: str, files: Mapping[str, Path], command: Sequence[str]) -> None:
    """Write an archive as ``docker save`` does: one layer with these files, named by their paths within."""
    layer = layer_of(files)
    configuration = json.dumps(
        {
            "architecture": MACHINES[platform.machine()],
            "os": "linux",
            "config": {"Entrypoint": [*command]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
    ).encode()
    named = f"{hashlib.sha256(configuration).hexdigest()}.json"
    manifest = [{"Config": named, "RepoTags": [reference], "Layers": ["layer.tar"]}]
    with tarfile.open(archive, "w") as whole:
        for name, content in (
            (named, configuration),
            ("layer.tar", layer),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            add(whole, name, content)


def layer_of(files: Mapping[str, Path]) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as layer:
        for name, path in files.items():
            add(layer, name, path.read_bytes())
    return held.getvalue()


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    about = tarfile.TarInfo(name)
    about.size, about.mode = len(content), READ_AND_RUN
    archive.addfile(about, io.BytesIO(content))
