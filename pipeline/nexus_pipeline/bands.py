"""How kernels run: serial compiled code over a band of rows, bands shared out to threads.

Kernels release the GIL and write each to rows of their own. numba's ``parallel=True`` is not
used: it dies in forked workers and aborts when two threads enter it at once.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeVar

import numba

Function = TypeVar("Function")
T = TypeVar("T")

BAND_ROWS: Final = 32
_LIMIT: Final[ContextVar[int | None]] = ContextVar("cores", default=None)


def compiled(function: Function) -> Function:
    """Compile ``function`` without the GIL; numba's own decorator has no types.

    The machine code is kept between runs, in NUMBA_CACHE_DIR where that is set, else beside the
    package or, where that may not be written, under the home.
    """
    kernel: Any = numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    result: Function = kernel
    return result


def compiled_fused(function: Function) -> Function:
    """As ``compiled``; a product and the sum that it goes into are rounded once where the processor can."""
    kernel: Any = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})(function)
    result: Function = kernel
    return result


def over_rows(work: Callable[[int, int], None], n_rows: int, *, threads: int | None = None) -> None:
    """Call ``work(first, last)`` for bands that cover ``n_rows``; less than two bands are done at once."""
    if n_rows < 2 * BAND_ROWS:
        work(0, n_rows)
        return
    starts = range(0, n_rows, BAND_ROWS)
    bands = [(start, min(start + BAND_ROWS, n_rows)) for start in starts]
    share_out(lambda band: work(*band), bands, threads=threads)


def share_out(work: Callable[[T], None], parts: Iterable[T], *, threads: int | None = None) -> None:
    """Call ``work`` for each of ``parts``; the first error of any is raised. One thread is the caller's own.

    ``threads``: as many as there are cores for this process, if not said, and never more.
    """
    cores = available_cores()
    threads = min(threads or cores, cores)
    if threads == 1:
        for part in parts:
            work(part)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, parts):
            pass


def available_cores() -> int:
    """Return how many cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _LIMIT.get() or cores)


def limit_cores(cores: int) -> None:
    """Let the work this thread shares out take ``cores`` at most: other processes have theirs."""
    _LIMIT.set(cores)


@contextmanager
def one_core() -> Iterator[None]:
    """Share nothing out within the block: its parts are too small to be worth threads."""
    before = _LIMIT.set(1)
    try:
        yield
    finally:
        _LIMIT.reset(before)
