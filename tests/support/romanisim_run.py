"""romanisim's way from a catalogue to L1, run in the peers' environment with our references."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Final

from tests.support.romanisim_ramp import DETECTOR, FILTER, cache_folder, locked, peer_python

from nexus_pipeline.references.files import write_reference
from nexus_pipeline.simulate.optics import optical_reference

SCRIPT: Final = Path(__file__).with_name("romanisim_cost.py")
TIMEOUT_S: Final = 1800


def write_sources(references: Path, folder: Path) -> Path:
    """Return a catalogue (ECSV) of 9,379 points and 995 galaxies that fill one detector."""
    sources = folder / "sources.ecsv"
    run(["catalogue", references, extras(folder), sources])
    return sources


def romanisim(references: Path, sources: Path, folder: Path) -> dict[str, Any]:
    """Return what ``romanisim_cost`` tells of one warm run."""
    out = run(["simulate", references, extras(folder), sources, folder / "romanisim_uncal.asdf"])
    told: dict[str, Any] = json.loads(out.splitlines()[-1])
    return told


def extras(folder: Path) -> Path:
    """Return the folder of what only romanisim asks for: the optics alone, of unit sum."""
    extra = folder / "extra"
    extra.mkdir(exist_ok=True)
    epsf = extra / "epsf.asdf"
    if not epsf.exists():
        write_reference(optical_reference(DETECTOR, FILTER), str(epsf))
    return extra


def run(arguments: list[object]) -> str:
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / "romanisim-l1.lock"):
        python = peer_python(cache)
    nowhere = {"CRDS_PATH": "/nonexistent", "CRDS_SERVER_URL": "https://localhost:1"}
    # The peers' environment has packages of its own; ours must not come before them.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [str(part) for part in (python, SCRIPT, *arguments)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        env=environment | nowhere | {"CRDS_CONTEXT": "roman_0001.pmap"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout
