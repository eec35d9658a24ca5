"""``wfi survey``: twelve small ramps in three filters to one HATS catalogue, killed half-way and resumed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree
from tests.support import survey as build
from tests.support.pipeline import Told, wfi

from nexus_pipeline.products import asdf_file, hats, l4, parquet_table, selection, tree

PATIENCE_S = 300
ALL = 12 + 12 + 4 + 12
"""Images, mosaics, and a catalogue and three selection functions of each of four skycells."""


def arguments(field: build.Field, out: Path) -> list[str]:
    return [
        "survey", str(field.ramps), "-r", str(field.references), "--skymap", str(field.skymap),
        "-o", str(out), "--name", "deep", "--jobs", "1", "--inject", "1",
    ]  # fmt: skip


def run(field: build.Field, out: Path) -> Told:
    return wfi(*arguments(field, out))


def products(out: Path) -> dict[str, int]:
    """Return what was made so far, with the time of its making."""
    found = [
        *out.glob("images/*_cal.asdf"),
        *out.glob("mosaics/*_coadd.asdf"),
        *out.glob("catalogs/*_cat.parquet"),
        *out.glob("selections/*_selection.asdf"),
    ]
    return {path.name: path.stat().st_mtime_ns for path in found}


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> build.Field:
    return build.written(tmp_path_factory.mktemp("field"), seed=20271122)


@pytest.fixture(scope="module")
def killed(field: build.Field, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """Return a survey that was killed after its third mosaic, and what it had made."""
    out = tmp_path_factory.mktemp("survey")
    command = [sys.executable, "-m", "nexus_pipeline.cli", *arguments(field, out)]
    environment = {**os.environ, "NEXUS_ACCOUNT": "team-7"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        patience = time.monotonic() + PATIENCE_S
        while len(list(out.glob("mosaics/*_coadd.asdf"))) < 3 and process.poll() is None:
            assert time.monotonic() < patience
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stderr is not None
        assert process.returncode == -signal.SIGKILL, process.stderr.read().decode()[-3000:]
    return out, products(out)


@pytest.fixture(scope="module")
def resumed(field: build.Field, killed: tuple[Path, dict[str, int]]) -> Told:
    told = run(field, killed[0])
    assert told.status == 0, told.err
    return told


def test_what_a_killed_survey_had_made_stays_and_only_the_rest_is_made(
    killed: tuple[Path, dict[str, int]], resumed: Told
) -> None:
    out, before = killed
    assert 12 + 3 <= len(before) < ALL
    after = products(out)
    assert {name: after[name] for name in before} == before
    assert len(after) == ALL
    lines = resumed.out.splitlines()
    assert sum("there already" in line for line in lines) == len(before)
    # The rest, the selection function of each filter, and the release.
    assert sum(" s   " in line for line in lines) == len(after) - len(before) + 4


def test_a_survey_that_is_whole_makes_nothing_again(
    field: build.Field, killed: tuple[Path, dict[str, int]], resumed: Told
) -> None:
    before = products(killed[0])
    told = run(field, killed[0])
    assert told.status == 0, told.err
    assert sum("there already" in line for line in told.out.splitlines()) == len(before) + 4
    assert products(killed[0]) == before


def test_the_catalogue_has_each_star_once_with_its_colours(
    field: build.Field, killed: tuple[Path, dict[str, int]], resumed: Told
) -> None:
    rows = parquet_table.columns_of(hats.read_rows(str(killed[0] / "deep")))
    scale = np.cos(np.deg2rad(build.DEC))
    here, there = (
        np.column_stack([(np.asarray(t["ra"]) - build.RA) * scale, np.asarray(t["dec"]) - build.DEC]) * 3600
        for t in (rows, field.truth)
    )
    near = cKDTree(here).query_ball_point(there, 0.15)
    assert [len(each) for each in near] == [1] * build.N_STARS
    found = rows[[each[0] for each in near]]
    assert set(found["skycell"]) == {f"270p66x{x}y{y}" for x in (50, 51) for y in (50, 51)}
    for band in ("f106", "f129"):
        colour = -2.5 * np.log10(found[f"aper02_{band}mf158_flux"] / found["aper02_f158_flux"])
        off = colour - (field.truth[f"mag_{band.upper()}"] - field.truth["mag_F158"])
        print(f"{band} - f158: {np.median(off):+.4f} mag, {np.std(off):.4f}")
        # S/N of 100 and more in twelve seconds' ramps: a standard error of the median below 0.005.
        assert abs(np.median(off)) < 0.02


@pytest.mark.parametrize("band", ["F106", "F129", "F158"])
def test_the_selection_function_of_each_filter_knows_what_was_put_in(
    killed: tuple[Path, dict[str, int]], resumed: Told, band: str
) -> None:
    whole = selection.load(str(killed[0] / f"selection_{band.lower()}.asdf"))
    assert whole.filter_name == band
    # One in each of four small cells; ambiguous ones count neither way.
    assert 2 <= whole.injected.sum() <= 4
    assert whole.found.sum() <= whole.injected.sum()
    assert len(whole.told["parts"]) == 4


def test_every_product_says_how_and_for_whom_it_was_made(
    killed: tuple[Path, dict[str, int]], resumed: Told
) -> None:
    out, _ = killed
    image, mosaic = next(iter(out.glob("images/*_cal.asdf"))), next(iter(out.glob("mosaics/*_coadd.asdf")))
    told = []
    for path, kind in ((image, "WfiImage"), (mosaic, "WfiMosaic")):
        with asdf_file.opened(str(path), expected=kind) as node:
            told.append(tree.plain(node["meta"][tree.OWN_KEY]))
    told.append(l4.read_own(str(next(iter(out.glob("catalogs/*_cat.parquet"))))))
    assert [each["recipe"] for each in told] == ["exposure", "mosaic", "multiband"]
    assert told[0]["account"] == "team-7"
    for each in told:
        assert len(each["fingerprint"]) == 64
        assert all(len(one["sha256"]) == 64 for one in each["inputs"])
        assert "numpy" in each["software"]
    assert {"linearity", "flat", "epsf"} & set(told[0]["references"])


def test_other_ramps_and_other_parameters_are_made_again_and_bad_input_is_refused(
    field: build.Field, killed: tuple[Path, dict[str, int]], resumed: Told, tmp_path: Path
) -> None:
    single = sorted(field.ramps.glob("*f158_uncal.asdf"))[:1]
    command = ["-r", str(field.references), "--skymap", str(field.skymap), "-o", str(tmp_path / "out")]
    assert "two filters" in wfi("survey", *single, *command).err
    assert len(list(tmp_path.glob("out/images/*"))) == 1
    settings = tmp_path / "other.toml"
    settings.write_text("[refpix]\nskip = true\n")
    again = wfi("survey", *single, *command, "--parameters", settings)
    assert sum(" s   " in line for line in again.out.splitlines()) == 1
    broken = tmp_path / single[0].name
    broken.write_bytes(single[0].read_bytes()[:5000])
    told = wfi("survey", broken, *command)
    assert told.status == 2
    assert "what is made stays" in told.err
