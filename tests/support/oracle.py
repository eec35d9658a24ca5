"""The mission's own library as an oracle, in an environment of its own."""

import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tests.support.romanisim_ramp import cache_folder, locked, peer_python

from nexus_pipeline.instrument.ma_table import MATable

SCRIPT = Path(__file__).with_name("oracle_stcal.py")
TIMEOUT_S = 300


def stcal(
    what: str, table: MATable, *, timeout_s: float = TIMEOUT_S, **arrays: NDArray | float
) -> dict[str, np.ndarray]:
    """Return what stcal makes of ``arrays`` and the reads of ``table``: ``likelihood`` or ``saturation``."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / "romanisim-l1.lock"):
        python = peer_python(cache)
    numbers = np.concatenate([np.array(reads) for reads in table.read_pattern])
    times = {
        "read_numbers": numbers,
        "read_times": numbers * table.read_time_s,
        "reads": table.reads_per_resultant,
    }
    with tempfile.TemporaryDirectory(prefix="nexus-stcal-") as folder:
        source, target = Path(folder, "in.npz"), Path(folder, "out.npz")
        np.savez(source, **times, **arrays)
        command = [python, SCRIPT, what, source, target]
        # The peers' environment has packages of its own; ours must not come before them.
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, check=False, env=environment
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return dict(np.load(target))
