"""Builders of small exposures, references and stores; values that can be reckoned by hand."""

import io
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline import cli
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.ma_table import IMAGING, MATable
from nexus_pipeline.instrument.readout import read_times_s
from nexus_pipeline.instrument.wfi import BORDER, active
from nexus_pipeline.products.model import ExposureMeta, Pointing, Ramp, RateImage, WorkingRamp, border_of
from nexus_pipeline.references import kinds
from nexus_pipeline.references.make import BIAS_DN, make_references
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.simulate.detector import darks
from nexus_pipeline.sky.distortion import relative_pixel_area, synthetic_distortion

DETECTOR, FILTER = "WFI07", "F158"
START = datetime(2027, 3, 1, 12, tzinfo=UTC)
SMALL = 256
"""Edge of a small frame: two channels wide, border and all."""
GAIN, READ_NOISE = 1.8, 5.0

Floats = NDArray[np.float32]


def meta(ma_table: MATable = IMAGING, **changes: Any) -> ExposureMeta:
    pointing = Pointing(ra_deg=150.1, dec_deg=2.2, roll_deg=60.0)
    return replace(ExposureMeta(DETECTOR, FILTER, START, ma_table, pointing), **changes)


def ramp(data: NDArray[np.uint16] | None = None, **changes: Any) -> Ramp:
    """Return an L1 ramp of ``data`` (n, ny, nx), of random numbers if there are none."""
    if data is None:
        data = np.random.default_rng(1).integers(5_000, 20_000, (9, SMALL, SMALL)).astype(np.uint16)
    amp33 = np.zeros((*data.shape[:2], 128), dtype=np.uint16)
    return replace(Ramp(meta(), data, amp33), **changes)


def working_ramp(data: NDArray[Any], *, border: bool = True, ma_table: MATable = IMAGING) -> WorkingRamp:
    """Return a ramp on its way through the steps, the outer 4 pixels marked as reference pixels."""
    data = np.asarray(data, dtype=np.float32)
    dq = np.zeros(data.shape[1:], dtype=np.uint32)
    if border:
        dq[...] = DQ.REFERENCE_PIXEL
        dq[active(data.shape[1:])] = 0
    return WorkingRamp(
        meta=meta(ma_table),
        data=data,
        dq=dq,
        resultant_dq=np.zeros(data.shape, dtype=np.uint8),
        amp33=np.zeros((*data.shape[:2], 128), dtype=np.uint16),
        border=border_of(data, dq),
    )


def straight_ramps(rates: NDArray[Any], *, ma_table: MATable = IMAGING) -> NDArray[np.float64]:
    """Return noise-free ramps (n, ny, nx) DN of ``rates`` (ny, nx) DN/s that begin at 5 000 DN."""
    return 5_000 + ma_table.mean_times_s[:, None, None] * np.asarray(rates)


def noisy_ramps(
    rates: NDArray[Any], *, seed: int, ma_table: MATable = IMAGING, jumps: NDArray[Any] | None = None
) -> NDArray[np.float64]:
    """Return ramps with photon noise (gain 1.8) and read noise (5 DN a read), read by read.

    ``jumps`` (n_reads, ny, nx) are electrons that fall in before each read, cosmic rays say.
    """
    rng = np.random.default_rng(seed)
    charge = np.zeros(np.shape(rates))
    out = np.zeros((ma_table.n_resultants, *charge.shape))
    owner = {read: i for i, reads in enumerate(ma_table.read_pattern) for read in reads}
    for read in range(1, ma_table.n_reads + 1):
        charge = charge + rng.poisson(np.asarray(rates) * GAIN * ma_table.read_time_s)
        if jumps is not None:
            charge = charge + jumps[read - 1]
        if read in owner:
            out[owner[read]] += charge / GAIN + rng.normal(0, READ_NOISE, charge.shape)
    return 5_000 + out / ma_table.reads_per_resultant[:, None, None]


def rate_image(rate: NDArray[Any], **changes: Any) -> RateImage:
    """Return an L2 image of ``rate`` with variances of 0.04 (photons) and 0.01 (reads) DN²/s²."""
    rate = np.asarray(rate, dtype=np.float32)
    n, width = IMAGING.n_resultants, rate.shape[0] + 2 * BORDER
    edge = np.zeros((n, width, width), dtype=np.float32)
    image = RateImage(
        meta=meta(),
        rate=rate,
        err=np.full_like(rate, 0.05**0.5),
        var_poisson=np.full_like(rate, 0.04),
        var_rnoise=np.full_like(rate, 0.01),
        dq=np.zeros(rate.shape, dtype=np.uint32),
        chisq=np.full_like(rate, 7),
        dumo=np.zeros_like(rate),
        amp33=np.zeros((n, width, 128), dtype=np.uint16),
        border=border_of(edge, np.zeros((width, width), dtype=np.uint32)),
    )
    return replace(image, **changes)


def plane(value: float, shape: tuple[int, ...]) -> Floats:
    return np.full(shape, value, dtype=np.float32)


def good(shape: tuple[int, ...]) -> NDArray[np.uint32]:
    return np.zeros(shape, dtype=np.uint32)


def gain(shape: tuple[int, ...], value: float = GAIN) -> kinds.GainReference:
    return kinds.GainReference(detector=DETECTOR, gain=plane(value, shape))


def read_noise(shape: tuple[int, ...], value: float = READ_NOISE) -> kinds.ReadNoiseReference:
    return kinds.ReadNoiseReference(detector=DETECTOR, read_noise=plane(value, shape))


def geometry(detector: str, size: int) -> tuple[Any, Floats]:
    transform = synthetic_distortion(detector)
    return transform, relative_pixel_area(transform, size)


def small_store(url: str, **changes: Any) -> ReferenceStore:
    """Return a reference store of one detector with small frames."""
    arguments = {"detectors": [DETECTOR], "filter_names": [FILTER], "n_pixels": SMALL, **changes}
    return make_references(url, geometry, darks, **arguments)


def small_ramp(references: ReferenceStore, *, seed: int, sky_dn_s: float = 0.5) -> tuple[Ramp, Floats]:
    """Return an L1 ramp made with ``references`` by the definition of ``instrument``, and its true rates.

    The rates are those of L2: surface brightness in DN/s, sky and a bright slope over it.
    """
    load = lambda cls: references.load(cls, detector=DETECTOR, filter_name=FILTER, date=START)  # noqa: E731
    flat, dark = load(kinds.FlatReference).flat, load(kinds.DarkReference).rate
    size = flat.shape[0]
    truth = sky_dn_s + np.linspace(0, 20, size, dtype=np.float32)[None, :] * np.ones((size, 1), np.float32)
    rate = dark.astype(np.float64)
    rate[active(dark.shape)] += truth * flat
    linear = noisy_ramps(rate, seed=seed)
    measured = _polynomial(load(kinds.InverseLinearityReference).coefficients, linear)
    inl, decay = load(kinds.IntegralNonlinearityReference), load(kinds.DarkDecayReference)
    for channel, row in enumerate(inl.correction[: dark.shape[1] // 128]):
        columns = np.s_[:, :, 128 * channel : 128 * (channel + 1)]
        measured[columns] -= np.interp(measured[columns], inl.value, row)
    measured += decay_of(decay, dark.shape[0])
    border = np.ones(dark.shape, dtype=bool)
    border[active(dark.shape)] = False
    rng = np.random.default_rng(seed + 1)
    reads = IMAGING.reads_per_resultant
    channels = np.repeat(10.0 * np.arange(dark.shape[1] // 128), 128)
    # Offsets that differ from resultant to resultant and channel to channel, about the bias.
    offsets = 40 * np.sin(np.arange(len(measured)))[:, None] * (1 + channels / 20)
    offsets -= offsets.mean(axis=0)
    for i in range(len(measured)):
        measured[i, border] = BIAS_DN + rng.normal(0, READ_NOISE / reads[i] ** 0.5, int(border.sum()))
        measured[i] += offsets[i]
    amp33 = np.rint(BIAS_DN + rng.normal(0, 5, (*measured.shape[:2], 128))).astype(np.uint16)
    return ramp(np.rint(measured).astype(np.uint16), amp33=amp33), truth


def decay_of(reference: kinds.DarkDecayReference, size: int) -> NDArray[np.float64]:
    """Return the decaying signal of each resultant and row, (n, ny, 1) DN; a row's columns differ by
    nothing.
    """
    assert reference.amplitude_dn is not None
    assert reference.time_constant_s is not None
    rows, columns = read_times_s(reference.detector, IMAGING.read_time_s, n_pixels=size)
    reads = [np.array(reads) - 1.5 for reads in IMAGING.read_pattern]
    means = [np.exp(-since * IMAGING.read_time_s / reference.time_constant_s).mean() for since in reads]
    by_row = np.exp(-(rows + columns.mean()) / reference.time_constant_s)
    return reference.amplitude_dn * np.outer(means, by_row)[:, :, None]


def _polynomial(coefficients: Floats, x: NDArray[np.float64]) -> NDArray[np.float64]:
    result = np.zeros_like(x)
    for term in coefficients[::-1].astype(np.float64):
        result = result * x + term
    return result


def interrupted(after_bytes: int, error: BaseException) -> Callable[[Any], None]:
    """Return a writer that writes ``after_bytes`` and then fails with ``error``."""

    def write(handle: Any) -> None:
        handle.write(b"x" * after_bytes)
        raise error

    return write


@dataclass(frozen=True)
class Told:
    """What a command said, and its exit status."""

    status: int
    out: str
    err: str


def wfi(*arguments: object) -> Told:
    """Run ``wfi`` in this process: a new one imports for seconds. An error it does not catch goes through."""
    out, err = io.StringIO(), io.StringIO()
    command = ["wfi", *(str(argument) for argument in arguments)]
    status = 0
    with mock.patch.object(sys, "argv", command), redirect_stdout(out), redirect_stderr(err):
        try:
            cli.main()
        except SystemExit as done:
            status = done.code if isinstance(done.code, int) else 0
    return Told(status, out.getvalue(), err.getvalue())
