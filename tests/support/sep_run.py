"""sep's detection and deblending of an image, in a process and an environment of its own."""

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tests.support.readers import python_with

PACKAGES: Final = ("sep==1.4.1",)
SCRIPT: Final = Path(__file__).with_name("sep_script.py")
TIMEOUT_S: Final = 300


def extracted(
    image: NDArray[np.float32],
    kernel: NDArray[np.float32],
    *,
    threshold: float,
    least_pixels: int = 1,
    repeats: int = 1,
    radii: Sequence[float] = (),
) -> dict[str, NDArray[Any]]:
    """Return sep's sources of ``image`` (noise 1), 32 levels and a contrast of 0.005, and what they cost.

    With ``radii`` (pixels) it takes off the sky and measures circles, ellipses and centroids besides.
    """
    python = python_with("sep-venv", PACKAGES)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with tempfile.TemporaryDirectory(prefix="nexus-sep-") as folder:
        source, target = Path(folder, "in.npz"), Path(folder, "out.npz")
        np.savez(
            source,
            image=image,
            kernel=kernel,
            threshold=threshold,
            least_pixels=least_pixels,
            repeats=repeats,
            radii=np.array(radii, dtype=np.float64),
        )
        done = subprocess.run(
            [python, SCRIPT, source, target],
            capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-4000:]
        return dict(np.load(target))
