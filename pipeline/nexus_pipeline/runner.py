"""How a recipe runs: references fetched, steps timed, status and provenance stamped."""

import gc
import inspect
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from nexus_pipeline.errors import InputError, StepSkipped
from nexus_pipeline.products.model import ExposureMeta, Provenance, StepRecord
from nexus_pipeline.references.kinds import Reference
from nexus_pipeline.references.store import ReferenceStore

_KINDS: Final = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    list: "a list of texts",
}
LEFT_OUT: Final = "left out on request"
"""Why a step was skipped that a person wanted skipped."""
_STATUS: Final = Path("/proc/self/status")
_BYTES_PER_MAXRSS: Final = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Step:
    """A name, the pure function behind it, and the classes of references that follow its product.

    ``parameters`` are those keyword-only arguments of the function that people may set; a
    ``required`` step makes what the next ones work on, and cannot be skipped. ``not_for`` says of an
    exposure why the step has no place in it (None: it has); its references are then not looked for.
    A step that finds nothing to do in the data raises ``StepSkipped``.
    """

    name: str
    function: Callable[..., Any]
    references: tuple[type[Reference], ...] = ()
    parameters: tuple[str, ...] = ()
    required: bool = False
    not_for: Callable[[ExposureMeta], str | None] = lambda meta: None

    def default(self, parameter: str) -> Any:
        return inspect.signature(self.function).parameters[parameter].default


@dataclass(frozen=True)
class Ready:
    """A step about to run: its references read, its parameters chosen."""

    step: Step
    references: tuple[Any, ...]
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Pass:
    """Steps that go over the pixels together.

    ``function`` takes the product and those of the ``steps`` that are not left out. It empties the list of
    them, so that the memory of references can go as soon as they were used.
    """

    steps: tuple[Step, ...]
    function: Callable[[Any, list[Ready]], "Passed"]
    by_rows: tuple[type[Reference], ...] = ()
    """References whose planes it takes from disk, a few rows at a time."""


@dataclass(frozen=True)
class Passed:
    """What a pass leaves: the product, each step's seconds of wall clock, and why some did nothing."""

    product: Any
    seconds: Mapping[str, float]
    skipped: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """What a person wants otherwise: parameters by step and name, and steps to leave out."""

    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    skip: frozenset[str] = frozenset()


def run(
    stages: list[Any],
    parts: Sequence[Step | Pass],
    store: ReferenceStore,
    *,
    settings: Settings | None = None,
    on_step: Callable[[StepRecord], None] | None = None,
    before: Sequence[StepRecord] = (),
) -> Any:
    """Take the product out of ``stages`` and return it after all ``parts``, with its provenance.

    ``stages`` holds the one product to begin with and is empty afterwards: were it an argument of
    its own, the caller's frame would keep a gigabyte of L1 alive to the end.
    Every setting is checked and every reference looked up before the first step, so that a wrong or
    missing one costs no time. ``before`` are records of what was done already.
    """
    settings = settings or Settings()
    singles = [step for part in parts for step in _steps_of(part)]
    chosen = resolved(singles, settings)
    product = stages.pop()
    left_out = _left_out(singles, settings.skip, product.meta)
    rules = find_references([step for step in singles if step.name not in left_out], store, product.meta)

    by_rows = {cls for part in parts if isinstance(part, Pass) for cls in part.by_rows}

    def ready(step: Step) -> Ready:
        references = tuple(
            store.read(cls, rules[cls.kind], by_rows=cls in by_rows) for cls in step.references
        )
        return Ready(step, references, chosen[step.name])

    records = list(before)
    for part in parts:
        product, done = _run_part(part, product, ready=ready, left_out=left_out)
        for record in done:
            records.append(record)
            if on_step is not None:
                on_step(record)
    _free()
    provenance = Provenance(
        steps=tuple(records),
        references={kind: rule.file for kind, rule in rules.items()},
        context=store.context,
        logs=tuple(_line(record) for record in records),
    )
    return replace(product, provenance=provenance)


def _free() -> None:
    """ASDF's trees refer to themselves: what was read for them stays in memory until it is looked for."""
    gc.collect()


def _steps_of(part: Step | Pass) -> tuple[Step, ...]:
    return part.steps if isinstance(part, Pass) else (part,)


def _left_out(steps: Sequence[Step], skip: frozenset[str], meta: ExposureMeta) -> dict[str, str]:
    """Return why steps will not run, by name."""
    why = {step.name: step.not_for(meta) for step in steps}
    return {name: reason for name, reason in why.items() if reason is not None} | dict.fromkeys(
        sorted(skip), LEFT_OUT
    )


def _run_part(
    part: Step | Pass, product: Any, *, ready: Callable[[Step], Ready], left_out: Mapping[str, str]
) -> tuple[Any, list[StepRecord]]:
    """Return the product after ``part``, and a record of each of its steps, left out or not."""
    todo, reading = [], {}
    for step in _steps_of(part):
        if step.name not in left_out:
            start = time.perf_counter()
            todo.append(ready(step))
            reading[step.name] = time.perf_counter() - start
    if isinstance(part, Pass):
        _free()
    parameters = {each.step.name: each.parameters for each in todo}
    passed = Passed(product, {})
    if todo:
        passed = (part.function if isinstance(part, Pass) else _alone)(product, todo)
    skipped, peak = {**left_out, **passed.skipped}, peak_memory_bytes()

    def record(name: str) -> StepRecord:
        if name in skipped:
            return StepRecord(name, "SKIPPED", reason=skipped[name])
        seconds = reading[name] + passed.seconds[name]
        return StepRecord(name, "COMPLETE", seconds, peak, parameters=parameters[name])

    return passed.product, [record(step.name) for step in _steps_of(part)]


def _alone(product: Any, todo: Sequence[Ready]) -> Passed:
    start = time.perf_counter()
    (only,) = todo
    try:
        product = only.step.function(product, *only.references, **only.parameters)
    except StepSkipped as nothing:
        return Passed(product, {}, {only.step.name: str(nothing)})
    return Passed(product, {only.step.name: time.perf_counter() - start})


def resolved(steps: Sequence[Step], settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the parameters of each step, defaults and all.

    Raises InputError for a step or a parameter there is not, a value of another type, and a
    required step to be skipped.
    """
    named = {step.name: step for step in steps}
    for name in (*settings.parameters, *sorted(settings.skip)):
        if name not in named:
            raise InputError(f"no step is called {name!r}; there are {', '.join(named)}")
    for name in sorted(settings.skip):
        if named[name].required:
            raise InputError(f"{name} cannot be skipped: the steps after it work on what it makes")
    return {name: _parameters(step, settings.parameters.get(name, {})) for name, step in named.items()}


def _parameters(step: Step, given: Mapping[str, Any]) -> dict[str, Any]:
    chosen = {name: step.default(name) for name in step.parameters}
    chosen |= {name: list(value) for name, value in chosen.items() if isinstance(value, tuple)}
    for name, value in given.items():
        if name not in chosen:
            known = f"it has {', '.join(chosen)}" if chosen else "it has none"
            raise InputError(f"{step.name} has no parameter {name!r}; {known}")
        wanted = type(chosen[name])
        if wanted is float and type(value) is int:
            value = float(value)  # noqa: PLW2901 - TOML writes 5 for 5.0
        texts = not isinstance(value, list) or all(type(each) is str for each in value)
        if type(value) is not wanted or not texts:
            kind = _KINDS[wanted]
            raise InputError(f"{step.name}.{name} must be {kind}, not {value!r}")
        chosen[name] = value
    return chosen


def find_references(steps: Sequence[Step], store: ReferenceStore, meta: ExposureMeta) -> dict[str, Any]:
    """Return the rule of every reference of ``steps``; MissingReferenceError names the first that lacks."""
    return {
        cls.kind: store.find(
            cls.kind,
            detector=meta.detector,
            filter_name=meta.filter_name,
            date=meta.start_time,
            ma_table=meta.ma_table.number,
        )
        for step in steps
        for cls in step.references
    }


@contextmanager
def recorded(name: str, parameters: Mapping[str, Any] | None = None) -> Iterator[Callable[[], StepRecord]]:
    """Time a block; what it gives returns the record once the block is done."""
    start = time.perf_counter()
    end: list[float] = []
    yield lambda: StepRecord(
        name, "COMPLETE", end[0] - start, peak_memory_bytes(), parameters=parameters or {}
    )
    end.append(time.perf_counter())


def peak_memory_bytes() -> int:
    """Return the most memory this process ever held (resident).

    On Linux not from getrusage, whose figure a new process takes over from the one that started it.
    """
    if _STATUS.exists():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _BYTES_PER_MAXRSS


def _line(record: StepRecord) -> str:
    if record.status == "SKIPPED":
        return f"{record.name} SKIPPED: {record.reason}"
    peak = record.peak_memory_bytes / 1e9
    return f"{record.name} {record.status} in {record.seconds:.2f} s, peak {peak:.2f} GB"
