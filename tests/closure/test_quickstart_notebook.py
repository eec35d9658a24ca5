"""The quickstart notebook, run whole as a person would."""

import re
from pathlib import Path

import nbformat
import pytest
from tests.support.notebooks import printed, run
from tests.support.romanisim_ramp import romanisim_ramp

NOTEBOOK = Path(__file__).parents[2] / "notebooks/quickstart/quickstart.ipynb"
MEMORY_LIMIT_GB = 4.0


def test_the_notebook_is_committed_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, 4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


@pytest.mark.slow
def test_the_notebook_runs_whole_in_a_small_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = nbformat.read(NOTEBOOK, 4)
    seconds, peak_gb = run(notebook, {"NEXUS_STORE_URL": tmp_path.as_uri()}, monkeypatch)
    print(f"\nquickstart: {seconds:.0f} s, kernel's peak {peak_gb:.2f} GB (limit {MEMORY_LIMIT_GB} GB)")
    said = printed(notebook)
    figures = re.search(r"flux:\s+median bias ([+-][\d.]+)% ± ([\d.]+)%", said)
    assert figures is not None
    print(figures[0])
    assert abs(float(figures[1])) <= 1.0
    pull = re.search(r"width of the pulls ([\d.]+) ± ([\d.]+)", said)
    assert pull is not None
    # Some 500 stars only: three standard errors about the limits the closure test holds.
    assert 0.9 - 3 * float(pull[2]) <= float(pull[1]) <= 1.15 + 3 * float(pull[2])
    assert peak_gb <= MEMORY_LIMIT_GB
    for name in ("uncal.asdf", "cal.asdf", "cat.parquet", "truth.ecsv"):
        assert list(tmp_path.glob(f"quickstart/*_{name}"))


@pytest.mark.slow
@pytest.mark.timeout(1800)  # as in test_romanisim: a cold start installs romanisim and simulates
def test_the_notebook_runs_as_it_is_on_a_ramp_of_the_mission_s_simulator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = romanisim_ramp()
    environment = {
        "NEXUS_STORE_URL": tmp_path.as_uri(),
        "NEXUS_REFERENCES_URL": made.references.as_uri(),
        "NEXUS_QUICKSTART_L1": made.ramp.as_uri(),
    }
    notebook = nbformat.read(NOTEBOOK, 4)
    seconds, peak_gb = run(notebook, environment, monkeypatch)
    said = printed(notebook)
    print(f"\nquickstart on romanisim's ramp: {seconds:.0f} s, kernel's peak {peak_gb:.2f} GB")
    assert "nothing to simulate" in said
    assert "nothing to compare with" in said
    found = re.search(r"(\d+) sources, \d+ of them extended", said)
    assert found is not None
    # 1521 stars were put in, all above 20 σ.
    assert int(found[1]) >= 1500
    assert peak_gb <= MEMORY_LIMIT_GB
    assert (tmp_path / "quickstart/l1_cat.parquet").exists()
