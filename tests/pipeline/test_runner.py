"""How a recipe runs: what is left out, what skips itself, and what is told of it."""

from dataclasses import replace

import numpy as np
import pytest
from tests.support import pipeline as build

from nexus_pipeline.errors import MissingReferenceError, StepSkipped
from nexus_pipeline.products.model import ExposureMeta, RateImage, StepRecord
from nexus_pipeline.references import kinds
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.runner import Step, run

NO_REFERENCES = ReferenceStore("nowhere")


def brighter(image: RateImage) -> RateImage:
    return replace(image, rate=image.rate + 1)


def only_wfi18(meta: ExposureMeta) -> str | None:
    return None if meta.detector == "WFI18" else "only WFI18 has it"


def done(step: Step) -> tuple[float, StepRecord]:
    """Return by how much ``step`` made an image of WFI07 brighter, and what is told of it."""
    image = build.rate_image(np.full((8, 8), 3.0))
    result = run([image], [step], NO_REFERENCES)
    (record,) = result.provenance.steps
    return float((result.rate - image.rate).mean()), record


def test_a_step_that_has_no_place_in_an_exposure_is_skipped_and_needs_no_reference() -> None:
    step = Step("transient", brighter, (kinds.MaskReference,), not_for=only_wfi18)
    change, record = done(step)
    assert change == 0
    assert (record.status, record.reason) == ("SKIPPED", "only WFI18 has it")


def test_a_step_that_has_its_place_needs_its_reference() -> None:
    with pytest.raises(MissingReferenceError, match="no mask reference for WFI07"):
        done(Step("transient", brighter, (kinds.MaskReference,), not_for=lambda meta: None))


def test_a_step_that_finds_nothing_to_do_says_why_and_changes_nothing() -> None:
    def nothing(image: RateImage) -> RateImage:
        raise StepSkipped("all pixels are saturated")

    change, record = done(Step("dark", nothing))
    assert change == 0
    assert (record.status, record.reason) == ("SKIPPED", "all pixels are saturated")


def test_a_step_that_runs_is_told_as_complete() -> None:
    change, record = done(Step("brighter", brighter))
    assert change == pytest.approx(1)
    assert record.status == "COMPLETE"
