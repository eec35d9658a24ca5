"""Notebooks run whole, as a person would, and what they printed."""

import re
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

SMALL_GB = 4.0
"""A small server's memory."""
FOLDER = Path(__file__).parents[2] / "notebooks"
ADDRESSES = (
    "NEXUS_STORE_URL", "NEXUS_ACCOUNT_STORE_URL", "NEXUS_REFERENCES_URL", "NEXUS_QUICKSTART_L1",
    "NEXUS_NOTEBOOK_SHORT",
)  # fmt: skip


def notebook(name: str) -> Any:
    return nbformat.read(FOLDER / name / f"{name}.ipynb", 4)


def run(notebook: Any, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> tuple[float, float]:
    """Execute ``notebook`` in place; return seconds and the kernel's peak resident memory in GB."""
    for name in ADDRESSES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    client = NotebookClient(notebook, timeout=840, kernel_name="python3")
    begin = time.perf_counter()
    with client.setup_kernel():
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
        peak_gb = kernels_peak_gb(client.km.provisioner.pid)
    return time.perf_counter() - begin, peak_gb


def kernels_peak_gb(pid: int) -> float:
    """Return the most memory that a kernel has held, in GB."""
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert peak is not None
    return int(peak[1]) * 1024 / 1e9


def printed(notebook: Any) -> str:
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    return "".join(
        output.text for output in outputs if output.output_type == "stream" and output.name == "stdout"
    )


def complaints(notebook: Any) -> str:
    """Return what went to stderr: warnings of any library."""
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    return "".join(
        output.text for output in outputs if output.output_type == "stream" and output.name == "stderr"
    )


def numbers(said: str, pattern: str) -> list[float]:
    """Return the groups of ``pattern`` in what was said, as numbers."""
    found = re.search(pattern, said)
    assert found is not None, f"{pattern!r} was not printed:\n{said}"
    return [float(group) for group in found.groups()]
