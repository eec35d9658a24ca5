"""Compiles the walker, or another small C program, as the package's installation does."""

import shutil
import subprocess
from pathlib import Path

FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror", "-pthread")


def compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc")


def compiled(source: Path, folder: Path) -> Path:
    """Compile ``source`` into ``folder`` and return the program."""
    program = folder / source.stem
    subprocess.run([compiler() or "cc", *FLAGS, "-o", program, source], check=True)
    return program
