"""The notebooks on simulator, exposure pipeline, mosaics and injection, run small."""

from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from tests.support import notebooks
from tests.support.notebooks import numbers
from tests.support.romanisim_ramp import romanisim_ramp

NAMES = ("exposure_pipeline", "mosaic_and_catalog", "simulator", "source_injection")
MEMORY_LIMIT_GB = 4.0


def run(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the notebook in a small server's memory without a complaint; return what it printed."""
    book = notebooks.notebook(name)
    environment = {
        "NEXUS_STORE_URL": folder.as_uri(),
        "NEXUS_REFERENCES_URL": romanisim_ramp().references.as_uri(),
        "NEXUS_NOTEBOOK_SHORT": "1",
    }
    seconds, peak_gb = notebooks.run(book, environment, monkeypatch)
    print(f"\n{name}: {seconds:.0f} s, kernel's peak {peak_gb:.2f} GB (limit {MEMORY_LIMIT_GB} GB)")
    assert peak_gb <= MEMORY_LIMIT_GB
    assert notebooks.complaints(book) == ""
    assert all(figures(cell) for cell in book.cells if "plt.show()" in cell.source)
    return notebooks.printed(book)


def figures(cell: Any) -> int:
    return sum("image/png" in output.get("data", {}) for output in cell.outputs)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_committed_without_outputs(name: str) -> None:
    book = notebooks.notebook(name)
    nbformat.validate(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert code
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # a cold start makes the references with romanisim's ramp
def test_each_correction_takes_out_what_it_is_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = run("exposure_pipeline", tmp_path, monkeypatch)
    assert numbers(said, r"saturation: (\d+) pixels")[0] > 10
    before, after = numbers(said, r"refpix: row medians scatter by ([\d.]+) DN before, ([\d.]+)")
    # 120 pixels of 5 DN, two resultants, the later one of one read: 0.6 DN of white noise are left.
    assert after < 0.7 * before
    before, after = numbers(said, r"dark_decay: .* by ([\d.]+) DN before, ([\d.]+)")
    assert after < 0.3 * before
    before, after = numbers(said, r"linearity: .* are ([+-][\d.]+) % off before, ([+-][\d.]+)")
    assert before < -2
    assert abs(after) < 0.5 * abs(before)
    shares = numbers(said, r"jumps: ([\d.]+)% of the pixels at 3 σ, ([\d.]+)% at the default, ([\d.]+)%")
    assert shares[0] > shares[1] > shares[2] == 0
    before, after, sky = numbers(said, r"hot pixels at ([\d.]+) DN/s before, ([\d.-]+) .* sky is ([\d.]+)")
    assert abs(after - sky) < 0.1 < before
    assert numbers(said, r"by hand and by the recipe: ([\d.]+)%")[0] > 99.99
    assert numbers(said, r"half of them by more than (\d+) σ")[0] > 10
    bias, error = numbers(said, r"flux: median bias ([+-][\d.]+) % ± ([\d.]+) %")
    assert abs(bias) < 3 * error
    assert error < 1
    assert len(list(tmp_path.glob("exposure_pipeline/*_cal.asdf"))) == 1


@pytest.mark.slow
@pytest.mark.timeout(1800)  # as above
def test_what_the_catalogue_says_is_in_the_simulated_products(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = run("simulator", tmp_path, monkeypatch)
    red, blue = numbers(said, r"3200 K ([+-][\d.]+) mag, 10000 K ([+-][\d.]+) mag")
    assert red < 0 < blue
    flare, way = numbers(said, r"flare: ([+-][\d.]+) mag; asteroid: ([\d.]+) arcsec")
    # The light curve falls by 2 mag in 0.1217 days, 0.0217 of which are over; 3 and 4 arcsec an hour.
    assert flare == pytest.approx(-2 * 0.0217 / 0.1217, abs=0.01)
    assert way == pytest.approx(5.0, abs=0.02)
    assert 0.02 < numbers(said, r"cosmic rays: ([\d.]+)%")[0] < 2
    ipc, electronics = numbers(said, r"ipc: up to (\d+) DN .* electronics: ([\d.]+) DN")
    assert ipc > 20
    assert 0.5 < electronics < 10
    bias, error, width, width_error = numbers(
        said, r"off by ([+-][\d.]+) % ± ([\d.]+) %; width of the pulls ([\d.]+) ± ([\d.]+)"
    )
    assert abs(bias) < 3 * error
    assert error < 0.5
    assert abs(width - 1) < 3 * width_error
    for name in ("ideal_1_cal.asdf", "ideal_2_truth.ecsv", "sources.parquet"):
        assert (tmp_path / "simulator" / name).exists()


@pytest.mark.slow
@pytest.mark.timeout(1800)  # as above
def test_counts_over_their_completeness_are_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = run("source_injection", tmp_path, monkeypatch)
    seen, there = numbers(said, r"catalogue: (\d+) sources seen of (\d+) in a mosaic")
    assert 0.5 < seen / there < 1
    put, found, again, rows = numbers(
        said, r"trial: (\d+) put in, (\d+) found, .* (\d+) of (\d+) rows measured"
    )
    assert 0 < found < put
    assert again < 0.3 * rows
    star, galaxy = numbers(said, r"25.5 mag is seen with ([\d.]+), a galaxy of 0.4 arcsec with ([\d.]+)")
    assert galaxy < star
    raw, corrected, error, true = numbers(
        said, r"counts, .*: (\d+) seen, (\d+) ± (\d+) corrected, (\d+) true"
    )
    # 192 injections know the completeness to some 10 %.
    assert abs(corrected - true) < 3 * np.hypot(error, 0.1 * true)
    assert raw < true - 2 * raw**0.5
    bias, bias_error = numbers(said, r"mag: ([+-][\d.]+) % ± ([\d.]+) %")
    assert abs(bias) < 3 * bias_error + 0.3
    assert (tmp_path / "source_injection" / "selection.asdf").exists()


@pytest.mark.slow
@pytest.mark.timeout(1800)  # as above
def test_what_vanishes_in_the_blue_is_found_by_its_colour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = run("mosaic_and_catalog", tmp_path, monkeypatch)
    off, error, plain = numbers(
        said, r"off by ([+-][\d.]+) mag ± ([\d.]+); without matching the PSF ([+-][\d.]+) mag"
    )
    assert abs(off) < 0.01 + 3 * error
    assert plain < -0.04
    _, complete, seen, wrong = numbers(said, r"picked (\d+): (\d+) % of the (\d+) dropouts .* and (\d+) that")
    assert seen >= 8
    assert complete >= 80
    assert wrong <= 4
    released = numbers(said, r"(\d+) sources released")[0]
    assert 80 < released < 160
    assert "PSF-matched flux within circular aperture" in said
    assert list(tmp_path.glob("mosaic_and_catalog/release/*/dataset/Norder=*/Dir=*/Npix=*.parquet"))
