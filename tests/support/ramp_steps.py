"""The steps up to the ramp fit, ready to run: in a pass over bands, or one by one on the whole frame."""

from contextlib import suppress

from tests.support import pipeline as build

from nexus_pipeline.errors import StepSkipped
from nexus_pipeline.products.model import RateImage
from nexus_pipeline.recipes import exposure
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.runner import Ready


def ready(
    store: ReferenceStore, *, skip: tuple[str, ...] = (), **parameters: dict[str, object]
) -> list[Ready]:
    where = {"detector": build.DETECTOR, "filter_name": build.FILTER, "date": build.START}
    return [
        Ready(
            step,
            tuple(store.load(cls, **where) for cls in step.references),
            {name: step.default(name) for name in step.parameters} | parameters.get(step.name, {}),
        )
        for step in exposure.RAMP_STEPS
        if step.name not in skip and step.not_for(build.meta()) is None
    ]


def one_by_one(product: object, todo: list[Ready]) -> RateImage:
    for each in todo:
        with suppress(StepSkipped):
            product = each.step.function(product, *each.references, **each.parameters)
    assert isinstance(product, RateImage)
    return product
