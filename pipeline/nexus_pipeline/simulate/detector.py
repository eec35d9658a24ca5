"""The detector: photons per second to what the electronics send down, read by read.

Takes the expected electrons per second of each pixel and the detector's properties; leaves resultants
(uint16 DN, border included) and the 33rd output. Order of events in a pixel: reset level, Poisson
electrons and cosmic rays of each read, non-linear conversion of each read, full well, mean of the reads, IPC,
read noise and offsets of the electronics, rounding.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.instrument.ma_table import MATable
from nexus_pipeline.instrument.wfi import AMP33_WIDTH, CHANNEL_WIDTH, SATURATION_DN
from nexus_pipeline.simulate import random
from nexus_pipeline.simulate.cosmic_rays import Deposits
from nexus_pipeline.simulate.detector_kernels import BIAS_DN, expose_rows
from nexus_pipeline.simulate.random import Effect
from nexus_pipeline.simulate.samplers import samplers

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class DetectorModel:
    """Planes of a detector with its border: e/DN, DN per read, DN, and (n, ny, nx) inverse linearity.

    ``ipc`` is the kernel (3, 3) of inter-pixel capacitance, None for none.
    """

    gain: Plane
    read_noise: Plane
    saturation: Plane
    inverse_linearity: Plane
    ipc: Plane | None = None


@dataclass(frozen=True)
class Electronics:
    """Slow disturbances the outputs share, DN: an offset per resultant and channel, a drift along rows.

    1/f noise proper is left for later; these two are what reference pixels are there to remove.
    """

    channel_offset_dn: float = 3.0
    row_drift_dn: float = 0.5
    drift_rows: float = 200.0


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
    offsets = _offsets(electronics, table, size, seed)
    out = np.empty((table.n_resultants, size, size), dtype=np.uint16)
    resultant_of_read = _resultant_of_read(table)
    n_reads, tables = table.reads_per_resultant, samplers()
    ipc = np.empty((0, 0), np.float32) if model.ipc is None else model.ipc

    def run(rows: range) -> None:
        expose_rows(
            rows.start, rows.stop, electrons_per_s, model.gain, model.read_noise, model.saturation,
            model.inverse_linearity, resultant_of_read, n_reads, table.read_time_s, deposits.first,
            deposits.column, deposits.read, deposits.electrons, offsets, seed, tables, ipc, out,
        )  # fmt: skip

    bands = [range(low, min(low + 64, size)) for low in range(0, size, 64)]
    with ThreadPoolExecutor(max_workers=threads) as pool:
        list(pool.map(run, bands))
    return out, _amp33(offsets, table, float(np.median(model.read_noise)), seed)


def _resultant_of_read(table: MATable) -> NDArray[np.int64]:
    """Return which resultant each read (from 1; entry 0 is unused) goes into, -1 for none."""
    which = np.full(table.n_reads + 1, -1, dtype=np.int64)
    for resultant, reads in enumerate(table.read_pattern):
        which[list(reads)] = resultant
    return which


def _offsets(electronics: Electronics, table: MATable, size: int, seed: int) -> NDArray[np.float32]:
    """Return DN (n_resultants, n_rows, n_channels + 1), the last column the 33rd output's."""
    rng = random.generator(seed, Effect.ELECTRONICS)
    n_channels = -(-size // CHANNEL_WIDTH)
    level = rng.normal(0, electronics.channel_offset_dn, (table.n_resultants, 1, n_channels + 1))
    keep = np.exp(-1 / electronics.drift_rows)
    kicks = rng.normal(0, electronics.row_drift_dn * np.sqrt(1 - keep**2), (table.n_resultants, size))
    drift = np.empty_like(kicks)
    drift[:, 0] = rng.normal(0, electronics.row_drift_dn, table.n_resultants)
    for row in range(1, size):
        drift[:, row] = keep * drift[:, row - 1] + kicks[:, row]
    return (level + drift[:, :, None]).astype(np.float32)


def _amp33(offsets: NDArray[np.float32], table: MATable, read_noise: float, seed: int) -> NDArray[np.uint16]:
    rng = random.generator(seed, Effect.AMP33)
    shape = (offsets.shape[0], offsets.shape[1], AMP33_WIDTH)
    values = rng.standard_normal(shape, dtype=np.float32)
    values *= (read_noise / np.sqrt(table.reads_per_resultant)).astype(np.float32)[:, None, None]
    values += offsets[:, :, -1:] + np.float32(BIAS_DN)
    return np.clip(np.rint(values), 0, SATURATION_DN).astype(np.uint16)
