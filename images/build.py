"""Builds the images with buildah, podman or docker, runs `verify` inside each, and prints their sizes.

Usage: python3 images/build.py [NAME ...]; without names all but `lab-gpu`. README.md says more.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from engines import MOUNTED, Engine, EngineFailed, chosen
from surroundings import Surroundings, of_this_machine

ROOT = Path(__file__).resolve().parents[1]
VERSION = "0.1.0"
# What every build reads beside its own folder: how things are installed, and what builds our packages.
SHARED = ("images/base", "requirements.lock")
LAB = ("allocator", "notebooks")
IMPORTS = ("images/lab/imports.txt",)
# They say what an image is, and make it no other.
NO_INPUT = ("README.md", "verify")
MIB = 1 << 20


@dataclass(frozen=True)
class Image:
    """``inputs`` are the files and folders of this project that its build reads, beside its own folder."""

    name: str
    inputs: tuple[str, ...] = ()
    base: str = "base"
    """The image it stands on; `base` itself stands on BASE."""
    shown: tuple[str, ...] = ()
    """Files that its `verify` reads."""
    keeps_home: bool = False
    """Whether `verify` runs twice, in two containers with one home."""

    @property
    def folder(self) -> Path:
        return ROOT / "images" / self.name


IMAGES = {
    image.name: image
    for image in (
        Image("base", base=""),
        Image("allocator", ("allocator",)),
        Image("hub", ("allocator",), shown=("helm/jupyterhub/values.yaml",)),
        Image("dask", ("pipeline", "images/lab/data.md")),
        Image("lab", LAB, base="dask", shown=IMPORTS, keeps_home=True),
        Image("lab-gpu", ("images/lab", *LAB), base="dask", shown=IMPORTS, keeps_home=True),
        Image("dask-gateway", ("allocator",), shown=("helm/dask-gateway/values.yaml",)),
        Image("proxy", ("requirements-node.lock",)),
    )
}


def inputs_of(image: Image, root: Path = ROOT) -> list[Path]:
    """Return the files that the build reads, in the project's order; what git ignores is no input."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", f"images/{image.name}", *SHARED, *image.inputs],
        cwd=root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = {Path(line) for line in listed.stdout.splitlines()}
    return sorted(path for path in found if path.name not in NO_INPUT and (root / path).is_file())


def tag_of(image: Image, base: str, root: Path = ROOT) -> str:
    """Return the tag that the same files on the same base always have."""
    seen = hashlib.sha256(base.encode())
    for path in inputs_of(image, root):
        content = (root / path).read_bytes()
        seen.update(f"\0{path}\0{os.access(root / path, os.X_OK)}\0{len(content)}\0".encode())
        seen.update(content)
    return f"{VERSION}-{seen.hexdigest()[:12]}"


def reference_of(image: Image, base: str) -> str:
    """Return the image's reference when everything below it stands on ``base``."""
    below = reference_of(IMAGES[image.base], base) if image.base else base
    return f"nexus-{image.name}:{tag_of(image, below)}"


@contextmanager
def context_of(image: Image) -> Iterator[Path]:
    """Yield a folder with the inputs and nothing else: a build cannot read what its tag does not know."""
    with tempfile.TemporaryDirectory(prefix="nexus-image-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for path in inputs_of(image):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, folder / path)
        yield folder


def make(engine: Engine, image: Image, *, base: str, surroundings: Surroundings) -> str:
    """Build and verify ``image`` unless its tag is there already; return its reference."""
    reference = reference_of(image, base)
    if engine.has(reference):
        print(f"{reference} is there already", flush=True)
    else:
        below = make(engine, IMAGES[image.base], base=base, surroundings=surroundings) if image.base else base
        print(f"{reference}: building", flush=True)
        with context_of(image) as context:
            dockerfile = f"images/{image.name}/Dockerfile"
            engine.build(context, dockerfile, reference, base=below, secrets=surroundings.secrets)
    verify(engine, image, reference, surroundings)
    engine.tag(reference, f"nexus-{image.name}:{VERSION}")
    print_size(engine, reference)
    return reference


def verify(engine: Engine, image: Image, reference: str, surroundings: Surroundings) -> None:
    """Run `verify` inside the image, as somebody whom the image does not know; raises EngineFailed."""
    told = engine.configuration(reference)
    if leaked := [name for name in surroundings.names if name in told]:
        raise EngineFailed(f"{reference}: its configuration names {', '.join(leaked)}")
    if not (image.folder / "verify").exists():
        return
    with tempfile.TemporaryDirectory(prefix="nexus-verify-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for path in (
            image.folder / "verify",
            ROOT / "images" / "inside.py",
            *(ROOT / each for each in image.shown),
        ):
            shutil.copy2(path, folder)
        (folder / "of-this-machine.json").write_text(json.dumps(surroundings.names))
        home = folder / "home"
        home.mkdir()
        home.chmod(0o777)
        for time in ("first", "again") if image.keeps_home else ("first",):
            engine.run(reference, ["python3", f"{MOUNTED}/verify", time], folder=folder, home=home)


def print_size(engine: Engine, reference: str) -> None:
    layers = sorted(engine.layers(reference), reverse=True)
    shown = ", ".join(f"{size / MIB:.0f}" for size in layers[:3])
    print(f"{reference}: verified; {sum(layers) / MIB:.0f} MiB, largest layers {shown} MiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", choices=[*IMAGES, []], help="which images")
    parser.add_argument(
        "--base", default=os.environ.get("BASE", "debian:trixie-slim"), help="a Debian or Python image"
    )
    parser.add_argument("--tags", action="store_true", help="print the references and build nothing")
    asked = parser.parse_args()
    names = asked.names or [name for name in IMAGES if name not in ("base", "lab-gpu")]
    try:
        if asked.tags:
            print("\n".join(reference_of(IMAGES[name], asked.base) for name in names))
            return
        engine = chosen(os.environ.get("ENGINE"))
        with of_this_machine() as surroundings:
            for name in names:
                make(engine, IMAGES[name], base=asked.base, surroundings=surroundings)
    except EngineFailed as failure:
        sys.exit(f"images: {failure}")


if __name__ == "__main__":
    main()
