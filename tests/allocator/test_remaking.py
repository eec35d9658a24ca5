"""What can be made again: read from real products of the pipeline, reckoned, preferred, and made again."""

import os
import shlex
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.support import pipeline as build

from nexus_allocator.clients.files import origins
from nexus_allocator.domain.purges import Identity, under_pressure
from nexus_allocator.domain.remaking import Origin, keep_micro_a_year, recipe, remake_micro
from nexus_allocator.policy import load_policy
from nexus_pipeline.products import l1, l2

POLICY = load_policy()
NOW = datetime(2027, 3, 1, tzinfo=UTC)
HEAD = b"#ASDF 1.0.0\ncalibration_software_name: nexus_pipeline\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small L1 ramp, its references, and the L2 image made of it with a step left out."""
    folder = tmp_path_factory.mktemp("made")
    store = build.small_store(str(folder / "references"))
    ramp, _ = build.small_ramp(store, seed=3)
    name = "r0000101001001001001_0001_wfi07_uncal.asdf"
    (folder / "l1").mkdir()
    l1.write_ramp(ramp, str(folder / "l1" / name))
    parameters = folder / "parameters.toml"
    parameters.write_text("[saturation]\ngrow_pixels = 2\n")
    done = build.wfi(
        "calibrate", folder / "l1" / name, "--references", store.url, "--output", folder / "out",
        "--parameters", parameters, "--skip", "dark_decay",
    )  # fmt: skip
    assert done.status == 0, done.err
    return folder


def product(made: Path) -> Path:
    (found,) = (made / "out").glob("*_cal.asdf")
    return found


def origin(made: Path) -> Origin:
    found = origins.read(product(made).read_bytes()[: origins.HEAD_BYTES])
    assert found is not None
    return found


def test_a_product_tells_what_it_was_made_of_how_and_how_long_it_took(made: Path) -> None:
    told = origin(made)
    assert told.source == "r0000101001001001001_0001_wfi07_uncal.asdf"
    assert told.parameters["saturation"] == {"grow_pixels": 2}
    assert told.left_out == ("dark_decay",)
    assert told.seconds > 0


def test_the_recipe_makes_the_same_pixels_again(made: Path, tmp_path: Path) -> None:
    script = recipe([((b"again", b"x_cal.asdf"), origin(made))], place="scratch/astronomer")
    shell = tmp_path / "recipe.sh"
    shell.write_text(script)
    # A `wfi` that runs in this process is what the shell is left to call: it prints its words.
    caller = tmp_path / "wfi"
    caller.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    caller.chmod(0o755)
    surroundings = {
        "L1": str(made / "l1"),
        "REFERENCES": str(made / "references"),
        "PATH": f"{tmp_path}:/bin:/usr/bin",
    }
    done = subprocess.run(
        ["sh", shell], cwd=tmp_path, env=surroundings, check=True, capture_output=True, text=True
    )
    words = done.stdout.splitlines()
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        again = build.wfi(*words)
    finally:
        os.chdir(before)
    assert again.status == 0, again.err
    (remade,) = (tmp_path / "again").glob("*_cal.asdf")
    old, new = l2.read_rate_image(str(product(made))), l2.read_rate_image(str(remade))
    np.testing.assert_array_equal(old.rate, new.rate)
    np.testing.assert_array_equal(old.dq, new.dq)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"#ASDF 1.0.0\n",
        b"not ASDF, calibration_software_name: nexus_pipeline",
        HEAD + b"  filename: a_cal.asdf\n    nexus:\n      steps: [1]\n",
        HEAD + b"  filename: a_cal.asdf\n    nexus:\n      {{{\n",
        HEAD + b" filename: ../../a_cal.asdf\n  nexus:\n   steps: []\n",
        HEAD + b"  filename: a_cal.asdf\n    nexus:\n"
        b"      steps:\n      - {name: x, seconds: .nan, parameters: {}}\n",
    ],
)
def test_what_only_looks_like_a_product_can_not_be_made_again(head: bytes) -> None:
    assert origins.read(head) is None


def test_names_and_parameters_of_people_do_nothing_to_the_shell(tmp_path: Path) -> None:
    evil = Origin(
        "r_cal.asdf", 1.0, "c\n rm -rf /; $(touch owned)", {"step": {"name": "x\nTOML\ntouch owned\n"}},
        ("a; touch owned",),
    )  # fmt: skip
    path = (b"$(touch owned)", b"`touch owned`", b"x_cal.asdf")
    script = tmp_path / "recipe.sh"
    script.write_text("wfi() { :; }\n" + recipe([(path, evil)], place="scratch/a"))
    surroundings = {"L1": "/l1", "REFERENCES": "/refs", "PATH": "/bin:/usr/bin"}
    subprocess.run(["sh", script], cwd=tmp_path, env=surroundings, check=True)
    assert {each.name for each in tmp_path.iterdir()} == {"recipe.sh", "parameters-1.toml"}
    assert shlex.quote("$(touch owned)/`touch owned`") in script.read_text()


def test_remaking_is_reckoned_as_a_servers_time_and_keeping_by_the_rate_card() -> None:
    # A Small server has two cores: an hour of one of them is half an hour of it.
    small = POLICY.size(POLICY.science.size)
    assert remake_micro(Origin("a_cal.asdf", 3600), POLICY) == POLICY.rate_micro(small) // small.cpu
    assert keep_micro_a_year(10**9, POLICY) == pytest.approx(80_000 * 365 / 30, abs=1)


def test_under_pressure_what_can_be_made_again_goes_first() -> None:
    def file(name: bytes, size: int) -> tuple[tuple[bytes, ...], Identity]:
        old = int((NOW - timedelta(days=100)).timestamp()) * 10**9
        return (name,), Identity(1, size, old, old, 0o100644, 1, 1, 1)

    candidates = [file(b"huge", 1000), file(b"product", 10), file(b"larger product", 20), file(b"small", 1)]
    remakable = frozenset({(b"product",), (b"larger product",)})
    chosen = under_pressure(candidates, to_free_bytes=31, now=NOW, remakable=remakable)
    assert [path for path, _ in chosen] == [(b"larger product",), (b"product",), (b"huge",)]
