"""How a recipe runs: references fetched, steps timed, status and provenance stamped."""

import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from nexus_pipeline.products.model import ExposureMeta, Provenance, StepRecord
from nexus_pipeline.references.kinds import Reference
from nexus_pipeline.references.store import ReferenceStore

_BYTES_PER_MAXRSS: Final = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Step:
    """A name, the pure function behind it, and the classes of references that follow its product."""

    name: str
    function: Callable[..., Any]
    references: tuple[type[Reference], ...] = ()


def run(
    stages: list[Any],
    steps: Sequence[Step],
    store: ReferenceStore,
    *,
    on_step: Callable[[StepRecord], None] | None = None,
    before: Sequence[StepRecord] = (),
) -> Any:
    """Take the product out of ``stages`` and return it after all ``steps``, with its provenance.

    ``stages`` holds the one product to begin with and is empty afterwards: were it an argument of
    its own, the caller's frame would keep a gigabyte of L1 alive to the end.
    Every reference is looked up before the first step, so that a missing one costs no time.
    ``before`` are records of what was done already.
    """
    product = stages.pop()
    rules = find_references(steps, store, product.meta)
    records = list(before)
    for step in steps:
        with recorded(step.name) as measured:
            references = [store.read(cls, rules[cls.kind]) for cls in step.references]
            product = step.function(product, *references)
            del references
        records.append(measured())
        if on_step is not None:
            on_step(records[-1])
    provenance = Provenance(
        steps=tuple(records),
        references={kind: rule.file for kind, rule in rules.items()},
        context=store.context,
        logs=tuple(_line(record) for record in records),
    )
    return replace(product, provenance=provenance)


def find_references(steps: Sequence[Step], store: ReferenceStore, meta: ExposureMeta) -> dict[str, Any]:
    """Return the rule of every reference of ``steps``; MissingReferenceError names the first that lacks."""
    return {
        cls.kind: store.find(
            cls.kind, detector=meta.detector, filter_name=meta.filter_name, date=meta.start_time
        )
        for step in steps
        for cls in step.references
    }


@contextmanager
def recorded(name: str) -> Iterator[Callable[[], StepRecord]]:
    """Time a block; what it gives returns the record once the block is done."""
    start = time.perf_counter()
    end: list[float] = []
    yield lambda: StepRecord(name, "COMPLETE", end[0] - start, peak_memory_bytes())
    end.append(time.perf_counter())


def peak_memory_bytes() -> int:
    """Return the most memory this process ever held (resident)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _BYTES_PER_MAXRSS


def _line(record: StepRecord) -> str:
    peak = record.peak_memory_bytes / 1e9
    return f"{record.name} {record.status} in {record.seconds:.2f} s, peak {peak:.2f} GB"
