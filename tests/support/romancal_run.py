"""romancal's way from L1 to L2, run in the peers' environment on our files."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Final

from tests.support.romanisim_ramp import cache_folder, locked, peer_python

SCRIPT: Final = Path(__file__).with_name("romancal_cost.py")
TIMEOUT_S: Final = 1800


def romancal(ramp: Path, references: Path, algorithm: str, folder: Path, *, repeats: int) -> dict[str, Any]:
    """Return what ``romancal_cost`` tells of ``repeats`` warm runs; the last L2 is ``romancal_cal.asdf``."""
    return peer(SCRIPT, references, ramp, folder, algorithm, repeats, crds=folder)


def romancal_catalog(references: Path, image: Path, folder: Path, *, repeats: int) -> dict[str, Any]:
    """Return what ``romancal_catalog`` tells of ``repeats`` warm runs of source_catalog on an L2 or L3."""
    return peer(SCRIPT.with_name("romancal_catalog.py"), references, image, repeats, crds=folder)


def peer(script: Path, *arguments: object, crds: Path) -> dict[str, Any]:
    """Run ``script`` in the peers' environment and return the JSON it prints last."""
    nowhere = {
        "CRDS_PATH": str(crds), "CRDS_SERVER_URL": "https://localhost:1", "CRDS_CONTEXT": "roman_0001.pmap",
        "STPIPE_DISABLE_CRDS_STEPPARS": "true",
    }  # fmt: skip
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / "romanisim-l1.lock"):
        python = peer_python(cache)
    # The peers' environment has packages of its own; ours must not come before them.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | nowhere
    command = [str(python), str(script), *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-4000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told
