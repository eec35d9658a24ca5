"""The real input: an L1 ramp made by the mission's romanisim with our references.

Environment and ramp cost minutes, so they are kept outside the clone, in ``$NEXUS_CACHE`` (by
default ``/var/cache/nexus`` for root and ``~/.cache/nexus`` for others), keyed by what they are made of.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from nexus_pipeline.references.files import write_reference
from nexus_pipeline.simulate.optics import optical_reference

PEERS = ("romancal==1.1.0", "romanisim==0.14.0", "numba", "psutil")
SCRIPT = Path(__file__).with_name("romanisim_l1.py")
DETECTOR, FILTER = "WFI07", "F158"
# What decides the references and the scene: another byte in one of these makes another ramp.
RECIPE = (
    "references/make.py",
    "sky/distortion.py",
    "sky/layout.py",
    "simulate/optics.py",
    "instrument/filters.py",
)
INSTALL_TIMEOUT_S = 600
SIMULATE_TIMEOUT_S = 900


@dataclass(frozen=True)
class RomanisimRamp:
    """An L1 file, the truth it was made of (ECSV) and the reference store it was made with."""

    ramp: Path
    truth: Path
    references: Path


def cache_folder() -> Path:
    if "NEXUS_CACHE" in os.environ:
        return Path(os.environ["NEXUS_CACHE"])
    return Path("/var/cache/nexus") if os.geteuid() == 0 else Path.home() / ".cache" / "nexus"


def romanisim_ramp() -> RomanisimRamp:
    """Return the ramp, made first where the cache does not have it (2.5 minutes; 4 with the environment)."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"romanisim-l1-{key()}"
    with locked(cache / "romanisim-l1.lock"):
        if not folder.exists():
            for outdated in cache.glob("romanisim-l1-*"):
                shutil.rmtree(outdated)
            make(folder, peer_python(cache))
    return RomanisimRamp(folder / "l1_uncal.asdf", folder / "truth.ecsv", folder / "references")


def key() -> str:
    package = resources.files("nexus_pipeline")
    parts = [*PEERS, SCRIPT.read_text(), *(package.joinpath(name).read_text() for name in RECIPE)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def peer_python(cache: Path) -> Path:
    """Return the interpreter of an environment with the mission's packages, made where there is none."""
    environment = cache / "peer-venv-1"
    python = environment / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True, timeout=60)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PEERS]
        try:
            subprocess.run(pip, check=True, timeout=INSTALL_TIMEOUT_S)
        except BaseException:
            shutil.rmtree(environment)
            raise
    return python


def make(folder: Path, python: Path) -> None:
    """Fill ``folder`` by rename of a finished one, so that a run cut short leaves nothing to trip over."""
    work = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    shutil.rmtree(work, ignore_errors=True)
    store, extra = work / "references", work / "extra"
    extra.mkdir(parents=True)
    wfi = Path(sys.executable).with_name("wfi")
    subprocess.run(
        [wfi, "references", "make", store, "--detector", DETECTOR, "--filter", FILTER],
        check=True,
        timeout=300,
    )
    # romanisim 0.14 convolves with the pixel itself: it wants the optics alone, of unit sum.
    write_reference(optical_reference(DETECTOR, FILTER), str(extra / "epsf.asdf"))
    log = work / "romanisim.log"
    # CRDS wants these set before it is imported; every look-up of a file is then answered by the script.
    nowhere = {
        "CRDS_PATH": str(extra),
        "CRDS_SERVER_URL": "https://localhost:1",
        "CRDS_CONTEXT": "roman_0001.pmap",
    }
    with log.open("wb") as handle:
        done = subprocess.run(
            [python, SCRIPT, store, extra, work],
            stdout=handle,
            stderr=handle,
            timeout=SIMULATE_TIMEOUT_S,
            check=False,
            env=os.environ | nowhere,
        )
    assert done.returncode == 0, log.read_text()[-4000:]
    shutil.rmtree(extra)
    work.rename(folder)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one test session at a time fill the cache."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
