"""From L1 to rates in one pass over bands of rows: what lies between never exists as a whole frame.

Takes an L1 ramp (DN) and the steps up to the ramp fit, with references whole or on disk; leaves a rate image
(DN/s).
The steps are the same pure functions that take whole frames; two of them need more than their
own rows: saturation spreads to neighbours, so it gets a halo; refpix sees the whole border, which is
measured first.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import BAND_ROWS, available_cores, over_rows, share_out
from nexus_pipeline.errors import StepSkipped
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.wfi import BORDER
from nexus_pipeline.products.model import BorderPixels, Ramp, WorkingRamp
from nexus_pipeline.products.rows_on_disk import RowsOnDisk
from nexus_pipeline.references.kinds import Reference
from nexus_pipeline.runner import Passed, Ready
from nexus_pipeline.steps import (
    dark_decay,
    dq_init,
    large_events,
    ramp_fitting,
    refpix,
    saturation,
    wfi18_transient,
)  # fmt: skip
from nexus_pipeline.steps.checks import require_shape
from nexus_pipeline.steps.large_events import LargeEvents, Places
from nexus_pipeline.steps.ramp_planes import N_PLANES

R = TypeVar("R", bound=Reference)
T = TypeVar("T")


class Stopwatch:
    """Seconds by name, added up over threads."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    def call(self, name: str, function: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Return what ``function`` returns and add its time to ``name``."""
        start = time.perf_counter()
        result = function(*arguments, **options)
        with self._lock:
            self._seconds[name] += time.perf_counter() - start
        return result

    def shared_by(self, threads: int) -> dict[str, float]:
        """Return the seconds of wall clock if ``threads`` worked side by side all the time."""
        return {name: seconds / threads for name, seconds in self._seconds.items()}


@dataclass(frozen=True)
class Correction:
    """A step that subtracts from any band what it measured of the whole frame before."""

    name: str
    take_out: Callable[[WorkingRamp], WorkingRamp]


def over_bands(ramp: Ramp, todo: list[Ready], *, only: NDArray[np.int64] | None = None) -> Passed:
    """Return the rate image of ``ramp`` after the steps ``todo``; raises what the steps raise.

    ``todo`` is empty afterwards. A step that is to be skipped says so before the first band. With ``only``
    (rows of the frame, rising) the other rows stay zero.
    """
    watch, by_name = Stopwatch(), {each.step.name: each for each in todo}
    _require_shapes(ramp, todo)
    todo.clear()
    (mask,), chosen = by_name["dq_init"].references, by_name["dq_init"].parameters
    ramp, mask = watch.call("dq_init", dq_init.settled, ramp, mask, **chosen)
    by_name["dq_init"] = replace(by_name["dq_init"], references=(mask,))
    border = watch.call("dq_init", dq_init.border, ramp, mask)
    frame = _Frame(ramp, by_name, border, watch)
    corrections, skipped = _measured(frame)
    if "refpix" in by_name:
        # The corrections are what is left to do of it.
        by_name["refpix"] = replace(by_name["refpix"], references=())
    n_rows, n_columns = ramp.data.shape[1:]
    fit = ramp_fitting.FittedRows(
        np.zeros((N_PLANES, n_rows - 2 * BORDER, n_columns - 2 * BORDER), np.float32),
        np.zeros((n_rows - 2 * BORDER, n_columns - 2 * BORDER), np.uint32),
        np.empty((0, 3), np.int16),
    )
    rule = _large_events(by_name["ramp_fitting"].parameters)
    jumps: list[Places] = []
    saturated: list[Places] = []

    def work(first: int, last: int) -> None:
        first, last = max(first, BORDER), min(last, n_rows - BORDER)
        if first < last:
            band = _corrected(frame, range(first, last), corrections)
            if rule is not None:
                full = large_events.first_saturated(band.resultant_dq[..., BORDER:-BORDER])
                saturated.append(full + np.array([0, first - BORDER, 0], np.int16))
            fitted = _fitted(band, by_name, watch)
            rows = slice(first - BORDER, last - BORDER)
            fit.planes[:, rows] = fitted.planes[:, :, BORDER:-BORDER]
            fit.dq[rows] = fitted.dq[:, BORDER:-BORDER]
            own = ramp_fitting.trimmed_jumps(
                fitted.jumps, width=n_columns, first_row=0, last_row=last - first
            )
            jumps.append(own + np.array([0, first - BORDER, 0], np.int16))

    if only is None:
        over_rows(work, n_rows)
    else:
        share_out(lambda band: work(band.start, band.stop), large_events.runs(only, BAND_ROWS))
    found = replace(fit, jumps=ramp_fitting.in_order(jumps))
    if rule is not None:
        full = ramp_fitting.in_order(saturated)
        found = ramp_fitting.expand(found, full, rule, partial(_refit, frame, corrections, found))
    # What was measured of the frame is the largest thing that nobody needs any more.
    corrections.clear()
    image = ramp_fitting.image(found, ramp.meta, amp33=ramp.amp33, border=border)
    if np.all(fit.dq & np.uint32(DQ.SATURATED)) and "saturation" in by_name:
        after = [name for name in by_name if name not in ("dq_init", "saturation")]
        skipped |= dict.fromkeys(after, "every pixel is saturated")
    return Passed(image, watch.shared_by(available_cores()), skipped)


@dataclass(frozen=True)
class _Frame:
    """What every band is cut from."""

    ramp: Ramp
    by_name: Mapping[str, Ready]
    border: BorderPixels
    watch: Stopwatch


def _measured(frame: _Frame) -> tuple[list[Correction], dict[str, str]]:
    """Return the corrections measured of the whole frame, in their order, and why others do nothing."""
    corrections: list[Correction] = []
    skipped: dict[str, str] = {}
    for name, measure in (("refpix", _refpix), ("dark_decay", _dark_decay), ("wfi18_transient", _transient)):
        if name in frame.by_name:
            try:
                take_out = frame.watch.call(name, measure, frame, frame.by_name[name], corrections)
            except StepSkipped as nothing:
                skipped[name] = str(nothing)
            else:
                corrections.append(Correction(name, take_out))
    return corrections, skipped


Take = Callable[[WorkingRamp], WorkingRamp]


def _refpix(frame: _Frame, ready: Ready, _before: Sequence[Correction]) -> Take:
    (reference,) = ready.references
    correction = refpix.measure(frame.border, frame.ramp.amp33, reference, **ready.parameters)
    return lambda band: refpix.take_out(band, correction)


def _dark_decay(frame: _Frame, ready: Ready, _before: Sequence[Correction]) -> Take:
    (reference,) = ready.references
    decay = dark_decay.measure(frame.ramp.meta, reference, frame.ramp.data.shape[2])
    return lambda band: dark_decay.take_out(band, decay)


def _transient(frame: _Frame, ready: Ready, before: Sequence[Correction]) -> Take:
    """The transient is fitted to all rows as the steps before it leave them: a pass of its own."""
    meta = frame.ramp.meta
    residuals = None
    if wfi18_transient.may_be_fitted(meta, **ready.parameters):
        residuals = np.empty(frame.ramp.data.shape[1])
        quiet = replace(frame, watch=Stopwatch())

        def work(first: int, last: int) -> None:
            band = _corrected(quiet, range(first, last), before)
            residuals[first:last] = wfi18_transient.row_residuals(band)

        over_rows(work, frame.ramp.data.shape[1])
    transient = wfi18_transient.measure(meta, residuals)
    return lambda band: wfi18_transient.take_out(band, transient)


def _corrected(frame: _Frame, rows: range, corrections: Sequence[Correction]) -> WorkingRamp:
    """Return ``rows`` after dq_init, saturation and ``corrections``."""
    begun = _begun(frame.ramp, frame.by_name, rows, frame.watch)
    band = replace(begun, border=frame.border, first_row=rows.start)
    for correction in corrections:
        band = frame.watch.call(correction.name, correction.take_out, band)
    return band


def _begun(ramp: Ramp, by_name: Mapping[str, Ready], rows: range, watch: Stopwatch) -> WorkingRamp:
    """Return ``rows`` after dq_init and saturation."""
    halo = saturation.reach(**by_name["saturation"].parameters) if "saturation" in by_name else 0
    low, high = max(rows.start - halo, 0), min(rows.stop + halo, ramp.data.shape[1])
    part = dq_init.part_of(ramp, np.s_[..., low:high, :])
    (mask,) = by_name["dq_init"].references
    band = watch.call("dq_init", dq_init.begin_rows, part, rows_of(mask, low, high))
    if "saturation" in by_name:
        band = _step(band, by_name["saturation"], low, watch)
    inner = np.s_[..., rows.start - low : rows.stop - low, :]
    planes: dict[str, Any] = {
        name: np.ascontiguousarray(getattr(band, name)[inner]) for name in ("data", "dq", "resultant_dq")
    }
    return replace(band, **planes)


def _fitted(band: WorkingRamp, by_name: Mapping[str, Ready], watch: Stopwatch) -> ramp_fitting.FittedRows:
    """Return the fit of ``band`` after linearity."""
    band, references = _linear(band, by_name, watch)
    search = {
        name: by_name["ramp_fitting"].parameters[name] for name in ("algorithm", "jump_threshold_sigma")
    }
    return watch.call("ramp_fitting", ramp_fitting.fit_rows, band, *references, **search)


def _linear(
    band: WorkingRamp, by_name: Mapping[str, Ready], watch: Stopwatch
) -> tuple[WorkingRamp, list[Any]]:
    """Return ``band`` after linearity, and its rows of what the ramp fit refers to."""
    if "linearity" in by_name:
        band = _step(band, by_name["linearity"], band.first_row, watch)
    stop = band.first_row + band.dq.shape[0]
    return band, [rows_of(each, band.first_row, stop) for each in by_name["ramp_fitting"].references]


def _large_events(parameters: Mapping[str, Any]) -> LargeEvents | None:
    """Return what snowballs are if they are asked for."""
    rule = LargeEvents(**{each.name: parameters[each.name] for each in fields(LargeEvents)})
    return rule if parameters["expand_large_events"] else None


def _refit(
    frame: _Frame, corrections: Sequence[Correction], fitted: ramp_fitting.FittedRows, jumps: Places
) -> None:
    """Write into ``fitted`` the fit of its pixels with ``jumps``: their rows are made once more."""

    def work(rows: range) -> None:
        first, last = rows.start + BORDER, rows.stop + BORDER
        band = _corrected(frame, range(first, last), corrections)
        band, references = _linear(band, frame.by_name, frame.watch)
        own = jumps[(jumps[:, 1] >= rows.start) & (jumps[:, 1] < rows.stop)]
        # A band has the border's columns, but no rows of it.
        begin = (rows.start + BORDER, 0)
        algorithm = frame.by_name["ramp_fitting"].parameters["algorithm"]
        frame.watch.call(
            "ramp_fitting", ramp_fitting.refit_pixels, band, *references, own,
            begin=begin, fitted=fitted, algorithm=algorithm,
        )  # fmt: skip

    share_out(work, large_events.runs(np.unique(jumps[:, 1]), BAND_ROWS))


def _step(band: WorkingRamp, ready: Ready, first: int, watch: Stopwatch) -> WorkingRamp:
    references = [rows_of(each, first, first + band.dq.shape[0]) for each in ready.references]
    function: Callable[..., WorkingRamp] = ready.step.function
    return watch.call(ready.step.name, function, band, *references, **ready.parameters)


def rows_of(reference: R, first: int, last: int) -> R:
    """Return ``reference`` of rows ``first`` to ``last``: its planes (…, ny, nx) cut, the rest as it is.

    The planes lie closed in memory, as kernels are compiled for.
    """
    cut: dict[str, Any] = {
        name: plane.rows(first, last)
        if isinstance(plane, RowsOnDisk)
        else np.ascontiguousarray(plane[..., first:last, :])
        for name, plane in reference.planes.items()
    }
    return replace(reference, **cut) if cut else reference


def _require_shapes(ramp: Ramp, todo: Sequence[Ready]) -> None:
    """Raise MismatchedReferenceError for planes of another frame: a band of them might look right."""
    for each in todo:
        for reference in each.references:
            for plane in reference.planes.values():
                require_shape(plane, ramp.data.shape, reference)
