"""The mission's own library as an oracle, in an environment of its own."""

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.support.romanisim_ramp import cache_folder, locked, peer_python

from nexus_pipeline.instrument.ma_table import MATable

SCRIPT = Path(__file__).with_name("oracle_stcal.py")
REFPIX_SCRIPT = Path(__file__).with_name("oracle_refpix.py")
TIMEOUT_S = 300


def stcal(what: str, table: MATable, **arrays: NDArray | float) -> dict[str, np.ndarray]:
    """Return what stcal makes of ``arrays`` and the reads of ``table``: ``likelihood`` or ``saturation``."""
    numbers = np.concatenate([np.array(reads) for reads in table.read_pattern])
    times = {
        "read_numbers": numbers,
        "read_times": numbers * table.read_time_s,
        "reads": table.reads_per_resultant,
    }
    return _told([SCRIPT, what], {**times, **arrays})


def romancal_refpix(**arrays: NDArray) -> dict[str, np.ndarray]:
    """Return what romancal's refpix takes out of a frame of ``arrays``; see ``oracle_refpix``."""
    return _told([REFPIX_SCRIPT], arrays)


def _told(script: list[str | Path], arrays: dict[str, Any]) -> dict[str, np.ndarray]:
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / "romanisim-l1.lock"):
        python = peer_python(cache)
    with tempfile.TemporaryDirectory(prefix="nexus-stcal-") as folder:
        source, target = Path(folder, "in.npz"), Path(folder, "out.npz")
        np.savez(source, **arrays)
        # Some modules beside the script are called as the libraries it asks.
        command = [python, "-P", *script, source, target]
        # The peers' environment has packages of its own; ours must not come before them.
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=environment
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return dict(np.load(target))
