"""The quickstart notebook as it lies here; `tests/e2e/test_journey.py` runs it as a person would."""

import re
from pathlib import Path

import nbformat
import pytest
from tests.support.notebooks import SMALL_GB, printed, run
from tests.support.romanisim_ramp import romanisim_ramp

NOTEBOOK = Path(__file__).parents[2] / "notebooks/quickstart/quickstart.ipynb"


def test_the_notebook_is_committed_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, 4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


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
    assert peak_gb <= SMALL_GB
    assert (tmp_path / "quickstart/l1_cat.parquet").exists()
