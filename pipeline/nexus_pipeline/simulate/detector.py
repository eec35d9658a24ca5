"""The detector: photons per second to what the electronics send down, read by read.

Takes the expected electrons per second of each pixel and the detector's properties; leaves resultants
(uint16 DN, border included) and the 33rd output. Order of events in a pixel: reset level, Poisson electrons
and cosmic rays of each read, non-linear conversion of each read, full well, integral non-linearity of the
converter, mean of the reads, a share of its neighbours' signals (IPC), read noise and what the electronics
add, rounding. IPC comes after the mean, as in romanisim: it is linear, and so much smaller than the signal
that the curve between makes no difference. The reference border takes no part in it.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.instrument.ma_table import IMAGING, MATable
from nexus_pipeline.instrument.wfi import N_CHANNELS
from nexus_pipeline.simulate.cosmic_rays import Deposits
from nexus_pipeline.simulate.detector_kernels import collect_rows, read_out_rows
from nexus_pipeline.simulate.electronics import BIAS_DN, Electronics, Terms, amp33, signals
from nexus_pipeline.simulate.samplers import samplers

Plane = NDArray[np.float32]
_BAND_ROWS = 64


def no_ipc() -> Plane:
    """Return the kernel of pixels that see nothing of each other."""
    kernel = np.zeros((3, 3), np.float32)
    kernel[1, 1] = 1
    return kernel


def ideal_converter() -> Plane:
    return np.zeros((N_CHANNELS, 2), np.float32)


@dataclass(frozen=True)
class DetectorModel:
    """Planes of a detector with its border: e/DN, DN per read, DN, and (n, ny, nx) inverse linearity.

    ``ipc`` (3, 3) is the share of a pixel's signal that each neighbour shows, ``converter`` (n_channels, n)
    the DN that the converter of each channel adds at 0, 1, 2 … DN, ``terms`` what the electronics add row
    by column.
    """

    gain: Plane
    read_noise: Plane
    saturation: Plane
    inverse_linearity: Plane
    ipc: Plane = field(default_factory=no_ipc)
    converter: Plane = field(default_factory=ideal_converter)
    terms: Terms | None = None


def expose(
    electrons_per_s: Plane,
    model: DetectorModel,
    table: MATable,
    *,
    deposits: Deposits,
    electronics: Electronics,
    seed: int,
    threads: int = 2,
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Return the resultants (n, ny, nx) and amp33 (n, ny, 128); the same for any number of threads."""
    size = electrons_per_s.shape[0]
    added = signals(electronics, table, size, seed=seed, terms=model.terms)
    out, tables = np.empty((table.n_resultants, size, size), dtype=np.uint16), samplers()
    resultant_of_read, n_reads = _resultant_of_read(table), table.reads_per_resultant

    def run(rows: range) -> None:
        # IPC wants the rows next to the band: they are made twice, alike, from the streams of their own.
        low, high = max(rows.start - 1, 0), min(rows.stop + 1, size)
        signal = np.empty((table.n_resultants, high - low, size), np.float32)
        collect_rows(
            low, high, electrons_per_s, model.gain, model.saturation, model.inverse_linearity,
            model.converter, resultant_of_read, n_reads, table.read_time_s, deposits.first, deposits.column,
            deposits.read, deposits.electrons, seed, tables, signal,
        )  # fmt: skip
        read_out_rows(
            rows.start, rows.stop, signal, rows.start - low, model.ipc, model.read_noise, n_reads,
            added.offsets, added.shared, added.coupling, added.own, added.term_rows, added.term_columns, seed,
            tables, out,
        )  # fmt: skip

    bands = [range(low, min(low + _BAND_ROWS, size)) for low in range(0, size, _BAND_ROWS)]
    with ThreadPoolExecutor(max_workers=threads) as pool:
        list(pool.map(run, bands))
    return out, amp33(added, table, float(np.median(model.read_noise)), seed)


def darks(
    read_noise: Plane, seed: int, *, table: MATable = IMAGING, threads: int = 2
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Return what the electronics do alone: as ``expose`` of pixels that collect nothing."""
    size = read_noise.shape[0]
    added = signals(Electronics(), table, size, seed=seed)
    out, tables = np.empty((table.n_resultants, size, size), dtype=np.uint16), samplers()

    def run(first: int) -> None:
        last = min(first + _BAND_ROWS, size)
        signal = np.full((table.n_resultants, last - first, size), BIAS_DN, np.float32)
        read_out_rows(
            first, last, signal, 0, no_ipc(), read_noise, table.reads_per_resultant, added.offsets,
            added.shared, added.coupling, added.own, added.term_rows, added.term_columns, seed, tables, out,
        )  # fmt: skip

    with ThreadPoolExecutor(max_workers=threads) as pool:
        list(pool.map(run, range(0, size, _BAND_ROWS)))
    return out, amp33(added, table, float(np.median(read_noise)), seed)


def _resultant_of_read(table: MATable) -> NDArray[np.int64]:
    """Return which resultant each read (from 1; entry 0 is unused) goes into, -1 for none."""
    which = np.full(table.n_reads + 1, -1, dtype=np.int64)
    for resultant, reads in enumerate(table.read_pattern):
        which[list(reads)] = resultant
    return which
