"""A function over many inputs in processes of their own, of which one may die without taking the rest along.

Processes are spawned, not forked: numba and its threads do not survive a fork. Compiled kernels come from
numba's cache on disk, which all share.
"""

import gc
import multiprocessing
import signal
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Final, Generic, TypeVar, cast

from nexus_pipeline.bands import limit_cores
from nexus_pipeline.errors import PipelineError
from nexus_pipeline.scale import memory

T = TypeVar("T")
R = TypeVar("R")
_PATIENCE_S: Final = 30.0


@dataclass(frozen=True)
class Lost:
    """What is left of an input whose process died, and by which exit code (negative: a signal)."""

    exit_code: int | None

    def error(self, source: str) -> PipelineError:
        """Return what to tell people who wait for the product of ``source``."""
        code = self.exit_code
        how = (
            f"by {signal.Signals(-code).name}"
            if code is not None and code < 0
            else f"with exit status {code}"
        )
        hint = "; was there memory enough? fewer --jobs take less" if code == -signal.SIGKILL else ""
        return PipelineError(f"{source}: its process ended {how}{hint}")


@dataclass
class _Worker(Generic[T]):
    process: Any
    pipe: Connection
    index: int = -1
    """Of the input it works on."""


def over(
    function: Callable[[T], R], inputs: Sequence[T], *, jobs: int, cores: int
) -> Generator[tuple[int, R | Lost], None, None]:
    """Yield (index, result) of ``function`` over ``inputs`` as they come, from ``jobs`` processes.

    Each process uses ``cores`` threads. ``function`` and all that passes are pickled. Whatever ends the
    iteration early (Ctrl-C, ``close``) lets each worker clear up what it was writing and ends it.
    """
    todo = list(range(len(inputs)))[::-1]
    workers = [_started(function, cores) for _ in range(min(jobs, len(inputs)))]
    try:
        for worker in workers:
            _give(worker, todo, inputs)
        while workers:
            ready = wait([worker.pipe for worker in workers])
            for worker in [one for one in workers if one.pipe in ready]:
                index, result = worker.index, _result(worker)
                if isinstance(result, Lost):
                    workers.remove(worker)
                    if todo:
                        worker = _started(function, cores)  # noqa: PLW2901 - takes the dead one's place
                        workers.append(worker)
                yield index, cast("R | Lost", result)
                if worker in workers and not _give(worker, todo, inputs):
                    workers.remove(worker)
                    _let_go(worker)
    finally:
        _end(workers)


def _started(function: Callable[[T], R], cores: int) -> _Worker[T]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, function, cores))
    process.start()
    # Else our own copy would keep the pipe open when the process is gone.
    theirs.close()
    return _Worker(process, ours)


def _give(worker: _Worker[T], todo: list[int], inputs: Sequence[T]) -> bool:
    """Send ``worker`` the next of ``todo``, which gets shorter; False if there is none."""
    if not todo:
        return False
    worker.index = todo.pop()
    try:
        worker.pipe.send(inputs[worker.index])
    except OSError:
        # It died before its first input; reading its pipe will tell.
        return True
    return True


def _result(worker: _Worker[T]) -> Any:
    try:
        return worker.pipe.recv()
    except (EOFError, ConnectionResetError):
        worker.process.join(_PATIENCE_S)
        return Lost(worker.process.exitcode)


def _let_go(worker: _Worker[T]) -> None:
    worker.pipe.close()
    worker.process.join(_PATIENCE_S)


def _end(workers: Sequence[_Worker[T]]) -> None:
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        worker.process.join(_PATIENCE_S)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


def _work(pipe: Connection, function: Callable[[Any], Any], cores: int) -> None:
    """Answer each input with its result until the pipe closes."""
    # A terminal sends Ctrl-C to all; the parent decides. Its word ends us as an exit would: files half
    # written are removed on the way out.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _exit)
    limit_cores(cores)
    memory.keep_freed()
    # Modules by the hundred are not garbage; looking at them for each input took half a second.
    gc.freeze()
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        pipe.send(function(item))


def _exit(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)
