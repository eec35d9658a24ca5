"""What people are told while a batch runs and at its end; used by the command line only."""

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from nexus_pipeline.products.model import StepRecord

if TYPE_CHECKING:
    from nexus_pipeline.scale.batch import Outcome, Task


class BatchReport:
    """Lines on stdout as ramps are done, a bar on a terminal, the failures at the end on stderr."""

    def __init__(self, tasks: "Sequence[Task]", jobs: int) -> None:
        self.jobs = jobs
        self._tasks = tasks
        self._alone = jobs == 1 or len(tasks) == 1
        self._failed: list[Outcome] = []
        self._done = 0
        self._bar = Progress(
            TextColumn("ramps"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=Console(stderr=True), transient=True, disable=len(tasks) < 2 or not sys.stderr.isatty(),
        )  # fmt: skip

    @property
    def exit_status(self) -> int:
        errors = (outcome.error for outcome in self._failed)
        return max((error.exit_status for error in errors if error is not None), default=0)

    @property
    def failed_targets(self) -> frozenset[str]:
        """Where nothing was written."""
        return frozenset(outcome.task.target for outcome in self._failed)

    def __enter__(self) -> "BatchReport":
        self._bar.start()
        self._bar.add_task("ramps", total=len(self._tasks))
        self._announce()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        for outcome in self._failed:
            print(f"wfi: {outcome.error}", file=sys.stderr)
            if outcome.trace is not None:
                print(outcome.trace, file=sys.stderr)
        n = len(self._tasks)
        if self._failed and n > 1:
            print(f"wfi: {len(self._failed)} of {n} ramps failed", file=sys.stderr)
        if kind is not None and n > 1:
            print(f"wfi: stopped after {self._done} of {n} ramps", file=sys.stderr)

    def step(self, record: StepRecord) -> None:
        """Tell of a step of the ramp that this process is at."""
        print_step(record)

    def hear(self, outcome: "Outcome") -> None:
        """Tell how a ramp went."""
        if not self._alone:
            print(outcome.task.source)
            for record in outcome.steps:
                print_step(record)
        self._done += 1
        self._bar.advance(self._bar.task_ids[0])
        if outcome.error is not None:
            self._failed.append(outcome)
            print(f"  failed: {outcome.error}", flush=True)
        else:
            print(f"  {'total':<14}{outcome.seconds:7.2f} s   {outcome.task.target}", flush=True)
        self._announce()

    def _announce(self) -> None:
        if self._alone and self._done < len(self._tasks):
            print(self._tasks[self._done].source, flush=True)


def print_step(record: StepRecord) -> None:
    """Print one line about a step that is done."""
    peak = record.peak_memory_bytes / 1e9
    print(f"  {record.name:<14}{record.seconds:7.2f} s   peak {peak:5.2f} GB   {record.status}", flush=True)
