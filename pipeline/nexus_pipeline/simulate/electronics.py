"""What the electronics add to every resultant, light or no light.

Takes how large each disturbance is; leaves DN by resultant: an offset of each output, a slow drift, and
noise of 1/f that all outputs share in the order in which their pixels are read, the 33rd and the reference
pixels among them; less of it that each output has to itself, where no other tells of it; a signal that
decays from the reset on; on WFI18 the transient of the first read.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.instrument.ma_table import MATable
from nexus_pipeline.instrument.readout import IDLE_CLOCKS, read_times_s
from nexus_pipeline.instrument.wfi import AMP33_WIDTH, CHANNEL_WIDTH, SATURATION_DN
from nexus_pipeline.simulate import random
from nexus_pipeline.simulate.random import Effect

Plane = NDArray[np.float32]

BIAS_DN: Final = 100.0
"""What the electronics read for a reference pixel: high enough that noise does not clip at zero."""
AMPLITUDE_READS: Final = 1.5
TRANSIENT_DETECTOR: Final = "WFI18"
TRANSIENT_DN: Final = (60.0, -6.0)
TRANSIENT_S: Final = (0.35, 1.2)
"""Our own figures: romancal fits a sum of two such exponentials and starts at these times."""
CLOCKS_TOGETHER: Final = 14
"""An output's own 1/f noise is constant over so many samples, a tenth of a row: above that frequency there
is little of it beside the read noise."""


@dataclass(frozen=True)
class Electronics:
    """How large the disturbances are, DN; 0 turns one off.

    ``channel_offset_dn`` per resultant and output; ``row_drift_dn`` along rows, shared by the outputs, over
    ``drift_rows``; ``pink_dn`` 1/f noise of one read in the order of the pixels, which each output sees
    times 1 give or take ``coupling_scatter``; ``channel_pink_dn`` that of each output alone, 1 electron as
    NIRSpec's H2RGs have (Rauscher 2015).
    """

    channel_offset_dn: float = 3.0
    row_drift_dn: float = 0.5
    drift_rows: float = 200.0
    pink_dn: float = 2.5
    coupling_scatter: float = 0.1
    channel_pink_dn: float = 0.5

    def off(self) -> "Electronics":
        """Return the same without any."""
        return replace(self, channel_offset_dn=0.0, row_drift_dn=0.0, pink_dn=0.0, channel_pink_dn=0.0)


@dataclass(frozen=True)
class Signals:
    """DN to add to pixel (y, x) of resultant k.

    ``offsets[k, y, channel]``, ``coupling[channel] * shared[k, y, phase]`` with the phase in the order of
    reading, ``own[k, channel, y, phase // CLOCKS_TOGETHER]``, and, not to the border,
    Σ ``term_rows[t, k, y] * term_columns[t, x]``. The last channel is the 33rd output.
    """

    offsets: Plane
    shared: Plane
    coupling: Plane
    own: Plane
    term_rows: Plane
    term_columns: Plane


def signals(
    electronics: Electronics, table: MATable, size: int, *, seed: int, terms: "Terms | None" = None
) -> Signals:
    """Return the disturbances of a size² detector."""
    terms = terms or no_terms(table, size)
    n_outputs = -(-size // CHANNEL_WIDTH) + 1
    rng = random.generator(seed, Effect.COUPLING)
    coupling = rng.normal(1, electronics.coupling_scatter, n_outputs)
    return Signals(
        _offsets(electronics, table, size, seed),
        _pink(electronics, table, size, seed),
        coupling.astype(np.float32),
        _own(electronics, table, size, seed),
        terms.rows,
        terms.columns,
    )


@dataclass(frozen=True)
class Terms:
    """Signals that are a product of row and column: DN (n_terms, n_resultants, ny) and shares (n_terms,
    nx).
    """

    rows: Plane
    columns: Plane

    def __add__(self, other: "Terms") -> "Terms":
        return Terms(np.concatenate([self.rows, other.rows]), np.concatenate([self.columns, other.columns]))


def no_terms(table: MATable, size: int) -> Terms:
    return Terms(np.zeros((0, table.n_resultants, size), np.float32), np.zeros((0, size), np.float32))


def dark_decay(
    detector: str, table: MATable, size: int, *, amplitude_dn: float, time_constant_s: float
) -> Terms:
    """Return a signal that was ``amplitude_dn`` in the middle of the first read and decays."""
    times = np.array([read - AMPLITUDE_READS for read in range(1, table.n_reads + 1)]) * table.read_time_s
    decayed = amplitude_dn * np.exp(-times / time_constant_s)
    means = np.array([decayed[np.array(reads) - 1].mean() for reads in table.read_pattern])
    return _exponential(detector, table, size, amplitudes=means, time_constant_s=time_constant_s)


def first_read_transient(detector: str, table: MATable, size: int) -> Terms:
    """Return what the first read of a detector like WFI18 shows too much."""
    share = np.zeros(table.n_resultants)
    share[0] = (1 in table.read_pattern[0]) / len(table.read_pattern[0])
    first, second = (
        _exponential(detector, table, size, amplitudes=amplitude * share, time_constant_s=constant)
        for amplitude, constant in zip(TRANSIENT_DN, TRANSIENT_S, strict=True)
    )
    return first + second


def _exponential(
    detector: str, table: MATable, size: int, *, amplitudes: NDArray[np.float64], time_constant_s: float
) -> Terms:
    rows, columns = read_times_s(detector, table.read_time_s, n_pixels=size)
    by_row = amplitudes[:, None] * np.exp(-rows / time_constant_s)
    by_column = np.exp(-columns / time_constant_s)
    return Terms(by_row[None].astype(np.float32), by_column[None].astype(np.float32))


def amp33(signals: Signals, table: MATable, read_noise: float, seed: int) -> NDArray[np.uint16]:
    """Return the 33rd output, uint16 DN (n, ny, 128), in the order in which it is read."""
    rng = random.generator(seed, Effect.AMP33)
    shape = (signals.offsets.shape[0], signals.offsets.shape[1], AMP33_WIDTH)
    values = rng.standard_normal(shape, dtype=np.float32)
    values *= (read_noise / np.sqrt(table.reads_per_resultant)).astype(np.float32)[:, None, None]
    values += signals.offsets[:, :, -1:] + np.float32(BIAS_DN)
    values += signals.coupling[-1] * signals.shared
    values += np.repeat(signals.own[:, -1], CLOCKS_TOGETHER, axis=-1)[..., :AMP33_WIDTH]
    return np.clip(np.rint(values), 0, SATURATION_DN).astype(np.uint16)


def _offsets(electronics: Electronics, table: MATable, size: int, seed: int) -> Plane:
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


def _pink(electronics: Electronics, table: MATable, size: int, seed: int) -> Plane:
    """Return 1/f noise (n_resultants, n_rows, 128) in the order of reading, idle clocks left out.

    A resultant is a mean of reads, each with noise of its own: what they share is in the offsets.
    """
    rng = random.generator(seed, Effect.PINK_NOISE)
    n = size * (CHANNEL_WIDTH + IDLE_CLOCKS)
    amplitude = _amplitude(n)
    out = np.empty((table.n_resultants, size, CHANNEL_WIDTH), np.float32)
    for k, n_reads in enumerate(table.reads_per_resultant):
        series = _series(amplitude, n, rng).reshape(size, -1)
        out[k] = series[:, :CHANNEL_WIDTH] * np.float32(electronics.pink_dn / np.sqrt(n_reads))
    return out


def _own(electronics: Electronics, table: MATable, size: int, seed: int) -> Plane:
    """Return 1/f noise of each output (n_resultants, n_channels + 1, n_rows, 10), the 33rd's last."""
    rng = random.generator(seed, Effect.CHANNEL_NOISE)
    n_parts = (CHANNEL_WIDTH + IDLE_CLOCKS) // CLOCKS_TOGETHER
    out = np.zeros((table.n_resultants, -(-size // CHANNEL_WIDTH) + 1, size, n_parts), np.float32)
    if electronics.channel_pink_dn == 0:
        return out
    amplitude = _amplitude(size * n_parts)
    for k, n_reads in enumerate(table.reads_per_resultant):
        for channel in out[k]:
            channel[...] = _series(amplitude, channel.size, rng).reshape(channel.shape)
        out[k] *= np.float32(electronics.channel_pink_dn / np.sqrt(n_reads))
    return out


def _amplitude(n: int) -> NDArray[np.float32]:
    """Return the amplitudes of the frequencies of ``n`` samples of 1/f noise, of unit variance."""
    power = np.zeros(n // 2 + 1, np.float32)
    power[1:] = np.arange(1, n // 2 + 1) ** -0.5
    # A real series has each of its frequencies twice.
    power /= np.sqrt(2 * np.sum(power.astype(np.float64) ** 2)) / n
    return power


def _series(amplitude: NDArray[np.float32], n: int, rng: np.random.Generator) -> NDArray[np.float32]:
    parts = rng.standard_normal((amplitude.size, 2), dtype=np.float32) * np.float32(0.5**0.5)
    spectrum = parts.view(np.complex64)[:, 0] * amplitude
    return np.asarray(np.fft.irfft(spectrum, n).astype(np.float32))
