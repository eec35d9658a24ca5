"""photutils' catalogues and PSF fits, in a process and an environment of its own."""

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tests.support.romanisim_ramp import cache_folder, locked, peer_python

SCRIPT: Final = Path(__file__).with_name("photutils_script.py")
TIMEOUT_S: Final = 3600


def photutils(what: str, **arrays: NDArray[Any] | float) -> dict[str, NDArray[Any]]:
    """Return what photutils makes of ``arrays`` and its CPU ``seconds``: ``catalog`` or ``fits``."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / "romanisim-l1.lock"):
        python = peer_python(cache)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with tempfile.TemporaryDirectory(prefix="nexus-photutils-") as folder:
        source, target = Path(folder, "in.npz"), Path(folder, "out.npz")
        np.savez(source, **arrays)
        done = subprocess.run(
            [python, SCRIPT, what, source, target],
            capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-4000:]
        return dict(np.load(target))
