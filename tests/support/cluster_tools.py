"""A Kubernetes control plane's programs, built once from Go modules into the cache outside the clone.

``python -m tests.support.cluster_tools`` builds what lacks and prints what each cost; tests only use it.
"""

import hashlib
import json
import os
import resource
import shutil
import subprocess
from pathlib import Path

from tests.support.romanisim_ramp import cache_folder, locked

MODULE = Path(__file__).parents[1] / "cluster" / "tools"
KUBERNETES = "1.34.4"
VERSION_MARK = "k8s.io/component-base/version.git"
# Built within our module, whose go.mod pins Kubernetes' staging modules.
PINNED = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
}
# Built within its own: it does not compile against Kubernetes 1.34's modules.
KWOK = "sigs.k8s.io/kwok/cmd/kwok@v0.7.0"
# Kinds that our chart makes and a bare API server does not know: files of the modules that define them.
DEFINITIONS = {
    "sigs.k8s.io/gateway-api@v1.3.0": ("config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",),
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": (
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    ),
}
BUILD_TIMEOUT_S = 7200
LACKING = "the control plane is not built: `make cluster-tools` does (12 minutes of CPU, once)"


def folder() -> Path:
    """Return where the programs are or belong: another version is another folder."""
    versions = [(MODULE / "go.sum").read_text(), KUBERNETES, KWOK, *DEFINITIONS]
    key = hashlib.sha256("\0".join(versions).encode()).hexdigest()[:12]
    return cache_folder() / f"control-plane-{key}"


def built() -> Path | None:
    """Return the folder with every program and definition, None where any lacks."""
    found = folder()
    return found if (found / "complete").exists() else None


def definitions(tools: Path) -> list[Path]:
    return sorted(tools.glob("*.yaml"))


def build() -> Path:
    """Build what lacks, one after the other; a build that was broken off goes on where it was."""
    go = shutil.which("go")
    if go is None:
        raise SystemExit("Go 1.24 or newer is needed to build the control plane.")
    target = folder()
    target.mkdir(parents=True, exist_ok=True)
    with locked(target.with_suffix(".lock")):
        for name, package in PINNED.items():
            if not (target / name).exists():
                timed(name, [go, "build", *flags(), "-o", str(target / name), package], cwd=MODULE)
        if not (target / "kwok").exists():
            timed("kwok", [go, "install", *flags(), KWOK], cwd=Path("/"), GOBIN=str(target))
        for module, files in DEFINITIONS.items():
            copy_definitions(go, module, files, target)
        (target / "complete").touch()
    return target


def flags() -> list[str]:
    major, minor, _ = KUBERNETES.split(".")
    marks = {"Version": f"v{KUBERNETES}", "Major": major, "Minor": minor}
    return [
        "-trimpath",
        "-ldflags",
        " ".join(["-s", "-w", *(f"-X {VERSION_MARK}{mark}={value}" for mark, value in marks.items())]),
    ]


def timed(name: str, words: list[str], *, cwd: Path, **environment: str) -> None:
    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    before = spent()
    own = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-p=2", "GOMAXPROCS": "2"} | environment
    subprocess.run(["nice", "-n", "19", *words], check=True, cwd=cwd, env=own, timeout=BUILD_TIMEOUT_S)
    print(f"{name}: {spent() - before:.0f} s of CPU", flush=True)


def copy_definitions(go: str, module: str, files: tuple[str, ...], target: Path) -> None:
    words = [go, "mod", "download", "-json", module]
    own = os.environ | {"GOFLAGS": ""}
    told = subprocess.run(words, check=True, cwd="/", env=own, capture_output=True, timeout=BUILD_TIMEOUT_S)
    for file in files:
        shutil.copyfile(Path(json.loads(told.stdout)["Dir"]) / file, target / Path(file).name)


if __name__ == "__main__":
    print(build())
