"""What a real node runs beside containerd, built once from Go modules into the cache outside the clone.

``python -m tests.support.node_tools`` builds what lacks and prints what each cost; tests only use it.
"""

import hashlib
import shutil
from pathlib import Path

from tests.support.cluster_tools import KUBERNETES, flags, timed
from tests.support.romanisim_ramp import cache_folder, locked

CLUSTER = Path(__file__).parents[1] / "cluster"
# Each module of ours, and what is built within it.
MODULES = {
    "node-tools": {
        "kubelet": "k8s.io/kubernetes/cmd/kubelet",
        "kube-proxy": "k8s.io/kubernetes/cmd/kube-proxy",
        "kubectl": "k8s.io/kubernetes/cmd/kubectl",
        "pause": "./pause",
        "talk": "./talk",
    },
    "names": {"names": "."},
}
LACKING = "the node's programs are not built: `make cluster-test` does (after `make cluster-tools`, once)"


def folder() -> Path:
    """Return where the programs are or belong: another version is another folder."""
    read = [path for module in MODULES for path in sorted((CLUSTER / module).rglob("*")) if path.is_file()]
    versions = [KUBERNETES, *(path.read_text() for path in read)]
    key = hashlib.sha256("\0".join(versions).encode()).hexdigest()[:12]
    return cache_folder() / f"node-{key}"


def built() -> Path | None:
    """Return the folder with every program, None where any lacks."""
    found = folder()
    return found if (found / "complete").exists() else None


def build() -> Path:
    """Build what lacks, one after the other; a build that was broken off goes on where it was."""
    go = shutil.which("go")
    if go is None:
        raise SystemExit("Go 1.24 or newer is needed to build a node's programs.")
    target = folder()
    target.mkdir(parents=True, exist_ok=True)
    with locked(target.with_suffix(".lock")):
        for module, programs in MODULES.items():
            for name, package in programs.items():
                if not (target / name).exists():
                    words = [go, "build", *flags(), "-o", str(target / name), package]
                    timed(name, words, cwd=CLUSTER / module)
        (target / "complete").touch()
    return target


if __name__ == "__main__":
    print(build())
