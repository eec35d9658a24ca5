"""The layers of design are held by import-linter; a planted import shows that the contracts bite."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PLANTED = [
    ("nexus_allocator/domain/planted.py", "import nexus_allocator.services", "The allocator's layers"),
    ("nexus_allocator/services/planted.py", "import nexus_allocator.api", "The allocator's layers"),
    ("nexus_allocator/hub/planted.py", "import nexus_allocator.store", "What JupyterHub loads knows"),
    (
        "nexus_allocator/services/planted.py",
        "import nexus_allocator.config",
        "Settings are read by main and cli",
    ),
    ("nexus_allocator/services/planted.py", "import nexus_pipeline", "Allocator and pipeline are strangers"),
    ("nexus_pipeline/steps/planted.py", "import galsim", "Only the simulator imports GalSim"),
    ("nexus_pipeline/simulate/planted.py", "import nexus_pipeline.steps", "Simulator and steps never"),
    ("nexus_pipeline/instrument/planted.py", "import nexus_pipeline.products", "The pipeline's layers"),
]


def copy_of_the_packages(folder: Path) -> Path:
    for package in ("allocator/nexus_allocator", "pipeline/nexus_pipeline"):
        shutil.copytree(
            ROOT / package,
            folder / Path(package).name,
            ignore=shutil.ignore_patterns("node_modules", "__pycache__"),
        )
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    # The folder comes first on the path, so that the copy and not the installed package is read.
    code = f"""
import sys
sys.path.insert(0, {str(folder)!r})
from importlinter.cli import lint_imports_command
lint_imports_command()
"""
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False
    )


def test_the_packages_keep_their_layers(tmp_path: Path) -> None:
    result = lint_imports(copy_of_the_packages(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(("path", "line", "contract"), PLANTED)
def test_a_planted_import_is_caught(tmp_path: Path, path: str, line: str, contract: str) -> None:
    copy_of_the_packages(tmp_path)
    planted = tmp_path / path
    assert planted.parent.is_dir()
    planted.write_text(f"{line}\n")
    result = lint_imports(tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert any(contract in row and "BROKEN" in row for row in result.stdout.splitlines()), result.stdout
