"""batch: L1 ramps to L2 images, many at once; one that fails does not stop the others.

Takes paths, folders and exposures; leaves an image for each ramp and an ``Outcome`` that says how it went.
"""

import gc
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from nexus_pipeline.bands import available_cores
from nexus_pipeline.errors import InputError, PipelineError
from nexus_pipeline.products import l2, store
from nexus_pipeline.products.model import StepRecord
from nexus_pipeline.products.names import is_exposure, level_ending
from nexus_pipeline.recipes import exposure_product
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.runner import Settings
from nexus_pipeline.scale import memory, workers

BYTES_PER_JOB: Final = 22 * 10**8
"""Resident memory of a process that calibrates full frames (measured: 1.7 to 1.8 GB with 9 resultants)."""


@dataclass(frozen=True)
class Task:
    """A ramp and where its image goes."""

    source: str
    target: str


@dataclass(frozen=True)
class Outcome:
    """How one ramp went; ``trace`` is the traceback of an error that is none of ours."""

    task: Task
    seconds: float = 0.0
    steps: tuple[StepRecord, ...] = ()
    error: PipelineError | None = None
    trace: str | None = None


def ramps(arguments: Sequence[str]) -> list[str]:
    """Return the ramps behind ``arguments``: files as they are, all ramps of a folder or of an exposure.

    An exposure is named by its files' common beginning, ``…/rPPPPPCCAAASSSOOOVVV_EEEE``. Raises
    InputError for a folder or an exposure without ramps.
    """
    return [url for argument in arguments for url in _ramps(argument)]


def _ramps(argument: str) -> list[str]:
    name = store.file_name(argument)
    if is_exposure(name):
        folder, start = argument.rstrip("/").removesuffix(name).rstrip("/") or ".", f"{name}_"
    elif store.is_folder(argument):
        folder, start = argument, ""
    else:
        return [argument]
    ending = level_ending("L1")
    found = [each for each in store.listed(folder) if each.startswith(start) and each.endswith(ending)]
    if not found:
        raise InputError(f"{argument}: no L1 ramps there ({start}*{ending})")
    return [store.join(folder, each) for each in found]


def default_jobs(n_ramps: int) -> int:
    """Return how many processes to work in: as many as there are cores and memory for."""
    fitting = memory.available_bytes() // BYTES_PER_JOB
    return max(1, min(n_ramps, available_cores(), fitting))


def calibrate(
    tasks: Sequence[Task],
    references: ReferenceStore,
    *,
    settings: Settings,
    jobs: int = 1,
    account: str | None = None,
    on_step: Callable[[StepRecord], None] | None = None,
) -> Generator[Outcome, None, None]:
    """Yield the outcome of each task: in order from this process, or as they come from ``jobs`` of them.

    The cores are shared out to the processes. ``on_step`` hears of steps in this process only; ``account`` is
    who pays.
    """
    work = partial(attempt, references=references, settings=settings, account=account)
    if jobs == 1 or len(tasks) == 1:
        yield from (work(task, on_step=on_step) for task in tasks)
        return
    cores = max(1, available_cores() // jobs)
    for index, outcome in workers.over(work, tasks, jobs=jobs, cores=cores):
        yield outcome if isinstance(outcome, Outcome) else _lost(tasks[index], outcome.exit_code)


def attempt(
    task: Task,
    references: ReferenceStore,
    settings: Settings,
    *,
    account: str | None = None,
    on_step: Callable[[StepRecord], None] | None = None,
) -> Outcome:
    """Calibrate one ramp and write its image; an error becomes part of the outcome."""
    start = time.perf_counter()
    try:
        image = exposure_product.make(
            task.source, references, settings=settings, account=account, on_step=on_step
        )
        l2.write_rate_image(image, task.target)
        steps = image.provenance.steps
    except PipelineError as error:
        return Outcome(task, time.perf_counter() - start, error=error)
    except Exception as error:  # the edge of a worker: the batch goes on, the traceback is told
        reason = f"{task.source}: {type(error).__name__}: {error}"
        return Outcome(task, error=PipelineError(reason), trace=traceback.format_exc())
    finally:
        # A ramp that failed half way leaves gigabytes that refer to themselves.
        gc.collect()
    return Outcome(task, time.perf_counter() - start, steps)


def _lost(task: Task, exit_code: int | None) -> Outcome:
    return Outcome(task, error=workers.Lost(exit_code).error(task.source))
