"""The programs that build images: buildah, podman and docker, told alike."""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# Where a folder of this machine is seen inside.
MOUNTED = "/verify"
HOME = "/home/person"
# Neither root nor the image's own user: a person, or whatever a cluster runs it as.
STRANGER = "20123:20123"


class EngineFailed(RuntimeError):  # noqa: N818 - says what it is
    """No engine is there, or it could not do what it was asked."""


@dataclass(frozen=True)
class Engine:
    program: str

    def has(self, reference: str) -> bool:
        return self._call("inspect", *self._kind, reference, fails=True) is not None

    def build(
        self, context: Path, dockerfile: str, reference: str, *, base: str, secrets: Mapping[str, Path]
    ) -> None:
        """Build ``reference`` on ``base``; secrets are mounted while single commands run, and in no layer."""
        given = [f"--secret=id={name},src={path}" for name, path in secrets.items()]
        self._call(
            "build", "--network", "host", *self._isolation, "--build-arg", f"BASE={base}", *given,
            "-f", str(context / dockerfile), "-t", reference, str(context), shown=True,
        )  # fmt: skip

    def run(self, reference: str, command: Sequence[str], *, folder: Path, home: Path) -> None:
        """Run ``command`` in a container that goes, with ``folder`` to be read and ``home`` to stay."""
        self._call("run", "--rm", *surrounded_by(folder, home), reference, *command, shown=True)

    def configuration(self, reference: str) -> str:
        """Return all that the image says of itself: variables, commands, history."""
        return self._call("inspect", *self._kind, reference) or ""

    def layers(self, reference: str) -> list[int]:
        """Return the layers' sizes in bytes."""
        told = self._call("history", "--no-trunc", "--human=false", "--format", "{{.Size}}", reference) or ""
        return [int(size) for size in told.split() if size != "0"]

    def tag(self, reference: str, other: str) -> None:
        self._call("tag", reference, other)

    @property
    def _kind(self) -> list[str]:
        return ["--type", "image"]

    @property
    def _isolation(self) -> list[str]:
        return []

    def _call(self, *arguments: str, shown: bool = False, fails: bool = False) -> str | None:
        """Return what the program printed; None when it may fail and does. Raises EngineFailed."""
        kept = None if shown else subprocess.PIPE
        done = subprocess.run(
            [self.program, *arguments],
            stdout=kept,
            stderr=subprocess.PIPE if fails else None,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return done.stdout or ""
        if fails:
            return None
        raise EngineFailed(f"{self.program} {arguments[0]} ended with {done.returncode}")


@dataclass(frozen=True)
class Podman(Engine):
    def layers(self, reference: str) -> list[int]:
        told = json.loads(self._call("history", "--format", "json", reference) or "[]")
        return [each["size"] for each in told if each["size"]]


@dataclass(frozen=True)
class Buildah(Engine):
    """Needs no service and, with chroot for a wall, few rights: builds inside containers, too."""

    @property
    def _isolation(self) -> list[str]:
        return ["--isolation", "chroot"]

    def run(self, reference: str, command: Sequence[str], *, folder: Path, home: Path) -> None:
        container = (self._call("from", reference) or "").strip()
        try:
            given = [*self._isolation, *surrounded_by(folder, home)]
            self._call("run", *given, container, "--", *command, shown=True)
        finally:
            self._call("rm", container)

    def layers(self, reference: str) -> list[int]:
        """As containers' storage has them; buildah itself tells no layer's size."""
        store = Path(json.loads(self._call("info") or "{}")["store"]["GraphRoot"])
        sizes = {
            each["diff-digest"]: int(each["diff-size"])
            for folder in store.glob("*-layers")
            for each in json.loads((folder / "layers.json").read_text())
            if "diff-digest" in each
        }
        told = json.loads(self.configuration(reference))
        return [sizes[digest] for digest in told["OCIv1"]["rootfs"]["diff_ids"]]


def surrounded_by(folder: Path, home: Path) -> list[str]:
    """Return the options for a container of a stranger, with a folder to read and a home to write."""
    return [
        "--network", "host", "--user", STRANGER, "-v", f"{folder}:{MOUNTED}:ro", "-v", f"{home}:{HOME}:rw",
        "--env", f"HOME={HOME}",
    ]  # fmt: skip


def chosen(name: str | None) -> Engine:
    """Return the engine called ``name``, else the first that is there and answers; raises EngineFailed."""
    for program in (name,) if name else ("buildah", "podman", "docker"):
        if shutil.which(program) is None:
            continue
        # Docker's client is often there without a service to talk to.
        if subprocess.run([program, "info"], capture_output=True, check=False).returncode == 0:
            return {"buildah": Buildah, "podman": Podman}.get(program, Engine)(program)
    raise EngineFailed("neither buildah nor podman nor docker is here and answers; Debian has buildah")
