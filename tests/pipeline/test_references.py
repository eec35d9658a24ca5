"""References: found by rule, read in their own type, and consistent where they are made."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roman_datamodels
from tests.support import pipeline as build

from nexus_pipeline import runner
from nexus_pipeline.errors import MismatchedReferenceError, MissingReferenceError
from nexus_pipeline.instrument import filters
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.ma_table import IMAGING, SHORT_IMAGING
from nexus_pipeline.instrument.wfi import active
from nexus_pipeline.references import kinds
from nexus_pipeline.references.kinds import KINDS, GainReference
from nexus_pipeline.references.store import RULES_FILE, ReferenceStore, Rule, open_store

WHO: dict[str, Any] = {"detector": build.DETECTOR, "filter_name": build.FILTER, "date": build.START}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ReferenceStore:
    return build.small_store(str(tmp_path_factory.mktemp("references")))


def rule(file: str, **changes: Any) -> Rule:
    fields = {"kind": "dark", "detector": None, "filter_name": None, "useafter": kinds.DAWN}
    return Rule(**{**fields, **changes}, file=file)


def found(*rules: Rule, **who: Any) -> str:
    return ReferenceStore("memory", rules).find("dark", **{**WHO, **who}).file


def test_the_latest_reference_before_the_exposure_is_taken() -> None:
    years = [rule(str(year), useafter=datetime(year, 1, 1, tzinfo=UTC)) for year in (2024, 2026, 2028)]
    assert found(*years) == "2026"


def test_of_one_date_the_more_particular_is_taken() -> None:
    general, mine, other = rule("any"), rule("WFI07", detector="WFI07"), rule("WFI01", detector="WFI01")
    assert found(general, mine, other) == "WFI07"
    assert found(general, mine, other, detector="WFI18") == "any"
    assert found(mine, rule("F158", filter_name="F158"), rule("F062", filter_name="F062")) == "F158"


def test_a_reference_of_the_exposures_ma_table_goes_before_one_for_all() -> None:
    general, short = rule("any"), rule("short", ma_table=3)
    assert found(general, short, ma_table=3) == "short"
    assert found(general, short, ma_table=4) == found(general, short) == "any"
    with pytest.raises(MissingReferenceError, match=r"for WFI07 F158 of 2027-03-01 \(MA table 4\)"):
        found(short, ma_table=4)


def test_the_more_particular_goes_before_the_later_as_in_crds() -> None:
    late = rule("late", useafter=datetime(2026, 1, 1, tzinfo=UTC))
    assert found(late, rule("mine", detector="WFI07")) == "mine"
    both = rule("both", detector="WFI07", ma_table=3)
    assert found(late, rule("mine", detector="WFI07", useafter=late.useafter), both, ma_table=3) == "both"


def test_a_reference_for_one_ma_table_stands_beside_that_for_all(tmp_path: Path) -> None:
    general = build.gain((16, 16))
    store = ReferenceStore(str(tmp_path)).add([general, replace(general, gain=general.gain * 2, ma_table=3)])
    opened = open_store(store.url)
    assert opened.context == store.context
    assert opened.load(GainReference, **WHO, ma_table=3).gain[0, 0] == 2 * build.GAIN
    assert opened.load(GainReference, **WHO, ma_table=4).gain[0, 0] == build.GAIN
    assert opened.load(GainReference, **WHO, ma_table=3).ma_table == 3
    gain = runner.Step("any", abs, (GainReference,))
    for table, number in ((SHORT_IMAGING, 3), (IMAGING, None)):
        assert runner.find_references([gain], opened, build.meta(table))["gain"].ma_table == number
    lent = replace(opened.find("gain", **WHO, ma_table=3), ma_table=4)
    with pytest.raises(MismatchedReferenceError, match="made for MA table 3, but the rules give it to 4"):
        opened.read(GainReference, lent)


def test_rules_written_before_there_were_ma_tables_are_still_read(tmp_path: Path) -> None:
    row = {"kind": "gain", "detector": "WFI07", "filter_name": None, "file": "g.asdf", "description": ""}
    (tmp_path / RULES_FILE).write_text(
        json.dumps({"rules": [{**row, "useafter": "2020-01-01T00:00:00+00:00"}]})
    )
    opened = open_store(str(tmp_path))
    assert opened.find("gain", **WHO, ma_table=3).file == "g.asdf"
    # The name that products of that time recorded.
    assert opened.context == "nexus_2695753bb46a"


def test_where_no_rule_fits_it_says_what_was_looked_for() -> None:
    with pytest.raises(MissingReferenceError, match="no dark reference for WFI07 F158 of 2027-03-01"):
        found(rule("2030", useafter=datetime(2030, 1, 1, tzinfo=UTC)))


def test_a_folder_without_rules_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(MissingReferenceError, match=r"is no reference store \(no rules.json\)"):
        open_store(str(tmp_path))
    (tmp_path / RULES_FILE).write_text("{'no json'}")
    with pytest.raises(MissingReferenceError, match="not a rule file"):
        open_store(str(tmp_path))
    (tmp_path / RULES_FILE).write_text(json.dumps({"rules": [{"kind": "dark"}]}))
    with pytest.raises(MissingReferenceError, match="not a rule file"):
        open_store(str(tmp_path))


def test_a_reopened_store_has_the_context_it_had(store: ReferenceStore) -> None:
    assert open_store(store.url).context == store.context
    assert ReferenceStore(store.url, store.rules[1:]).context != store.context


def test_another_detector_comes_beside_the_first(tmp_path: Path) -> None:
    build.small_store(str(tmp_path), detectors=["WFI01"])
    both = build.small_store(str(tmp_path), detectors=["WFI02"])
    assert {one.detector for one in both.rules} == {"WFI01", "WFI02"}
    assert both.load(GainReference, **{**WHO, "detector": "WFI01"}).detector == "WFI01"


def test_a_file_that_is_not_what_the_rules_say_is_refused(store: ReferenceStore) -> None:
    gain = store.find("gain", **WHO)
    lent = Rule("gain", "WFI01", None, kinds.DAWN, gain.file)
    with pytest.raises(MismatchedReferenceError, match="made for WFI07, but the rules give it to WFI01"):
        store.read(GainReference, lent)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"epsf"}))
def test_roman_datamodels_opens_every_reference(store: ReferenceStore, kind: str) -> None:
    with roman_datamodels.open(f"{store.url}/{store.find(kind, **WHO).file}") as model:
        model.validate()
        assert model.meta.reftype == kind.upper()
        assert model.meta.instrument.detector == build.DETECTOR


def test_the_same_seed_makes_the_same_and_another_seed_another(tmp_path: Path, store: ReferenceStore) -> None:
    again = build.small_store(str(tmp_path / "again"), detectors=["WFI01", build.DETECTOR])
    other = build.small_store(str(tmp_path / "other"), seed=2)
    for cls, name in (
        (kinds.GainReference, "gain"),
        (kinds.FlatReference, "flat"),
        (kinds.DarkReference, "rate"),
    ):
        first, second, third = (getattr(where.load(cls, **WHO), name) for where in (store, again, other))
        np.testing.assert_array_equal(first, second)
        assert (first != third).mean() > 0.9


def test_linearity_undoes_what_its_inverse_does(store: ReferenceStore) -> None:
    forward = store.load(kinds.InverseLinearityReference, **WHO).coefficients.astype(float)
    back = store.load(kinds.LinearityReference, **WHO).coefficients.astype(float)
    for charge in (0.0, 1_000.0, 20_000.0, 40_000.0, 50_000.0):
        measured = sum(c * charge**k for k, c in enumerate(forward))
        # The series is broken off after the fifth power: below 0.01 % at 50 000 DN.
        np.testing.assert_allclose(
            sum(c * measured**k for k, c in enumerate(back)), charge, rtol=1e-4, atol=1e-3
        )
    # 5 % at 50 000 DN is what makes the step worth having.
    assert np.median(sum(c * 50_000.0**k for k, c in enumerate(forward))) == pytest.approx(47_600, rel=0.01)


def test_flat_and_photometry_keep_the_convention(store: ReferenceStore) -> None:
    flat, gain = store.load(kinds.FlatReference, **WHO).flat, store.load(kinds.GainReference, **WHO).gain
    assert flat.mean(dtype=float) == pytest.approx(1, abs=1e-6)
    _, area = build.geometry(build.DETECTOR, flat.shape[0])
    qe = flat * gain[active(gain.shape)] / area
    entry = store.load(kinds.PhotomReference, **WHO).table[build.FILTER]
    # A pixel of median QE lit by 1 MJy/sr: electrons over its gain and its flat give DN/s of the conversion.
    electrons = area / filters.megajanskys_per_sr(build.DETECTOR, build.FILTER)
    rate = electrons * (qe / np.median(qe)) / gain[active(gain.shape)] / flat
    np.testing.assert_allclose(rate * entry.conversion_megajanskys, 1, rtol=2e-6)


def test_the_pixel_area_changes_over_a_detector() -> None:
    _, area = build.geometry(build.DETECTOR, 4088)
    assert area.max() / area.min() > 1.01


def test_the_mask_knows_the_border_and_the_hot_pixels_of_the_dark(store: ReferenceStore) -> None:
    mask, dark = store.load(kinds.MaskReference, **WHO).dq, store.load(kinds.DarkReference, **WHO)
    border = mask & DQ.REFERENCE_PIXEL != 0
    assert not border[active(mask.shape)].any()
    assert border.sum() == mask.size - (build.SMALL - 8) ** 2
    hot = mask & DQ.HOT != 0
    # 0.1 % of 61 504 pixels, Poisson.
    assert abs(hot.sum() - 61.5) < 4 * 61.5**0.5
    assert dark.rate[hot].min() >= 0.1
    assert np.median(dark.rate[active(mask.shape)]) == pytest.approx(0.006, rel=0.05)


def test_an_epsf_keeps_its_labels(tmp_path: Path) -> None:
    given = kinds.EpsfReference(
        detector=build.DETECTOR, filter_name=build.FILTER, psf=np.ones((1, 1, 2, 5, 5), np.float32),
        pixel_x=(4.0, 2044.0), pixel_y=(4.0, 4.0), oversample=2, includes=("optics", "pixel"), total=4.0,
    )  # fmt: skip
    back = ReferenceStore(str(tmp_path)).add([given]).load(kinds.EpsfReference, **WHO)
    assert (back.includes, back.total, back.oversample) == (given.includes, 4.0, 2)
    assert (back.pixel_x, back.pixel_y) == (given.pixel_x, given.pixel_y)
    np.testing.assert_array_equal(back.psf, given.psf)
