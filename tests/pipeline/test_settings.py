"""Steps switched and parameterised: what the runner takes, what it refuses, what the product tells."""

from pathlib import Path

import pytest
import roman_datamodels
from tests.support import pipeline as build

from nexus_pipeline.errors import InputError, UnreadableProductError
from nexus_pipeline.products import l1, l2
from nexus_pipeline.products.model import StepRecord
from nexus_pipeline.recipes import exposure
from nexus_pipeline.recipes.settings import read_settings, with_changes
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.runner import Settings

NAME = "r0000101001001001001_0001_wfi07_f158_{}.asdf"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ReferenceStore:
    return build.small_store(str(tmp_path_factory.mktemp("references")))


@pytest.fixture(scope="module")
def ramp(store: ReferenceStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("l1") / NAME.format("uncal")
    l1.write_ramp(build.small_ramp(store, seed=22)[0], str(path))
    return path


def toml(folder: Path, text: str) -> str:
    path = folder / "settings.toml"
    path.write_text(text)
    return str(path)


def steps(records: tuple[StepRecord, ...]) -> dict[str, StepRecord]:
    return {record.name: record for record in records}


def test_a_table_per_step_holds_its_parameters_and_may_skip_it(tmp_path: Path) -> None:
    text = '[refpix]\nskip = true\n[photom]\nskip = false\n[ramp_fitting]\nalgorithm = "casertano"\n'
    settings = read_settings(toml(tmp_path, text))
    assert settings.skip == {"refpix"}
    assert settings.parameters["ramp_fitting"] == {"algorithm": "casertano"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[ramp_fitting", "not a TOML file"),
        ("algorithm = 'casertano'", "stands in no step's table; write \\[step\\] above it"),
        ("[refpix]\nskip = 1", "refpix.skip must be true or false, not 1"),
    ],
)
def test_a_file_that_is_no_settings_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=f"settings.toml: .*{said}"):
        read_settings(toml(tmp_path, text))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableProductError, match="no such file"):
        read_settings(str(tmp_path / "none.toml"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Settings({"ramp_fiting": {}}), "no step is called 'ramp_fiting'; there are dq_init, saturation"),
        (Settings(skip=frozenset({"flat"})), "no step is called 'flat'"),
        (Settings(skip=frozenset({"ramp_fitting"})), "ramp_fitting cannot be skipped"),
        (Settings({"photom": {"area": 1.0}}), "photom has no parameter 'area'; it has none"),
        (
            Settings({"ramp_fitting": {"threshold": 4.0}}),
            "ramp_fitting has no parameter 'threshold'; it has algorithm, jump_threshold_sigma",
        ),
        (
            Settings({"ramp_fitting": {"jump_threshold_sigma": "high"}}),
            "ramp_fitting.jump_threshold_sigma must be a number, not 'high'",
        ),
        (
            Settings({"ramp_fitting": {"jump_threshold_sigma": True}}),
            "jump_threshold_sigma must be a number, not True",
        ),
        (Settings({"ramp_fitting": {"algorithm": "ols"}}), "'ols'; there are likelihood, casertano"),
    ],
)
def test_settings_that_fit_no_step_are_refused_before_anything_is_read(
    settings: Settings, said: str, store: ReferenceStore
) -> None:
    with pytest.raises(InputError, match=said):
        exposure.calibrate("nowhere.asdf", store, settings=settings)


def test_the_command_line_stands_over_the_file() -> None:
    base = Settings({"ramp_fitting": {"algorithm": "casertano", "jump_threshold_sigma": 4.5}}, frozenset("a"))
    changed = with_changes(base, skip=["b"], parameters={"ramp_fitting": {"algorithm": "likelihood"}})
    assert changed.parameters["ramp_fitting"] == {"algorithm": "likelihood", "jump_threshold_sigma": 4.5}
    assert changed.skip == {"a", "b"}


def test_a_product_tells_every_parameter_and_what_was_left_out(
    ramp: Path, store: ReferenceStore, tmp_path: Path
) -> None:
    text = "[ramp_fitting]\njump_threshold_sigma = 7\nexpand_factor = 2\n[flatfield]\nskip = true\n"
    done = build.wfi(
        "calibrate", ramp, "-r", store.url, "-o", tmp_path, "--parameters", toml(tmp_path, text),
        "--skip", "photom", "--ramp-fit", "casertano", "--expand-large-events",
    )  # fmt: skip
    assert done.status == 0, done.err
    target = tmp_path / NAME.format("cal")
    told = l2.read_rate_image(str(target)).provenance
    records = steps(told.steps)
    assert records["ramp_fitting"].parameters == {
        "algorithm": "casertano",
        "jump_threshold_sigma": 7.0,
        "expand_large_events": True,
        "min_jump_area": 6.0,
        "min_sat_area": 1.0,
        "expand_factor": 2.0,
        "sat_required_snowball": True,
    }
    assert records["refpix"].parameters == dict.fromkeys(
        ("remove_offset", "remove_trends", "cosine_interpolate", "fft_interpolate"), True
    )
    for name in ("photom", "flatfield"):
        assert (records[name].status, records[name].reason) == ("SKIPPED", "left out on request")
    assert not {"flat", "photom"} & set(told.references)
    with roman_datamodels.open(target) as model:
        model.validate()
        assert model.meta.cal_step.flat_field == model.meta.cal_step.photom == "SKIPPED"
        assert "flatfield SKIPPED: left out on request" in list(model.meta.cal_logs)
    info = build.wfi("info", target).out
    for said in ("algorithm=casertano", "jump_threshold_sigma=7.0", "expand_large_events=True"):
        assert said in info


def test_every_step_that_may_be_skipped_leaves_a_sound_product(
    ramp: Path, store: ReferenceStore, tmp_path: Path
) -> None:
    skip = frozenset(step.name for step in exposure.STEPS if not step.required)
    image = exposure.calibrate(str(ramp), store, settings=Settings(skip=skip))
    assert {
        name for name, record in steps(image.provenance.steps).items() if record.status == "SKIPPED"
    } == skip
    target = tmp_path / NAME.format("cal")
    l2.write_rate_image(image, str(target))
    with roman_datamodels.open(target) as model:
        model.validate()


def test_an_infinite_threshold_is_told_as_such(ramp: Path, store: ReferenceStore, tmp_path: Path) -> None:
    settings = read_settings(toml(tmp_path, "[ramp_fitting]\njump_threshold_sigma = inf\n"))
    image = exposure.calibrate(str(ramp), store, settings=settings)
    l2.write_rate_image(image, str(tmp_path / "a_cal.asdf"))
    told = steps(l2.read_rate_image(str(tmp_path / "a_cal.asdf")).provenance.steps)
    assert told["ramp_fitting"].parameters["jump_threshold_sigma"] == float("inf")


def test_a_fit_there_is_not_is_refused_in_one_line(ramp: Path, store: ReferenceStore) -> None:
    done = build.wfi("calibrate", ramp, "-r", store.url, "--ramp-fit", "ols")
    assert (done.status, done.err) == (
        2,
        "wfi: no ramp fit is called 'ols'; there are likelihood, casertano\n",
    )
