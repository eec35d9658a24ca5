"""CRDS as a reference store: its own client on a cache made here, with no server to ask."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import roman_datamodels
from tests.support import crds_cache
from tests.support import pipeline as build
from tests.support.crds_cache import Rules

from nexus_pipeline.errors import MissingReferenceError
from nexus_pipeline.products import l1
from nexus_pipeline.references.files import write_reference
from nexus_pipeline.references.store import ReferenceStore, open_store

N_PIXELS = 128
DETECTOR, ELEMENT, TYPE, TABLE = (
    f"ROMAN.META.{name}"
    for name in (
        "INSTRUMENT.DETECTOR",
        "INSTRUMENT.OPTICAL_ELEMENT",
        "EXPOSURE.TYPE",
        "EXPOSURE.MA_TABLE_NUMBER",
    )
)
EPOCHS = ("2020-01-01 00:00:00", "2028-01-01 00:00:00")
ANSWERS = Path(__file__).parents[1] / "support" / "crds_answers.py"


def rules_of(kind: str) -> Rules:
    """Return rules as the mission's of ``kind`` are: by detector, most of them, or by more than that."""
    first, second = (f"roman_wfi_{kind}_000{number}.asdf" for number in (1, 2))
    if kind in ("flat", "distortion"):
        return Rules((DETECTOR, ELEMENT), {(build.DETECTOR, build.FILTER): {EPOCHS[0]: first}})
    if kind == "dark":
        return Rules((DETECTOR, TYPE), {(build.DETECTOR, "WFI_DARK|WFI_IMAGE"): {EPOCHS[0]: first}})
    if kind == "readnoise":
        either = {
            (build.DETECTOR, number): {EPOCHS[0]: name} for number, name in (("4", first), ("3", second))
        }
        return Rules((DETECTOR, TABLE), either)
    if kind == "gain":
        return Rules((DETECTOR,), {(build.DETECTOR,): dict(zip(EPOCHS, (first, second), strict=True))})
    return Rules((DETECTOR,), {(build.DETECTOR,): {EPOCHS[0]: first}})


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> ReferenceStore:
    return build.small_store(str(tmp_path_factory.mktemp("references")), n_pixels=N_PIXELS)


@pytest.fixture(scope="module")
def environment(ours: ReferenceStore, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return what leads the client to a cache with our references under CRDS's names, no ePSF or IPC."""
    mapped = [rule for rule in ours.rules if rule.kind != "ipc"]
    return crds_cache.make(
        tmp_path_factory.mktemp("crds"),
        {rule.kind: rules_of(rule.kind) for rule in mapped},
        {f"roman_wfi_{rule.kind}_0001.asdf": Path(ours.url, rule.file) for rule in mapped},
    )


@pytest.fixture(scope="module")
def answers(
    ours: ReferenceStore, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Return what the adapter said in a process of its own: the client reads its environment only once."""
    folder = tmp_path_factory.mktemp("answers")
    ramp, flat, image = (str(folder / f"{name}.asdf") for name in ("a_uncal", "my_flat", "a_cal"))
    l1.write_ramp(build.small_ramp(ours, seed=19)[0], ramp)
    write_reference(build.gain((4, 4)), flat)
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.crds_answers", ramp, flat, image],
        cwd=ANSWERS.parents[2], env={**os.environ, **environment},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return {**json.loads(done.stdout.splitlines()[-1]), "flat": flat, "image": image}


def test_an_image_calibrated_with_crds_says_which_files_and_whose_rules(answers: dict[str, Any]) -> None:
    with roman_datamodels.open(answers["image"]) as model:
        model.validate()
        assert model.meta.ref_file.crds.context == crds_cache.CONTEXT
        assert model.meta.ref_file.dark == "crds://roman_wfi_dark_0001.asdf"
        assert model.meta.cal_step.flat_field == "COMPLETE"


def test_the_context_is_the_one_named_or_the_latest(answers: dict[str, Any]) -> None:
    assert answers["contexts"] == [crds_cache.CONTEXT, crds_cache.CONTEXT]


def test_crds_chooses_by_its_own_rules(answers: dict[str, Any]) -> None:
    assert answers["gain"] == pytest.approx(build.GAIN, rel=0.1)
    assert answers["gains"] == [f"crds://roman_wfi_gain_000{number}.asdf" for number in (1, 2)]
    assert answers["read noises"] == [f"crds://roman_wfi_readnoise_000{number}.asdf" for number in (2, 1)]


def test_a_file_of_ones_own_goes_before_crds(answers: dict[str, Any]) -> None:
    assert answers["flat of one's own"] == answers["flat"]
    assert answers["dark beside it"] == "crds://roman_wfi_dark_0001.asdf"
    assert answers["context with a file"].startswith(f"{crds_cache.CONTEXT}+nexus_")


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("of another detector", "roman_0007.pmap of CRDS has no gain reference for WFI01 F158 of 2027-03-01"),
        ("before all", "roman_0007.pmap of CRDS has no gain reference for WFI07 F158 of 2019-01-01"),
        ("of no kind there", "has no epsf reference for WFI07 F158"),
        ("not for this", "has no ipc reference for WFI07 F158"),
        ("file not there", "CRDS_PATH names the folder of its rules and files, CRDS_SERVER_URL the server"),
        ("no cache", "CRDS has neither server nor cache; CRDS_PATH names the folder"),
        ("no context", "CRDS_PATH names the folder of its rules and files, CRDS_SERVER_URL the server"),
    ],
)
def test_what_crds_does_not_have_is_said_with_what_to_do(
    answers: dict[str, Any], case: str, message: str
) -> None:
    assert answers[case].startswith("MissingReferenceError: ")
    assert message in answers[case]


def test_nothing_is_added_to_crds(answers: dict[str, Any]) -> None:
    assert answers["added"].startswith("InputError: crds: nothing can be added to CRDS")


def test_without_the_client_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "crds", None)
    with pytest.raises(MissingReferenceError, match=r"need its client .* install nexus-pipeline\[crds\]"):
        open_store("crds:roman_0007.pmap")
