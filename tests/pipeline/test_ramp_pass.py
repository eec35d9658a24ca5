"""The pass over row bands gives what the steps give one after the other on whole frames."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.support import pipeline as build
from tests.support.ramp_steps import one_by_one, ready

from nexus_pipeline.errors import MismatchedReferenceError
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.recipes import exposure
from nexus_pipeline.recipes.ramp_pass import over_bands
from nexus_pipeline.references import kinds
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.runner import Ready

PLANES = ("rate", "err", "var_poisson", "var_rnoise", "chisq", "dumo", "dq")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ReferenceStore:
    return build.small_store(str(tmp_path_factory.mktemp("references")))


@pytest.mark.parametrize("grow_pixels", [0, 1, 8])
@pytest.mark.parametrize("algorithm", ["likelihood", "casertano"])
def test_a_pass_over_bands_equals_the_steps_one_by_one(
    store: ReferenceStore, algorithm: str, grow_pixels: int
) -> None:
    ramp, _ = build.small_ramp(store, seed=41)
    # Wells fill on both sides of the seams between bands of 32 rows, and in a corner.
    for row in (61, 63, 64, 127, 130, 200):
        ramp.data[4:, row, 20 + row] = 64_000
    ramp.data[:, 5, 5] = 64_000
    ramp.data[5:, 90:130, 90:95] += 3000
    flags = np.zeros(ramp.data.shape, np.uint8)
    flags[2, 100:140, 50] = DQ.DO_NOT_USE
    flags[0, 1, 60] = flags[5, 70, 2] = DQ.DROPOUT
    ramp = replace(ramp, resultant_dq=flags, reference_read=np.full(ramp.data.shape[1:], 7, np.uint16))
    # A guide window over a seam and the border, and an offset of the encoding.
    star = {"window_xstart": 0, "window_xstop": 9, "window_ystart": 60, "window_ystop": 70}
    told = {"guide_star": star, "instrument": {"data_encoding_offset": 5}}
    ramp = replace(ramp, meta=replace(ramp.meta, carried=told))
    chosen = {"saturation": {"grow_pixels": grow_pixels}, "ramp_fitting": {"algorithm": algorithm}}
    todo = ready(store, **chosen)
    whole, passed = one_by_one(ramp, todo), over_bands(ramp, todo)
    banded = passed.product
    assert not todo, "the pass holds the references' memory alone"
    for name in PLANES:
        np.testing.assert_array_equal(getattr(banded, name), getattr(whole, name), err_msg=name)
    assert whole.jump_indices is not None
    assert len(whole.jump_indices) >= 40 * 5
    np.testing.assert_array_equal(banded.jump_indices, whole.jump_indices)
    for name in whole.border.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(banded.border, name), getattr(whole.border, name), err_msg=name)
    assert (banded.dq & DQ.SATURATED).any()
    assert (banded.dq & DQ.JUMP_DET).any()
    assert (banded.dq & DQ.GW_AFFECTED_DATA).any()
    assert set(passed.seconds) == {step.name for step in exposure.RAMP_STEPS} - {"wfi18_transient"}
    assert not passed.skipped


def test_the_transient_of_wfi18_is_fitted_to_all_rows_before_any_band(store: ReferenceStore) -> None:
    ramp, _ = build.small_ramp(store, seed=44)
    rows = 80 * np.exp(-np.arange(build.SMALL) / 60)
    data = ramp.data.copy()
    data[0] += np.rint(rows).astype(np.uint16)[:, None]
    todo = ready(store, skip=("refpix", "dark_decay"))
    step = next(step for step in exposure.RAMP_STEPS if step.name == "wfi18_transient")
    todo.insert(2, Ready(step, (), {"mask_rows": False}))
    ramp = replace(ramp, data=data)
    whole, passed = one_by_one(ramp, todo), over_bands(ramp, todo)
    np.testing.assert_allclose(passed.product.rate, whole.rate, rtol=1e-5, atol=1e-5)
    assert passed.seconds["wfi18_transient"] > 0


def test_a_step_with_nothing_to_do_is_told_before_the_first_band(store: ReferenceStore) -> None:
    ramp, _ = build.small_ramp(store, seed=45)
    passed = over_bands(replace(ramp, amp33=np.zeros_like(ramp.amp33)), ready(store))
    assert set(passed.skipped) == {"refpix"}
    assert "33rd output is all zero" in passed.skipped["refpix"]


def test_steps_left_out_are_left_out_of_the_pass(store: ReferenceStore) -> None:
    ramp, _ = build.small_ramp(store, seed=42)
    todo = ready(store, skip=("saturation", "refpix", "dark_decay", "linearity"))
    whole, passed = one_by_one(ramp, todo), over_bands(ramp, todo)
    np.testing.assert_array_equal(passed.product.rate, whole.rate)
    assert set(passed.seconds) == {"dq_init", "ramp_fitting"}


def test_a_reference_of_a_taller_frame_is_refused_though_its_bands_would_fit(
    store: ReferenceStore, tmp_path: Path
) -> None:
    ramp, _ = build.small_ramp(store, seed=43)
    todo = ready(store)
    tall = [
        replace(each, references=(replace(each.references[0], dq=np.zeros((512, build.SMALL), np.uint32)),))
        if each.references and isinstance(each.references[0], kinds.MaskReference)
        else each
        for each in todo
    ]
    with pytest.raises(MismatchedReferenceError, match=r"mask reference of WFI07 has frames of \(512, 256\)"):
        over_bands(ramp, tall)
