"""simulation: one exposure of many detectors, each its own ramp, in processes side by side.

Takes one catalogue for the whole field and a pointing of the focal plane; leaves a product and a truth table
for each detector and an ``Outcome`` that says how it went.
"""

import gc
import time
import traceback
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np

from nexus_pipeline.bands import available_cores
from nexus_pipeline.errors import InputError, PipelineError
from nexus_pipeline.instrument.ma_table import MATable
from nexus_pipeline.products import l1, l2, l3, names, store
from nexus_pipeline.products.charge import Charge, read_charge, read_exposure
from nexus_pipeline.products.model import Pointing
from nexus_pipeline.products.names import ExposureId
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.scale import workers
from nexus_pipeline.simulate import exposure
from nexus_pipeline.simulate.catalog import Sources
from nexus_pipeline.simulate.exposure import Effects
from nexus_pipeline.simulate.mosaic import Stack, simulate_mosaic
from nexus_pipeline.simulate.plane import RatePlane


@dataclass(frozen=True)
class Plan:
    """What the detectors of an exposure share.

    ``level`` 1 is ramps, 2 idealised images, 3 a mosaic, which has a ``stack``. ``earlier`` are exposures
    before it (URLs of L1 or L2) that persist in it, each in its own detector.
    """

    sources: Sources | RatePlane
    references: ReferenceStore
    filter_name: str
    pointing: Pointing
    start_time: datetime
    ma_table: MATable
    exposure_id: ExposureId
    effects: Effects
    level: int = 1
    earlier: tuple[str, ...] = ()
    stack: Stack | None = None


@dataclass(frozen=True)
class Task:
    """A detector (``source``), the seed of its own noise, and where its product goes."""

    source: str
    target: str
    seed: int


@dataclass(frozen=True)
class Outcome:
    """How one detector went; ``trace`` is the traceback of an error that is none of ours."""

    task: Task
    seconds: float = 0.0
    n_sources: int = 0
    truth: str | None = None
    error: PipelineError | None = None
    trace: str | None = None


def tasks(detectors: Sequence[str], plan: Plan, output: str, *, seed: int) -> list[Task]:
    """Return a task for each detector: mission file names in ``output``, noise that no two share."""
    return [Task(name, target(name, plan, output), seed_of(seed, name)) for name in detectors]


def target(detector: str, plan: Plan, output: str) -> str:
    """Return where the product of ``detector`` goes."""
    if plan.stack is not None:
        return store.join(output, names.mosaic_name(plan.exposure_id, plan.filter_name))
    name = names.file_name(plan.exposure_id, detector, plan.filter_name, level=f"L{plan.level}")
    return store.join(output, name)


def seed_of(seed: int, detector: str) -> int:
    """Return the seed of a detector in an exposure of many: the same whichever others are made with it."""
    return int(np.random.SeedSequence([seed, int(detector[3:])]).generate_state(1)[0])


def simulate(todo: Sequence[Task], plan: Plan, *, jobs: int = 1) -> Generator[Outcome, None, None]:
    """Yield the outcome of each task: in order from this process, or as they come from ``jobs`` of them."""
    jobs = min(jobs, len(todo))
    work = partial(attempt, plan=plan, threads=max(1, available_cores() // max(jobs, 1)))
    if jobs <= 1:
        yield from map(work, todo)
        return
    for index, outcome in workers.over(work, todo, jobs=jobs, cores=max(1, available_cores() // jobs)):
        if isinstance(outcome, Outcome):
            yield outcome
        else:
            yield Outcome(todo[index], error=outcome.error(todo[index].source))


def attempt(task: Task, plan: Plan, *, threads: int) -> Outcome:
    """Make one detector's product; an error becomes part of the outcome."""
    try:
        return made(task, plan, threads=threads)
    except PipelineError as error:
        return Outcome(task, error=error)
    except Exception as error:  # the edge of a worker: the batch goes on, the traceback is told
        return Outcome(
            task, error=PipelineError(f"{type(error).__name__}: {error}"), trace=traceback.format_exc()
        )
    finally:
        # References and their files refer to each other; left alone they stay for gigabytes.
        gc.collect()


def made(task: Task, plan: Plan, *, threads: int = 2) -> Outcome:
    """Write one detector's product and its truth, and say how it went; raises what simulating raises."""
    start = time.perf_counter()
    meta = exposure.exposure_meta(
        task.source,
        plan.filter_name,
        pointing=plan.pointing,
        start_time=plan.start_time,
        ma_table=plan.ma_table,
        exposure_id=plan.exposure_id,
    )
    asked: dict[str, Any] = {"seed": task.seed, "effects": plan.effects, "threads": threads}
    if plan.level == 1:
        left = _left(plan.earlier, task.source)
        ramp = exposure.simulate(plan.sources, meta, plan.references, earlier=left, **asked)
        truth = ramp.truth
        l1.write_ramp(ramp.ramp, task.target)
        exposure.write_truth(ramp.snowballs, exposure.snowballs_url(task.target))
    elif plan.stack is not None:
        coadd, truth = simulate_mosaic(plan.sources, meta, plan.references, plan.stack, **asked)
        l3.write_mosaic(coadd, task.target)
    else:
        image, truth = exposure.simulate_ideal(plan.sources, meta, plan.references, **asked)
        l2.write_rate_image(image, task.target)
    beside = exposure.truth_url(task.target)
    exposure.write_truth(truth, beside)
    return Outcome(task, time.perf_counter() - start, len(truth), beside)


def _left(earlier: Sequence[str], detector: str) -> list[Charge]:
    """Return what those of ``earlier`` left that are of ``detector``; InputError if there are only others."""
    own = [url for url in earlier if read_exposure(url).detector == detector]
    if earlier and not own:
        raise InputError(f"none of the earlier exposures is of {detector}: {', '.join(earlier)}")
    return [read_charge(url) for url in own]
