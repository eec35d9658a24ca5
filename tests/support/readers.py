"""Opens files with roman_datamodels as a stranger would: in a process, and a version, of its own."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from tests.support.romanisim_ramp import INSTALL_TIMEOUT_S, cache_folder, locked

NEXT: Final = ("roman_datamodels==1.2.0", "rad==1.2.1", "asdf==6.0.0", "stdatamodels==6.0.0")
"""The versions after those that our lock pins the writer to, and a reader of ASDF in FITS."""
HATS: Final = ("hats==0.11.1", "lsdb==0.11.1")
"""The readers of HATS, which bring Dask and pandas with them."""
SCRIPT: Final = Path(__file__).with_name("reader_opens.py")
TIMEOUT_S: Final = 300


def next_python() -> Path:
    """Return the interpreter of an environment with ``NEXT``, made where the cache has none (1 minute)."""
    return python_with("reader-venv", NEXT)


def python_with(name: str, packages: tuple[str, ...]) -> Path:
    """Return the interpreter of an environment ``name`` with ``packages``, made where the cache has none."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    key = hashlib.sha256("\0".join((*packages, sys.version)).encode()).hexdigest()[:12]
    environment = cache / f"{name}-{key}"
    with locked(cache / f"{name}.lock"):
        if not (environment / "complete").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True, timeout=60)
            pip = [environment / "bin" / "python", "-m", "pip", "install", "--quiet"]
            try:
                subprocess.run(
                    [*pip, "--disable-pip-version-check", *packages], check=True, timeout=INSTALL_TIMEOUT_S
                )
            except BaseException:
                shutil.rmtree(environment)
                raise
            (environment / "complete").touch()
    return environment / "bin" / "python"


def opened(python: Path, files: Iterable[Path]) -> dict[str, str]:
    """Return what ``python`` finds in each of ``files``: its model's class, or what was wrong.

    "version" is that of its roman_datamodels. Any warning is something wrong.
    """
    found: dict[str, str] = _told(python, SCRIPT, files)
    return found


def trees_in_fits(files: Iterable[Path]) -> dict[str, Any]:
    """Return what ``stdatamodels`` finds in the tree within each of the FITS ``files``."""
    found: dict[str, Any] = _told(next_python(), SCRIPT.with_name("fits_tree.py"), files)
    return found


def hats_collections(asked: dict[str, list[list[float]]]) -> dict[str, Any]:
    """Return what hats and LSDB find in collections, each with the cones (RA, Dec, arcsec) asked of it."""
    found: dict[str, Any] = told(python_with("hats-venv", HATS), SCRIPT.with_name("hats_opens.py"), asked)
    return found


def _told(python: Path, script: Path, files: Iterable[Path]) -> Any:
    return told(python, script, [str(path) for path in files])


def told(python: Path, script: Path, asked: Any) -> Any:
    """Return what ``script`` answers, as JSON in its last line, to ``asked`` on its stdin."""
    # What PYTHONPATH names is ours, and must not come before the packages of the environment.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [python, script], input=json.dumps(asked), env=environment,
        capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])
